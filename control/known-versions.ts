/**
 * What clients say they have, `initial_resource_versions`, read where it is: after a restart every client of a large mesh
 * sends megabytes of names and versions, and nearly all of them the same ones.
 */
import protobuf from 'protobufjs/minimal.js';
import type { KnownVersions } from './feed.ts';

/** Of a DeltaDiscoveryRequest. */
const knownField = 5;
/** Fewer bytes are not worth to be compared with those before. */
const smallBytes = 16 << 10;
const lengthDelimited = 2;

interface Read {
  readonly bytes: Buffer;
  readonly known: KnownVersions;
}

/** A request in two: the entries of `initial_resource_versions` with their tags, and the rest. */
export function splitRequest(bytes: Buffer): { readonly entries: Buffer; readonly rest: Buffer } {
  const entries: Buffer[] = [];
  const rest: Buffer[] = [];
  const reader = protobuf.Reader.create(bytes);
  // Neighbours of one kind are one piece.
  let from = 0;
  let isKnown = false;
  const cut = (at: number): void => {
    if (at > from) (isKnown ? entries : rest).push(bytes.subarray(from, at));
    from = at;
  };
  while (reader.pos < reader.len) {
    const at = reader.pos;
    const tag = reader.uint32();
    const isEntry = tag === ((knownField << 3) | lengthDelimited);
    if (isEntry !== isKnown) {
      cut(at);
      isKnown = isEntry;
    }
    reader.skipType(tag & 7);
  }
  cut(bytes.length);
  return { entries: join(entries), rest: join(rest) };
}

export class KnownReader {
  readonly #kept: number;
  readonly #keepMs: number;
  /** The newest last. */
  #read: Read[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** Remembers so many different ones, for so long after the last one came. */
  constructor({ kept = 2, keepMs = 20_000 } = {}) {
    this.#kept = kept;
    this.#keepMs = keepMs;
  }

  /** Throws on what are no such entries. */
  read(entries: Buffer): KnownVersions {
    if (entries.length < smallBytes) return versionsOf(entries);
    const same = this.#read.find(({ bytes }) => bytes.equals(entries));
    const read = same ?? { bytes: Buffer.from(entries), known: versionsOf(entries) };
    this.#read = [...this.#read.filter(other => other !== read), read].slice(-this.#kept);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.#read = []), this.#keepMs).unref();
    return read.known;
  }
}

/** A map entry: key 1, value 2. */
function versionsOf(entries: Buffer): Map<string, string> {
  const known = new Map<string, string>();
  const reader = protobuf.Reader.create(entries);
  while (reader.pos < reader.len) {
    reader.uint32();
    const end = reader.uint32() + reader.pos;
    if (end > entries.length) throw new RangeError('an entry of initial_resource_versions is cut off');
    let name = '';
    let version = '';
    while (reader.pos < end) {
      const tag = reader.uint32();
      if (tag === 0x0a) name = reader.string();
      else if (tag === 0x12) version = reader.string();
      else reader.skipType(tag & 7);
    }
    known.set(name, version);
  }
  return known;
}

function join(pieces: readonly Buffer[]): Buffer {
  const [only = Buffer.alloc(0), ...more] = pieces;
  return more.length === 0 ? only : Buffer.concat(pieces);
}
