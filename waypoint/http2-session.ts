/** One HTTP/2 connection to an endpoint, as the pool keeps it: what it still takes, and whether its peer is still there. */
import http2, { type ClientHttp2Session } from 'node:http2';
import type { Duplex } from 'node:stream';
import { CulvertError } from '../base/errors.ts';
import { noLimits, type TrafficLimits } from '../model/traffic-policy.ts';
import type { Way } from './balance.ts';
import type { WaypointLimits } from './config.ts';
import { lateRefusal } from './tls-out.ts';

const windowBytes = 1024 * 1024;

/** A request on a connection. */
export interface SessionCall {
  /** Nothing more comes for it. */
  lost(): void;
}

export interface Session {
  readonly session: ClientHttp2Session;
  /** Under way. */
  readonly calls: Set<SessionCall>;
  /** Of its requests; null: as the client has it. */
  readonly scheme: 'https' | null;
  readonly limits: TrafficLimits;
  /** No request is given to it after this. */
  readonly retireAt: number;
  streams: number;
  /** Requests that it has had. */
  served: number;
  idleSince: number;
}

/** Speaks HTTP/2 on a connection. Rejects with UPSTREAM_NOT_HTTP2, or with what TLS says after its handshake; it is closed then. */
export async function openSession(
  socket: Duplex,
  way: Way,
  limits: Pick<WaypointLimits, 'headBytes' | 'prefaceMs'>,
): Promise<Session> {
  const options = {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: windowBytes, maxHeaderListSize: limits.headBytes },
    // Clients send `user-agent` twice, say.
    strictSingleValueFields: false,
  };
  const session = http2.connect('http://endpoint.invalid', options);
  session.on('error', () => {});
  // A peer that says no more has gone: Node leaves a socket that may be half open to whoever made it.
  const calls = new Set<SessionCall>();
  socket.once('end', () => peerEnded({ session, calls }));
  // The peer's limit of streams comes with its settings: before them nothing is known about it.
  await new Promise<void>((resolve, reject) => {
    const fail = (error: CulvertError): void => {
      clearTimeout(timer);
      session.destroy();
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(notHttp2(way)), limits.prefaceMs);
    // A session whose socket broke before it was told of has no end of its own.
    socket.once('error', (error: Error) => fail(lateRefusal(error, way.tls) ?? notHttp2(way)));
    session.once('close', () => fail(notHttp2(way)));
    if (socket.destroyed) fail(notHttp2(way));
    session.once('remoteSettings', () => {
      clearTimeout(timer);
      session.setLocalWindowSize(4 * windowBytes);
      resolve();
    });
  });
  const now = Date.now();
  const own = way.upstream?.policy.limits ?? noLimits;
  const retireAt = own.connectionAgeMs === null ? Number.POSITIVE_INFINITY : now + own.connectionAgeMs;
  if (own.ping !== null) keepAlive({ session, calls }, own.ping);
  const scheme = way.tls === null ? null : 'https';
  return { session, calls, scheme, limits: own, retireAt, streams: 0, served: 0, idleSince: now };
}

function notHttp2({ key }: Way): CulvertError {
  return new CulvertError('UPSTREAM_NOT_HTTP2', `${key} does not speak HTTP/2 with prior knowledge`, {
    side: 'server',
    fix: 'say in appProtocol or the name of the port what it speaks',
  });
}

/** Whether one more request may be given to it. */
export function hasRoom({ session, limits, retireAt, streams, served }: Session): boolean {
  const { requestsPerConnection, streamsPerConnection } = limits;
  const most = session.remoteSettings.maxConcurrentStreams ?? 100;
  return (
    !session.closed &&
    !session.destroyed &&
    streams < Math.min(most, streamsPerConnection ?? most) &&
    served < (requestsPerConnection ?? Number.POSITIVE_INFINITY) &&
    retireAt > Date.now()
  );
}

export function full({ key }: Way): CulvertError {
  const message = `every connection to ${key} that the traffic policy permits is full`;
  return new CulvertError('UPSTREAM_OVERFLOW', message, { side: 'server' });
}

/** Ends a session at once. What is under way is told first: Node would end it as if it were whole. */
export function breakOff({ session, calls }: Pick<Session, 'session' | 'calls'>): void {
  for (const call of calls) call.lost();
  session.destroy();
}

/**
 * The peer says no more. What it said last may not have been told yet, and of that some may have to wait for its client;
 * everything else is lost. No request is given to it from now on.
 */
function peerEnded({ session, calls }: Pick<Session, 'session' | 'calls'>): void {
  session.close();
  setImmediate(() => {
    for (const call of calls) call.lost();
  });
}

/** Notices a peer that is gone without a word. */
function keepAlive(
  open: Pick<Session, 'session' | 'calls'>,
  { intervalMs, timeoutMs }: NonNullable<TrafficLimits['ping']>,
): void {
  const { session } = open;
  const timer = setInterval(() => {
    const silent = setTimeout(() => breakOff(open), timeoutMs).unref();
    session.ping(() => clearTimeout(silent));
  }, intervalMs).unref();
  session.once('close', () => clearInterval(timer));
}
