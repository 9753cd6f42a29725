/**
 * The legs of one shard on its event loop: hands out what epoll tells, in one turn of JavaScript for all that is ready, and
 * accepts on pods' listeners. Whoever is dialled is told here, too.
 */
import * as native from '../native/native.ts';
import { Leg } from './leg.ts';

/** Descriptors that are told of at once. */
const mostReady = 128;
/** Connections of one listener that are accepted before others have their turn. */
const mostAccepted = 16;
/** Without descriptors or memory for it, a connection waits this long in the listener. */
const pauseMs = 100;

interface Watched {
  ready(events: number): void;
}

export interface ListenOptions {
  /** The socket is the loop's until `disown` or `drop`, or a leg of it ends. */
  readonly onConnection: (socket: native.AcceptedSocket) => void;
  /** Nothing could be accepted; it goes on a moment later. */
  readonly onTrouble: (error: unknown) => void;
}

export interface TakeOptions {
  /** As in ListenOptions, where there is one. */
  readonly onPassed: (passed: native.PassedSocket) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** One listener of a pod, or what other shards put what they have accepted into. */
class Listener implements Watched {
  readonly #loop: native.SocketLoop;
  readonly #watched: (Watched | null)[];
  readonly #fd: number;
  /** Takes one; false where none waits. */
  readonly #take: () => boolean;
  readonly #onTrouble: (error: unknown) => void;
  #open = true;

  constructor(
    loop: native.SocketLoop,
    watched: (Watched | null)[],
    fd: number,
    take: () => boolean,
    onTrouble: (error: unknown) => void,
  ) {
    this.#loop = loop;
    this.#watched = watched;
    this.#fd = fd;
    this.#take = take;
    this.#onTrouble = onTrouble;
    this.#begin();
  }

  ready(): void {
    try {
      for (let count = 0; this.#open && count < mostAccepted; count += 1) if (!this.#take()) return;
    } catch (error) {
      this.#onTrouble(error);
      this.#pause();
      setTimeout(() => this.#begin(), pauseMs).unref();
    }
  }

  /** What waits in it is left to whoever else holds it. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#pause();
    this.#loop.release(this.#fd, true);
  }

  #begin(): void {
    if (!this.#open) return;
    this.#watched[this.#fd] = this;
    this.#loop.listen(this.#fd);
  }

  #pause(): void {
    this.#watched[this.#fd] = null;
    this.#loop.unwatch(this.#fd);
  }
}

export class LegLoop {
  readonly #events = new Uint32Array(2 * mostReady);
  readonly #watched: (Watched | null)[] = [];
  readonly #native = new native.SocketLoop(this.#events, count => this.#onReady(count));
  #soon: Leg[] = [];
  #later: Leg[] = [];
  #gathering: Leg[] = [];

  /** Accepts on a listener, which is the loop's from now on. */
  listen(fd: number, { onConnection, onTrouble }: ListenOptions): { close(): void } {
    const take = (): boolean => {
      const accepted = this.#native.accept(fd);
      if (accepted !== null) onConnection(accepted);
      return accepted !== null;
    };
    return new Listener(this.#native, this.#watched, fd, take, onTrouble);
  }

  /** Takes what comes out of a queue, whose end is the loop's from now on. */
  take(queueOut: number, { onPassed, onTrouble }: TakeOptions): void {
    const take = (): boolean => {
      const passed = native.takeSocket(queueOut);
      if (passed === null) return false;
      if (passed.fd !== null) this.#native.adopt(passed.fd);
      onPassed(passed);
      return true;
    };
    // It ends with the loop.
    void new Listener(this.#native, this.#watched, queueOut, take, onTrouble);
  }

  /** A leg of a socket that was accepted. */
  legOf(socket: native.AcceptedSocket): Leg {
    return new Leg(this, socket.fd);
  }

  /** Leaves a socket that was accepted to the caller. */
  disown(fd: number): void {
    this.#native.disown(fd);
  }

  /** Closes a socket that was accepted, without a leg: with RST, unless somebody else has it as well. */
  drop(fd: number): void {
    this.#native.release(fd, false);
  }

  /** A leg of a socket that was dialled. */
  adopt(fd: number): Leg {
    this.#native.adopt(fd);
    return new Leg(this, fd);
  }

  /** Tells of a socket that is being connected, until the returned function is called. */
  whileConnecting(fd: number, ready: () => void): () => void {
    this.#watched[fd] = { ready };
    this.#native.watch(fd);
    return () => {
      this.#watched[fd] = null;
      this.#native.unwatch(fd);
    };
  }

  watch(leg: Leg): void {
    this.#watched[leg.fd] = leg;
    this.#native.watch(leg.fd);
  }

  /** @param well its end is FIN, not RST */
  release(leg: Leg, well: boolean): void {
    this.#watched[leg.fd] = null;
    this.#native.release(leg.fd, well);
  }

  /** Closes all. */
  close(): void {
    this.#native.close();
  }

  /** Goes on reading when whoever is at it now is done. */
  soon(leg: Leg): void {
    if (this.#soon.push(leg) === 1) process.nextTick(this.#onSoon);
  }

  /** Goes on reading when others have had their turn. */
  later(leg: Leg): void {
    if (this.#later.push(leg) === 1) setImmediate(this.#onLater);
  }

  /** Is pushed when the turn of the event loop is over. */
  gathers(leg: Leg): void {
    if (this.#gathering.push(leg) === 1) setImmediate(this.#onGathered);
  }

  readonly #onSoon = (): void => {
    const legs = this.#soon;
    this.#soon = [];
    for (const leg of legs) leg.goOn();
  };

  readonly #onLater = (): void => {
    const legs = this.#later;
    this.#later = [];
    for (const leg of legs) leg.goOn();
  };

  readonly #onGathered = (): void => {
    const legs = this.#gathering;
    this.#gathering = [];
    for (const leg of legs) leg.push();
  };

  /** What is told of a descriptor that was closed and given out again in between is a look for nothing. */
  #onReady(count: number): void {
    for (let at = 0; at < count; at += 1) {
      const fd = this.#events[2 * at] ?? 0;
      this.#watched[fd]?.ready(this.#events[2 * at + 1] ?? 0);
    }
  }
}
