/** One HTTP/2 connection to an endpoint, as the pool keeps it: what it still takes, and whether its peer is still there. */
import type { ClientHttp2Session } from 'node:http2';
import { CulvertError } from '../base/errors.ts';
import type { TrafficLimits } from '../model/traffic-policy.ts';
import type { Way } from './balance.ts';

export interface Session {
  readonly session: ClientHttp2Session;
  readonly limits: TrafficLimits;
  /** No request is given to it after this. */
  readonly retireAt: number;
  streams: number;
  /** Requests that it has had. */
  served: number;
  idleSince: number;
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

/** Notices a peer that is gone without a word. */
export function keepAlive(
  session: ClientHttp2Session,
  { intervalMs, timeoutMs }: NonNullable<TrafficLimits['ping']>,
): void {
  const timer = setInterval(() => {
    const silent = setTimeout(() => session.destroy(), timeoutMs).unref();
    session.ping(() => clearTimeout(silent));
  }, intervalMs).unref();
  session.once('close', () => clearInterval(timer));
}
