/**
 * What is no HTTP, carried as it is to an endpoint of the service that was dialled, or where a route of connections sends it: bytes,
 * ends, resets and back-pressure. TLS is not opened: its first message was only read (client-hello.ts).
 */
import type { Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import type { HttpDecision } from '../model/http-policy.ts';
import type { TcpHit } from '../model/tcp-match.ts';
import type { H2Stream } from '../tunnel/h2/stream.ts';
import { authoriseConnection, decisionNow, policyDenied } from './authorise.ts';
import type { Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import { type Arrival, courseOf, looksAtNames, sniOf } from './course.ts';
import { hear, type Heard } from './first-words.ts';
import { join } from './relay.ts';
import { StreamSocket } from './stream-socket.ts';
import { dialEndpoint } from './tcp-dial.ts';

type ServeHttp = (version: 'http1' | 'http2') => void;

/** A client that was listened to already. */
export interface Looked {
  readonly socket: StreamSocket;
  readonly heard: Heard;
  /** For one that was silent and turns out to speak HTTP; null: it is carried all the same. */
  readonly serveHttp: ServeHttp | null;
}

/** @param looked null: the stream has not been answered yet, and is when the endpoint has been reached */
export function serveTcp(
  context: WaypointContext,
  arrival: Arrival,
  stream: H2Stream,
  looked: Looked | null,
): void {
  if (looked === null) {
    stream.pause();
    stream.handlers = { onData: () => {}, onEnd: () => {}, onDrain: () => {}, onReset: () => {} };
  }
  new Carried(context, arrival, stream, looked).start();
}

class Carried {
  readonly #context: WaypointContext;
  readonly #arrival: Arrival;
  readonly #stream: H2Stream;
  readonly #startedAt = performance.now();
  readonly #serveHttp: ServeHttp | null;
  /** Null until the stream is answered. */
  #socket: StreamSocket | null;
  /** Null: nobody has listened. */
  #heard: Heard | null;
  #decision: HttpDecision | null = null;
  #hit: TcpHit | null = null;

  constructor(context: WaypointContext, arrival: Arrival, stream: H2Stream, looked: Looked | null) {
    this.#context = context;
    this.#arrival = arrival;
    this.#stream = stream;
    this.#socket = looked?.socket ?? null;
    this.#heard = looked?.heard ?? null;
    this.#serveHttp = looked?.serveHttp ?? null;
  }

  start(): void {
    this.#run().catch((thrown: unknown) => this.#refuse(asCulvertError(thrown, 'DIAL_FAILED')));
  }

  async #run(): Promise<void> {
    const context = this.#context;
    const { client } = this.#arrival;
    await this.#admit();
    const { destination, hit } = courseOf(context, this.#arrival, this.#heard);
    this.#hit = hit;
    if (destination instanceof CulvertError) throw destination;
    const { server, way } = await dialEndpoint(context, client, destination);
    server.on('error', () => {});
    if (this.#isGone) {
      server.destroy();
      return;
    }
    if (this.#socket === null) this.#stream.respond(200);
    const socket = (this.#socket ??= new StreamSocket(this.#stream));
    if (this.#isSilent) this.#firstWords(socket, server, way);
    else this.#carry(socket, server, way);
  }

  get #isGone(): boolean {
    return this.#stream.closed || this.#socket?.destroyed === true;
  }

  get #isSilent(): boolean {
    return this.#heard?.what === 'silence';
  }

  /** Throws where policy does not let it pass. It is counted once it is certain that it is no HTTP. */
  async #admit(): Promise<void> {
    const context = this.#context;
    const { client, destination } = this.#arrival;
    if (decisionNow(context, client, destination, sniOf(this.#heard))?.allowed !== false) return;
    // Who is silent may still speak HTTP, or say a name, and be allowed then.
    if (this.#isSilent && this.#socket !== null) this.#heard = await this.#listen(this.#socket);
    this.#decision = authoriseConnection(context, client, destination, sniOf(this.#heard));
    if (this.#decision?.allowed === false) throw policyDenied(this.#decision);
  }

  /** Never settles where it is HTTP, which is served as that, or where the client leaves. */
  #listen(socket: StreamSocket): Promise<Heard> {
    return new Promise(resolve => {
      hear(socket, this.#patience, heard => {
        if (!this.#isHttp(heard)) resolve(heard);
      });
    });
  }

  get #patience(): { silenceMs: null; helloMs: number } {
    return { silenceMs: null, helloMs: this.#context.config.limits.clientHelloMs };
  }

  /** Whether it is served as that, which has begun then. */
  #isHttp({ what }: Heard): boolean {
    if (this.#serveHttp === null || (what !== 'http1' && what !== 'http2')) return false;
    this.#serveHttp(what);
    return true;
  }

  /** Both are silent: whoever speaks first shows what it is. */
  #firstWords(socket: StreamSocket, server: Duplex, way: Way): void {
    const { client, destination } = this.#arrival;
    const settled = (): void => {
      server.off('readable', onSpoke).off('close', onGone);
      socket.off('close', onGone);
    };
    const stopListening = hear(socket, this.#patience, heard => {
      settled();
      if (this.#isHttp(heard)) {
        server.destroy();
        return;
      }
      this.#heard = heard;
      const isNews =
        (heard.what === 'tls' || heard.trouble !== null) &&
        (looksAtNames(this.#arrival) ||
          decisionNow(this.#context, client, destination, sniOf(heard))?.allowed === false);
      if (!isNews) {
        this.#carry(socket, server, way);
        return;
      }
      // Nothing was passed on yet: where it goes is decided once more, with what is known now.
      server.destroy();
      this.start();
    });
    const onSpoke = (): void => {
      settled();
      stopListening();
      this.#carry(socket, server, way);
    };
    const onGone = (): void => {
      settled();
      stopListening();
      socket.destroy();
      server.destroy();
    };
    socket.once('close', onGone);
    server.once('readable', onSpoke).once('close', onGone);
  }

  #carry(socket: StreamSocket, server: Duplex, way: Way): void {
    const context = this.#context;
    const { client, destination } = this.#arrival;
    const sni = sniOf(this.#heard);
    this.#decision = authoriseConnection(context, client, destination, sni);
    context.metrics.connectionOpen({ client, destination, way, error: null });
    context.metrics.routed(this.#hit, 'carried');
    let ended: CulvertError | null = null;
    const forget = context.connections.add({
      judge: () => decisionNow(context, client, destination, sni),
      end: error => {
        ended = error;
        socket.destroy();
        server.destroy();
      },
    });
    const limits = way.upstream?.policy.limits;
    const idleMs = limits?.tcpIdleMs ?? context.config.limits.streamIdleMs;
    const left = this.#heard?.left ?? null;
    if (left !== null) server.write(left);
    join(socket, server, idleMs, (error, up, down) => {
      forget();
      this.#finish(way, ended ?? error, up + (left?.length ?? 0), down);
    });
    endAfter(server, limits?.connectionAgeMs ?? null);
  }

  /** Before the stream is answered its client hears why, in a number; then there is only the reset. */
  #refuse(error: CulvertError): void {
    const { metrics } = this.#context;
    metrics.refused(error.code);
    if (this.#arrival.plan !== null) metrics.routed(this.#hit, error.code);
    this.#finish(null, error, 0, 0);
    if (this.#socket === null) this.#stream.respond(error.code === 'POLICY_DENIED' ? 401 : 503);
    else this.#socket.destroy();
  }

  #finish(way: Way | null, error: CulvertError | null, up: number, down: number): void {
    const { metrics, telemetry, access } = this.#context;
    const { client, destination } = this.#arrival;
    const record = {
      client,
      destination,
      way,
      decision: this.#decision,
      error,
      up,
      down,
      ms: performance.now() - this.#startedAt,
      route: this.#hit,
      hello: this.#heard?.hello ?? null,
    };
    metrics.connectionOver(record);
    if (telemetry.for(destination).hasLine) access?.connection(record);
  }
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
