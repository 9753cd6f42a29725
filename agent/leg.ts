/**
 * One leg of a connection: a TCP socket inside a pod's namespace, towards the application that opened the connection or
 * the one that it goes to. Held by its descriptor; of net.Socket, which costs more than a short connection, it has what a
 * relay needs: bytes, both ends, resets and back-pressure.
 *
 * All legs of a shard read into one piece of memory (inbox.ts), so an idle one holds none. Handlers run inside reading and
 * writing and must not read other legs.
 */
import { getSystemErrorName } from 'node:util';
import * as native from '../native/native.ts';
import { ByteQueue } from '../tunnel/h2/byte-queue.ts';
import { type Inbox, giveBack, inbox, keep } from './inbox.ts';
import type { Joining } from './leg-join.ts';
import type { LegLoop } from './leg-loop.ts';
import type { Spread } from './spread.ts';

const { in: canRead, out: canWrite, error, hangUp, peerEnded } = native.readyBits;
const EAGAIN = -11;

/** Reads of one leg before others have their turn. */
const mostReads = 8;
/**
 * Of writes of this size, a record of a tunnel or a good part of one, more follow in the same turn as a rule. The application gets
 * them in one packet: it is woken up once, not for each.
 */
const partBytes = { least: 4096, below: 32_768 };
/** What a packet on loopback carries (MTU 65 536), less its headers at their longest. */
const packetBytes = 65_400;

/** Who carries a leg's bytes. */
export interface LegHandlers {
  /** Returns whether the chunk is kept: its memory is not used again before the owner, who has paused the leg, resumes it. */
  data(from: Leg, chunk: Buffer): boolean;
  /** The peer sends no more. */
  end(from: Leg): void;
  /** After write() returned false: all is written. */
  drain(at: Leg): void;
  /** The peer or the network has broken it (`ECONNRESET`, …); `gone` follows. */
  broken(at: Leg, code: string): void;
  /** It is closed, however it ended. Exactly once. */
  gone(at: Leg): void;
}

const nobody: LegHandlers = { data: () => true, end() {}, drain() {}, broken() {}, gone() {} };

/** State bits. */
const paused = 1 << 0;
/** There may be more to read than was read. */
const unread = 1 << 1;
const peerHasEnded = 1 << 2;
const endAsked = 1 << 3;
const closed = 1 << 4;
/** It has ended, or broken: a read that brought little is not the last. */
const endInSight = 1 << 5;
/** By the kernel with the application's: what came by TCP is read behind what came by the join, and not with it. */
const joined = 1 << 6;

export class Leg {
  readonly fd: number;
  readonly #loop: LegLoop;
  #handlers = nobody;
  /** Asked about all that passes as long as the leg may be joined. */
  #joining: Joining | null = null;
  /** Told when it is over. */
  #counted: Spread | null = null;
  /** Where the owner keeps what it has not passed on yet. */
  #held: Inbox | null = null;
  /** Written, and not yet taken by the kernel. */
  #queue: ByteQueue | null = null;
  /** Bytes that the kernel may keep until the turn of the event loop is over. */
  #gathered = 0;
  #flags = 0;

  /** @param fd non-blocking, connected, and from now on the leg's; `loop` owns it already */
  constructor(loop: LegLoop, fd: number) {
    this.#loop = loop;
    this.fd = fd;
  }

