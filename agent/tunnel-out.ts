/**
 * The client's end of a tunnel: a stream to the other node's agent (or a waypoint) for one application connection.
 *
 * Tunnels are dialled from the pod's own namespace, with its certificate, and pooled per pod. The application's bytes
 * wait in its socket until the other side said 200.
 */
import type net from 'node:net';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { formatHostPort } from '../model/address.ts';
import type { Route } from '../model/route.ts';
import { openTunnel } from '../tunnel/client.ts';
import { baggage, forwarded, newTraceparent, traceId } from '../tunnel/connect-request.ts';
import type { H2Stream, H2StreamHandlers } from '../tunnel/h2/stream.ts';
import { TunnelPool, type TunnelTarget } from '../tunnel/pool.ts';
import type { Tunnel } from '../tunnel/tunnel.ts';
import type { Connection } from './connections.ts';
import { clientGone, type AttemptResult, type Outgoing } from './outgoing.ts';
import type { Pod } from './pod.ts';
import { TunnelRelay } from './relay.ts';
import { clientOf, type ShardContext } from './shard-context.ts';

type Done = (result: AttemptResult) => void;
type TunnelRoute = Extract<Route, { kind: 'hbone' | 'waypoint' }>;

export function tunnelOut(
  context: ShardContext,
  outgoing: Outgoing,
  connection: Connection,
  route: TunnelRoute,
  done: Done,
): void {
  const { pod } = outgoing;
  const target: TunnelTarget = {
    address: route.address,
    port: route.hbonePort,
    sourceIdentity: pod.identity,
    expectedIdentities: route.expectedIdentities,
  };
  connection.hboneAddress = formatHostPort(route.address, route.hbonePort);
  connection.security = 'mutual_tls';
  // Until the relay is in place a cut ends the client; whatever the tunnel answers later finds it gone.
  connection.cut = () => outgoing.client.reset();
  carry(context, outgoing, connection, route, target, done);
}

/** Takes a tunnel with room, opened if need be. Asks again after each wait: whoever waited for the same one may have filled it. */
function carry(
  context: ShardContext,
  outgoing: Outgoing,
  connection: Connection,
  route: TunnelRoute,
  target: TunnelTarget,
  done: Done,
): void {
  const { pool } = outgoing.pod;
  const tunnel = pool.ready(target);
  if (tunnel !== null) {
    request(context, outgoing, connection, route, tunnel, done);
    return;
  }
  pool.acquire(target).then(
    () => carry(context, outgoing, connection, route, target, done),
    (thrown: unknown) => {
      const error = asCulvertError(thrown, 'TUNNEL_FAILED', { side: 'server' });
      context.metrics.handshakeFailed('outbound', error.code);
      done({ error, retry: true });
    },
  );
}

function request(
  context: ShardContext,
  outgoing: Outgoing,
  connection: Connection,
  route: TunnelRoute,
  tunnel: Tunnel,
  done: Done,
): void {
  if (connection.state === 'closed' || outgoing.client.closed) {
    done({ error: clientGone(), retry: false });
    return;
  }
  connection.destination.identity = tunnel.peerIdentity;
  const traceparent = newTraceparent();
  connection.traceId = traceId(traceparent);
  const source = clientOf(context, outgoing.pod);
  let timer: NodeJS.Timeout | null = null;
  let answered = false;
  const answer = (result: AttemptResult): void => {
    if (answered) return;
    answered = true;
    if (timer !== null) clearTimeout(timer);
    done(result);
  };
  const handlers: H2StreamHandlers = {
    onHeaders: status => {
      if (status !== 200) {
        stream.reset(0x8);
        answer(refusedWith(status, route.authority));
        return;
      }
      if (outgoing.client.closed || connection.state === 'closed') {
        stream.reset(0xa);
        answer({ error: clientGone(), retry: false });
        return;
      }
      answer(null);
      new TunnelRelay(outgoing.client, stream, connection, true).start();
    },
    onData: () => {},
    onEnd: () => {},
    onDrain: () => {},
    onReset: code => {
      const untouched = code === 0x7; // REFUSED_STREAM: the peer has not looked at it (RFC 9113 §8.7)
      answer({
        error: new CulvertError(
          'TUNNEL_STREAM_RESET',
          `the peer reset CONNECT ${route.authority} with HTTP/2 error ${code}`,
          { side: 'server' },
        ),
        retry: untouched,
      });
    },
  };
  let stream: H2Stream;
  try {
    stream = tunnel.connection.connect(
      route.authority,
      [
        ['baggage', source === null ? '' : baggage(source)],
        [
          'forwarded',
          forwarded(
            formatHostPort(outgoing.clientAddress, outgoing.clientPort),
            route.service?.hostname ?? null,
          ),
        ],
        ['traceparent', traceparent],
      ],
      handlers,
    );
  } catch (thrown) {
    answer({ error: asCulvertError(thrown, 'TUNNEL_FAILED'), retry: true });
    return;
  }
  timer = setTimeout(() => {
    stream.reset(0x8);
    answer({
      error: new CulvertError(
        'CONNECT_TIMEOUT',
        `no answer to CONNECT ${route.authority} within ${context.config.limits.connectMs} ms`,
        { side: 'server' },
      ),
      retry: false,
    });
  }, context.config.limits.connectMs);
}

function refusedWith(status: number, authority: string): AttemptResult {
  if (status === 401 || status === 403) {
    return {
      error: new CulvertError('PEER_DENIED', `the destination's policy denied ${authority} (${status})`, {
        side: 'client',
        fix: "the destination's access log names the policy",
      }),
      retry: false,
    };
  }
  return {
    error: new CulvertError(
      'PEER_REFUSED',
      `the destination's agent answered ${status} to CONNECT ${authority}`,
      {
        side: 'server',
        fix: "the destination's access log has the reason",
      },
    ),
    retry: status === 503,
  };
}

/** The pool of one pod: how it dials from the pod's namespace and with which certificate. */
export function makePool(context: ShardContext, pod: Pod): TunnelPool {
  const { limits } = context.config;
  return new TunnelPool(async target => {
    const certificate = await context.certificates.client(pod.identity, limits.certificateWaitMs);
    const raw = await new Promise<net.Socket>((resolve, reject) => {
      pod.sockets.dial(target.address, target.port, limits.dialMs, (error, socket) => {
        if (socket === null) reject(error ?? new CulvertError('DIAL_FAILED', 'no connection'));
        else resolve(socket);
      });
    });
    return openTunnel(raw, { certificate, target, limits });
  }, limits.tunnelIdleMs);
}
