/**
 * A connection to an endpoint: a stream of a tunnel to its pod, or a socket where it is not in the mesh; with TLS on it where
 * the traffic policy wants that (tls-out.ts).
 *
 * Tunnels carry the waypoint's own identity: the destination's agent sees who routes, and that it was meant to.
 */
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { formatHostPort } from '../model/address.ts';
import { openTunnel } from '../tunnel/client.ts';
import { baggage, forwarded, newTraceparent } from '../tunnel/connect-request.ts';
import { TunnelPool, type TunnelTarget } from '../tunnel/pool.ts';
import type { Tunnel } from '../tunnel/tunnel.ts';
import type { Way } from './balance.ts';
import { ownIdentity, type Client, type WaypointContext } from './context.ts';
import { StreamSocket } from './stream-socket.ts';
import { secure, type Spoken } from './tls-out.ts';

/** Where agents listen for tunnels. */
const hbonePort = 15_008;
const CANCEL = 0x8;

/**
 * @param client for whom; null for a connection that several share
 * @param protocols what may be spoken where TLS is, the better one first; none: it is not asked
 */
export async function dial(
  context: WaypointContext,
  client: Client | null,
  way: Way,
  protocols: readonly Spoken[] = [],
): Promise<Duplex> {
  const raw = await reach(context, client, way);
  if (way.tls === null) return raw;
  return secure(raw, {
    key: way.key,
    tls: way.tls,
    protocols,
    timeoutMs: way.upstream?.policy.limits.connectMs ?? context.config.limits.tlsHandshakeMs,
    onFailure: reason => context.metrics.tlsFailed(reason),
  });
}

async function reach(context: WaypointContext, client: Client | null, way: Way): Promise<Duplex> {
  const { connectMs = null, keepAliveMs = null } = way.upstream?.policy.limits ?? {};
  if (way.identities === null) {
    const socket = await context.dialTcp(way.address, way.port, connectMs ?? context.config.limits.dialMs);
    if (keepAliveMs !== null) socket.setKeepAlive(true, keepAliveMs);
    return socket;
  }
  const identity = ownIdentity(context);
  if (identity === null)
    throw new CulvertError('UNKNOWN_WORKLOAD', 'this waypoint has no pod in the configuration');
  const target: TunnelTarget = {
    address: way.address,
    port: hbonePort,
    sourceIdentity: identity,
    expectedIdentities: way.identities,
  };
  for (;;) {
    const tunnel = context.pool.ready(target);
    if (tunnel !== null) return connectThrough(context, client, way, tunnel);
    // Whoever waited for the same tunnel may have filled it: ask again after each wait.
    await context.pool.acquire(target);
  }
}

function connectThrough(
  context: WaypointContext,
  client: Client | null,
  way: Way,
  tunnel: Tunnel,
): Promise<Duplex> {
  const authority = formatHostPort(way.address, way.port);
  const connectMs = way.upstream?.policy.limits.connectMs ?? context.config.limits.connectMs;
  return new Promise((resolve, reject) => {
    const fail = (code: string, message: string): void =>
      reject(new CulvertError(code, message, { side: 'server' }));
    const host = way.service?.hostname ?? null;
    const source = client === null ? null : formatHostPort(client.address, client.port);
    const stream = tunnel.connection.connect(
      authority,
      [
        ['baggage', context.self === null ? '' : baggage(context.self)],
        ...(source === null
          ? []
          : ([['forwarded', forwarded(source, host, client?.identity ?? null)]] as const)),
        ['traceparent', newTraceparent()],
      ],
      {
        onHeaders: status => {
          clearTimeout(timer);
          if (status === 200) {
            stream.pause();
            resolve(new StreamSocket(stream));
            return;
          }
          stream.reset(CANCEL);
          if (status === 401 || status === 403)
            fail('PEER_DENIED', `the destination's policy does not admit this waypoint to ${authority}`);
          else fail('PEER_REFUSED', `the destination's agent answered ${status} to CONNECT ${authority}`);
        },
        onData: () => {},
        onEnd: () => {},
        onDrain: () => {},
        onReset: (code, cause) => {
          clearTimeout(timer);
          if (cause !== null) reject(cause);
          else fail('TUNNEL_STREAM_RESET', `CONNECT ${authority} was reset with HTTP/2 error ${code}`);
        },
      },
    );
    const timer = setTimeout(() => {
      stream.reset(CANCEL);
      fail('CONNECT_TIMEOUT', `no answer to CONNECT ${authority} within ${connectMs} ms`);
    }, connectMs);
  });
}

/** Opens a TCP connection. Rejects with a DIAL_ CulvertError. */
export function dialTcp(address: string, port: number, timeoutMs: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: address, port, noDelay: true, allowHalfOpen: true, keepAlive: true });
    const timer = setTimeout(
      () =>
        socket.destroy(
          new CulvertError('DIAL_TIMEOUT', `no answer from ${address}:${port}`, { side: 'server' }),
        ),
      timeoutMs,
    );
    const failed = (cause: NodeJS.ErrnoException): void => {
      clearTimeout(timer);
      const code = cause.code === 'ECONNREFUSED' ? 'DIAL_REFUSED' : 'DIAL_FAILED';
      reject(
        cause instanceof CulvertError
          ? cause
          : new CulvertError(code, `${address}:${port}: ${cause.message}`, { side: 'server', cause }),
      );
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

/** The pool of this process: how it dials, and with which certificate. */
export function makePool(context: Pick<WaypointContext, 'config' | 'certificates' | 'dialTcp'>): TunnelPool {
  const { limits } = context.config;
  return new TunnelPool(async target => {
    const certificate = await context.certificates.client(target.sourceIdentity, limits.certificateWaitMs);
    const raw = await context.dialTcp(target.address, target.port, limits.dialMs);
    try {
      return await openTunnel(raw, { certificate, target, limits });
    } catch (error) {
      throw asCulvertError(error, 'TUNNEL_FAILED', { side: 'server' });
    }
  }, limits.tunnelIdleMs);
}
