/**
 * Accepts one tunnel: mutual TLS, the peer's identity, HTTP/2 on top. Server half of HBONE; what a request means is the
 * caller's.
 */
import type net from 'node:net';
import type { CulvertError } from '../base/errors.ts';
import type { TunnelLimits } from './client.ts';
import { H2Connection } from './h2/connection.ts';
import type { ConnectHeaders } from './h2/header-rules.ts';
import type { H2Stream } from './h2/stream.ts';
import { acceptTls, type ServerContext } from './tls.ts';

export interface ServeTunnelOptions {
  readonly context: ServerContext;
  /** The peer must be of this trust domain. */
  readonly trustDomain: string;
  readonly limits: TunnelLimits;
  /** @param peer verified SPIFFE ID */
  readonly onRequest: (stream: H2Stream, request: ConnectHeaders, peer: string) => void;
  readonly onClose: (error: CulvertError | null) => void;
}

/** Rejects with a TLS_ CulvertError; the socket is then destroyed. */
export async function serveTunnel(raw: net.Socket, options: ServeTunnelOptions): Promise<H2Connection> {
  const { limits } = options;
  const { socket, identity } = await acceptTls(raw, options.context, {
    trustDomain: options.trustDomain,
    timeoutMs: limits.tlsHandshakeMs,
  });
  return new H2Connection({
    transport: socket,
    role: 'server',
    timing: {
      handshakeTimeoutMs: limits.prefaceMs,
      pingIntervalMs: limits.pingIntervalMs,
      pingTimeoutMs: limits.pingTimeoutMs,
    },
    handlers: {
      onRequest: (stream, request) => options.onRequest(stream, request, identity),
      onClose: options.onClose,
    },
  });
}
