/**
 * What is no HTTP, carried as it is to an endpoint of the service: bytes, ends, resets and back-pressure.
 */
import type { Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import type { HttpDecision } from '../model/http-policy.ts';
import type { H2Stream } from '../tunnel/h2/stream.ts';
import { authoriseConnection, decisionNow, policyDenied } from './authorise.ts';
import { pickWay, type Way } from './balance.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { join } from './relay.ts';
import { detect } from './sniff.ts';
import { StreamSocket } from './stream-socket.ts';
import { dial } from './tunnel-out.ts';

/** A client that was looked at already. */
export interface Looked {
  readonly socket: StreamSocket;
  /** Whether it has said something, which is no HTTP then. */
  readonly spoke: boolean;
  /** For one that turns out to speak HTTP. */
  readonly serveHttp: (version: 'http1' | 'http2') => void;
}

/** @param looked null: the stream has not been answered yet, and is when the endpoint has been reached */
export function serveTcp(
  context: WaypointContext,
  client: Client,
  destination: Destination,
  stream: H2Stream,
  looked: Looked | null,
): void {
  const started = performance.now();
  let decision: HttpDecision | null = null;
  const finish = (way: Way | null, error: CulvertError | null, up: number, down: number): void => {
    const record = { client, destination, way, decision, error, up, down, ms: performance.now() - started };
    context.metrics.connectionOver(record);
    if (context.telemetry.for(destination).hasLine) context.access?.connection(record);
  };
  if (looked === null) {
    stream.pause();
    stream.handlers = { onData: () => {}, onEnd: () => {}, onDrain: () => {}, onReset: () => {} };
  }
  const start = async (): Promise<void> => {
    // Counted once it is certain that it is no HTTP.
    if (decisionNow(context, client, destination)?.allowed === false) {
      // Who is silent may still speak HTTP, and be allowed then.
      const isSilent = looked !== null && !looked.spoke && !looked.socket.readableEnded;
      if (isSilent) await clientSpeaks(looked);
      if (isSilent && looked.socket.destroyed) return;
      decision = authoriseConnection(context, client, destination);
      if (decision?.allowed === false) throw policyDenied(decision);
    }
    const { server, way } = await connect(context, client, destination);
    server.on('error', () => {});
    if (stream.closed || looked?.socket.destroyed === true) {
      server.destroy();
      return;
    }
    if (looked === null) stream.respond(200);
    const socket = looked?.socket ?? new StreamSocket(stream);
    let ended: CulvertError | null = null;
    const carry = (): void => {
      decision = authoriseConnection(context, client, destination);
      context.metrics.connectionOpen({ client, destination, way, error: null });
      const forget = context.connections.add({
        judge: () => decisionNow(context, client, destination),
        end: error => {
          ended = error;
          socket.destroy();
          server.destroy();
        },
      });
      const limits = way.upstream?.policy.limits;
      const idleMs = limits?.tcpIdleMs ?? context.config.limits.streamIdleMs;
      join(socket, server, idleMs, (error, up, down) => {
        forget();
        finish(way, ended ?? error, up, down);
      });
      endAfter(server, limits?.connectionAgeMs ?? null);
    };
    if (looked === null || looked.spoke || socket.readableEnded) carry();
    else firstWords(socket, server, carry, looked.serveHttp);
  };
  start().catch((thrown: unknown) => {
    const error = asCulvertError(thrown, 'DIAL_FAILED');
    context.metrics.refused(error.code);
    finish(null, error, 0, 0);
    if (looked === null) stream.respond(error.code === 'POLICY_DENIED' ? 401 : 503);
    else looked.socket.destroy();
  });
}

/** An endpoint that answers; one that can not be dialled is passed over once for each there is, three at most. */
async function connect(
  context: WaypointContext,
  client: Client,
  destination: Destination,
): Promise<{ server: Duplex; way: Way }> {
  const tried = new Set<string>();
  for (;;) {
    const asker = { client, head: null, exclude: tried, session: null, elsewhere: null };
    const { way } = pickWay(context, destination, asker);
    const { uid } = way.workload;
    const slot = way.upstream?.load.connect() ?? null;
    if (slot instanceof CulvertError) throw slot;
    const leave = way.upstream?.begin(uid);
    try {
      const server = await dial(context, client, way);
      server.once('close', () => {
        slot?.release();
        leave?.();
      });
      context.health.succeeded(uid);
      way.upstream?.report(uid, 200);
      return { server, way };
    } catch (error) {
      slot?.release();
      leave?.();
      context.health.failed(uid);
      if (way.upstream?.report(uid, 'local') === true) context.metrics.ejected();
      tried.add(uid);
      if (tried.size >= 3 || destination.kind === 'workload') throw error;
    }
  }
}

/** Until a client says something that is no HTTP, or leaves; if it is HTTP, it is served as that, and this never ends. */
function clientSpeaks({ socket, serveHttp }: Looked): Promise<void> {
  return new Promise(resolve => {
    let seen: Buffer = Buffer.alloc(0);
    const settled = (): void => {
      socket.off('data', onData).off('end', onEnd).off('close', onEnd);
      socket.pause();
    };
    const onEnd = (): void => {
      settled();
      resolve();
    };
    const onData = (chunk: Buffer): void => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const what = detect(seen);
      if (what === null) return;
      settled();
      if (what === 'tcp') {
        resolve();
        return;
      }
      socket.unshift(seen);
      serveHttp(what);
    };
    socket.on('data', onData).once('end', onEnd).once('close', onEnd);
    socket.resume();
  });
}

/** However much it is used. */
function endAfter(server: Duplex, ms: number | null): void {
  if (ms === null) return;
  const error = new CulvertError(
    'CONNECTION_AGE',
    `open for ${ms} ms, as long as the traffic policy permits`,
  );
  const timer = setTimeout(() => server.destroy(error), ms).unref();
  server.once('close', () => clearTimeout(timer));
}

/** Both are silent: whoever speaks first shows what it is. */
function firstWords(
  socket: StreamSocket,
  server: Duplex,
  carry: () => void,
  serveHttp: Looked['serveHttp'],
): void {
  let seen: Buffer = Buffer.alloc(0);
  const settled = (): void => {
    socket.off('data', onClient).off('end', onSpoke).off('close', onGone);
    server.off('readable', onSpoke).off('close', onGone);
    socket.pause();
    if (seen.length > 0) socket.unshift(seen);
  };
  const onSpoke = (): void => {
    settled();
    carry();
  };
  const onGone = (): void => {
    settled();
    socket.destroy();
    server.destroy();
  };
  const onClient = (chunk: Buffer): void => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const what = detect(seen);
    if (what === null) return;
    settled();
    if (what === 'tcp') {
      carry();
      return;
    }
    server.on('error', () => {});
    server.destroy();
    serveHttp(what);
  };
  socket.on('data', onClient).once('end', onSpoke).once('close', onGone);
  server.once('readable', onSpoke).once('close', onGone);
  socket.resume();
}
