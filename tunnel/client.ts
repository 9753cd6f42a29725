/**
 * Opens one tunnel: mutual TLS over a connected socket, the peer verified, HTTP/2 on top. Client half of HBONE.
 */
import type net from 'node:net';
import { H2Connection } from './h2/connection.ts';
import type { TunnelTarget } from './pool.ts';
import { connectTls, type ClientContext } from './tls.ts';
import { Tunnel } from './tunnel.ts';

/** Deadlines (ms) and caps of one tunnel; a subset of the agent's limits. */
export interface TunnelLimits {
  readonly tlsHandshakeMs: number;
  readonly prefaceMs: number;
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
  readonly streamsPerTunnel: number;
  readonly tunnelMaxAgeMs: number;
}

export interface OpenTunnelOptions {
  readonly certificate: { readonly context: ClientContext; readonly notAfter: number };
  readonly target: TunnelTarget;
  readonly limits: TunnelLimits;
}

/** Part of a certificate's remaining life during which tunnels that it opened take streams. */
const usableLife = 0.9;

/** Rejects with a TLS_ or H2_ CulvertError; the socket is then destroyed. */
export async function openTunnel(raw: net.Socket, options: OpenTunnelOptions): Promise<Tunnel> {
  const { certificate, target, limits } = options;
  const { socket, identity } = await connectTls(raw, certificate.context, {
    expectedIdentities: target.expectedIdentities,
    timeoutMs: limits.tlsHandshakeMs,
  });
  const connection = new H2Connection({
    transport: socket,
    role: 'client',
    timing: {
      handshakeTimeoutMs: limits.prefaceMs,
      pingIntervalMs: limits.pingIntervalMs,
      pingTimeoutMs: limits.pingTimeoutMs,
    },
    handlers: { onGoaway: () => {}, onClose: () => {} },
  });
  const now = Date.now();
  const age = Math.min(limits.tunnelMaxAgeMs, (certificate.notAfter - now) * usableLife);
  return new Tunnel(connection, identity, limits.streamsPerTunnel, now + age);
}