  get closed(): boolean {
    return (this.#flags & closed) !== 0;
  }

  /** Is one of those that are counted there. */
  set counted(spread: Spread) {
    this.#counted = spread;
  }

  /** May be joined, as `joining` decides. */
  set joining(joining: Joining | null) {
    this.#joining = joining;
  }

  /** Begins to read. @param atOnce something may be there already: it is handed over before this returns */
  start(handlers: LegHandlers, atOnce: boolean): void {
    if (this.closed) return;
    this.#handlers = handlers;
    if (atOnce) this.#read();
    if (this.closed) return;
    this.#loop.watch(this);
  }

  /** The loop tells what epoll has told. */
  ready(events: number): void {
    if (this.#queue !== null && (events & (canWrite | error | hangUp)) !== 0) this.#flush();
    if ((events & (peerEnded | error | hangUp)) !== 0) this.#flags |= endInSight;
    if ((events & (canRead | peerEnded | error | hangUp)) !== 0) this.#read();
  }

  /** True: the kernel has all of it, and the memory is the caller's again. False: drain() tells when; it must not change. */
  write(chunk: Buffer): boolean {
    if ((this.#flags & (closed | endAsked)) !== 0) return true;
    let rest = chunk;
    if (this.#queue === null) {
      const sent = native.send(this.fd, chunk, this.#mayGather(chunk.length));
      if (this.#joining !== null) this.#passed(this.#joining, sent);
      if (sent === chunk.length) return true;
      if (sent < 0 && sent !== EAGAIN) {
        this.#fail(sent);
        return true;
      }
      if (sent > 0) rest = chunk.subarray(sent);
      // Where what is kept for more takes all the room, nothing else would make some before the kernel's own time for it.
      native.push(this.fd);
      this.#queue = new ByteQueue();
    }
    this.#queue.push(rest);
    return false;
  }

  /** Ends our direction after what was written. */
  end(): void {
    if ((this.#flags & (closed | endAsked)) !== 0) return;
    this.#flags |= endAsked;
    if (this.#queue === null) this.#endWrites();
  }

  /** Ends it now, with RST; what is unsent is dropped. */
  reset(): void {
    this.#close(false);
  }

  pause(): void {
    this.#flags |= paused;
  }

  resume(): void {
    if ((this.#flags & paused) === 0) return;
    this.#flags &= ~paused;
    if (this.#held !== null) giveBack(this.#held);
    this.#held = null;
    if ((this.#flags & unread) !== 0) this.#loop.soon(this);
  }

  /** What the kernel has kept for more goes: the turn is over, or a reset would throw it away. */
  push(): void {
    if (this.#gathered > 0 && !this.closed) native.push(this.fd);
    this.#gathered = 0;
  }

  /** Goes on with what was left unread. */
  goOn(): void {
    if ((this.#flags & unread) !== 0) this.#read();
  }

  #read(): void {
    for (let reads = 0; reads < mostReads; reads += 1) {
      this.#flags |= unread;
      if ((this.#flags & (paused | closed | peerHasEnded)) !== 0) return;
      const to = inbox();
      const count = native.receive(this.fd, to.memory, to.kept);
      if (count > 0) {
        const full = count === to.memory.length - to.kept;
        if (this.#handlers.data(this, to.memory.subarray(to.kept, to.kept + count))) {
          keep(to, count);
          if ((this.#flags & paused) !== 0) this.#held = to;
        }
        if (this.#joining !== null) this.#passed(this.#joining, count);
        if (full || (this.#flags & (endInSight | joined)) !== 0) continue;
        this.#flags &= ~unread;
        return;
      }
      this.#flags &= ~unread;
      if (count === 0) this.#onEnd();
      else if (count !== EAGAIN) this.#fail(count);
      return;
    }
    this.#loop.later(this);
  }

  #mayGather(bytes: number): boolean {
    if (this.#gathered === 0) {
      if (bytes < partBytes.least || bytes >= partBytes.below) return false;
      this.#loop.gathers(this);
    }
    this.#gathered += bytes;
    // With this one the packet is full, and what does not fit in goes right behind it.
    if (this.#gathered >= packetBytes) this.#gathered = 0;
    return this.#gathered > 0;
  }

  #passed(joining: Joining, bytes: number): void {
    if (this.closed) return;
    const joins = joining(bytes);
    if (joins === undefined) return;
    this.#joining = null;
    if (joins) this.#flags |= joined;
  }

  #onEnd(): void {
    this.#flags |= peerHasEnded;
    this.#handlers.end(this);
    if ((this.#flags & (closed | endAsked)) === endAsked && this.#queue === null) this.#close(true);
  }

  #flush(): void {
    while (this.#queue !== null) {
      const chunk = this.#queue.peek();
      const sent = native.send(this.fd, chunk, false);
      if (sent < 0) {
        if (sent !== EAGAIN) this.#fail(sent);
        return;
      }
      this.#queue.skip(sent);
      if (this.#queue.length > 0) continue;
      this.#queue = null;
      if ((this.#flags & endAsked) === 0) this.#handlers.drain(this);
      else this.#endWrites();
    }
  }

  #endWrites(): void {
    // With both ends over, close() says FIN as well.
    if ((this.#flags & peerHasEnded) === 0) native.endWrites(this.fd);
    else this.#close(true);
  }

  #fail(errno: number): void {
    this.#handlers.broken(this, getSystemErrorName(errno));
    this.#close(false);
  }

  /** @param well both ends are over; else it is a reset, as when this process dies */
  #close(well: boolean): void {
    if (this.closed) return;
    this.#flags |= closed;
    this.#queue = null;
    this.#loop.release(this, well);
    this.#counted?.over();
    this.#handlers.gone(this);
  }
}
