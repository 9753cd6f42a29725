/**
 * Joined ends whose programs ask of their sockets what only TCP gives (bpf/habits.bpf.c): each is taken out of the join as soon
 * as it has read what waits there, which taking it out would destroy. Nothing is put there any more by then.
 *
 * A program that passes over what waits, because it splices, say, would never read it, and find what comes later in its place:
 * that connection is ended.
 */
import { CulvertError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import { encodePassageId, type Passage, unreadAnswers } from './kernel-path-abi.ts';

export interface Leaving {
  /** Its key in `joined`. */
  readonly end: bigint;
  readonly blind: boolean;
  /** Of a leg: its addresses. */
  readonly passage: Passage;
}

export class LeavingEnds {
  readonly #joined: number;
  readonly #program: number;
  readonly #netns: number;
  readonly #cut: (leaving: Leaving, why: CulvertError) => void;
  #waiting: Leaving[] = [];

  /**
   * @param joined the map
   * @param program tells whether something waits (bpf/unread.bpf.c)
   * @param cut ends a connection
   */
  constructor(joined: number, program: number, cut: (leaving: Leaving, why: CulvertError) => void) {
    this.#joined = joined;
    this.#program = program;
    this.#netns = native.openNetns('/proc/self/ns/net');
    this.#cut = cut;
  }

  add(leaving: Leaving): void {
    this.#waiting.push(leaving);
  }

  /** To be called now and then. */
  look(): void {
    if (this.#waiting.length > 0) this.#waiting = this.#waiting.filter(leaving => this.#stays(leaving));
  }

  close(): void {
    native.close(this.#netns);
  }

  #stays(leaving: Leaving): boolean {
    const key = encodePassageId(leaving.end);
    const unread = native.runProgram(this.#program, this.#netns, key);
    if (unread === unreadAnswers.none) native.mapDelete(this.#joined, key);
    if (unread !== unreadAnswers.waits) return false;
    if (!leaving.blind) return true;
    this.#cut(
      leaving,
      new CulvertError('JOIN_UNSERVED', 'its program reads in a way that passes over what was joined', {
        side: 'us',
        fix: 'nothing: later connections of this program are not joined',
      }),
    );
    return false;
  }
}
