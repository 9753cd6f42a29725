/**
 * The memory that the legs of a shard read into: one piece for all, as long as what is read goes on at once. What an owner has to
 * keep, since it could not pass it on, stays where it is, and the piece comes back when all that was kept in it has gone on.
 */
import { recordPayloadBytes } from '../tunnel/h2/frames.ts';

/** As much as fills records of a tunnel to the last byte, and close to what a loopback packet carries. */
const bytes = 4 * recordPayloadBytes;
/** A rest that is not worth reading into. */
const smallestRoom = recordPayloadBytes;
/** Pieces at hand, 4 MB: of streams that waited together, all may go on together. */
const mostSpare = 64;

export interface Inbox {
  readonly memory: Buffer;
  /** Bytes at its beginning that are somebody's. */
  kept: number;
  /** Owners of them. One who never gives back leaves the piece to the collector. */
  keepers: number;
}

const spare: Inbox[] = [];
let current = fresh();

function fresh(): Inbox {
  return { memory: Buffer.allocUnsafeSlow(bytes), kept: 0, keepers: 0 };
}

/** Where the next read goes, behind `kept`. */
export function inbox(): Inbox {
  // Not sooner: it may be given back while what was read behind is still being looked at.
  if (current.keepers === 0) current.kept = 0;
  return current;
}

/** The `count` bytes that were read last are kept. */
export function keep(piece: Inbox, count: number): void {
  piece.kept += count;
  piece.keepers += 1;
  if (piece === current && bytes - piece.kept < smallestRoom) current = spare.pop() ?? fresh();
}

/** One who kept something there has passed it on. */
export function giveBack(piece: Inbox): void {
  piece.keepers -= 1;
  if (piece.keepers === 0 && piece !== current && spare.length < mostSpare) spare.push(piece);
}
