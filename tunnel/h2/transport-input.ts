/**
 * How bytes come in from the transport: over TLS straight into a buffer that is used again and again.
 *
 * A stream's 'data' event brings a new ArrayBuffer for each TLS record, which is most of the garbage of a busy tunnel and a
 * third of its time. Node has a way to read into a buffer of one's own (`onread`), but offers it only to sockets that it
 * dials itself. What it sets then is set here on a socket that exists, if it has exactly the parts that are expected, and
 * otherwise 'data' serves. The difference is speed only; a test says which of both a release of Node gives us.
 */
import type { Duplex } from 'node:stream';
import { recordBytes } from './frames.ts';

/** For what little an idle connection says. */
const firstSlabBytes = 4096;
/** Where owners keep what they get, fewer and larger allocations. */
const largestSlabBytes = 65_536;
/** A rest of a slab that is not worth reading into. */
const smallestRegionBytes = 1024;

/** Handles some bytes. Returns whether somebody keeps them, so that their memory must not be used again. */
export type OnChunk = (chunk: Buffer) => boolean;

/** The slots of net.Socket behind its documented `onread` option. */
interface UserBufferSlots {
  readonly buffer: symbol;
  readonly callback: symbol;
  readonly generator: symbol;
  readonly use: (buffer: Buffer) => void;
}

class TransportInput {
  /** True when bytes come straight into our buffer. */
  readonly direct: boolean;
  readonly #onChunk: OnChunk;
  #slab = Buffer.alloc(0);
  #offset = 0;
  #region = Buffer.alloc(0);
  #changed = false;

  constructor(transport: Duplex, onChunk: OnChunk) {
    this.#onChunk = onChunk;
    const slots = userBufferSlots(transport);
    this.direct = slots !== null;
    // Also beside the buffer: what was read before we came is in the stream, and its end comes that way.
    transport.on('data', (chunk: Buffer) => void onChunk(chunk));
    if (slots === null) return;
    this.#newSlab(firstSlabBytes);
    const socket = transport as unknown as Record<symbol, unknown>;
    socket[slots.callback] = this.#onRead;
    socket[slots.generator] = this.#nextRegion;
    socket[slots.buffer] = this.#region;
    slots.use(this.#region);
  }

  readonly #onRead = (length: number): boolean => {
    const region = this.#region;
    const kept = this.#onChunk(length === region.length ? region : region.subarray(0, length));
    if (kept) this.#keep(length);
    else if (length === region.length && this.#slab.length < recordBytes)
      this.#newSlab(this.#slab.length * 2);
    return true;
  };

  /** Called after every read: where the next one goes, or null for the same place. */
  readonly #nextRegion = (): Buffer | null => {
    if (!this.#changed) return null;
    this.#changed = false;
    return this.#region;
  };

  #keep(length: number): void {
    this.#offset += length;
    if (this.#slab.length - this.#offset < smallestRegionBytes) {
      this.#newSlab(Math.min(largestSlabBytes, this.#slab.length * 2));
      return;
    }
    this.#region = this.#slab.subarray(this.#offset);
    this.#changed = true;
  }

  #newSlab(bytes: number): void {
    this.#slab = Buffer.allocUnsafeSlow(bytes);
    this.#offset = 0;
    this.#region = this.#slab;
    this.#changed = true;
  }
}

/** Hands everything that arrives on `transport` to `onChunk`; returns whether straight out of a buffer of our own. */
export function readInto(transport: Duplex, onChunk: OnChunk): boolean {
  return new TransportInput(transport, onChunk).direct;
}

/** The same for all sockets of this process; found on the first one. */
let known: Pick<UserBufferSlots, 'buffer' | 'callback' | 'generator'> | null = null;

function slotsOf(transport: Duplex): typeof known {
  const slots = new Map(Object.getOwnPropertySymbols(transport).map(slot => [slot.description, slot]));
  const buffer = slots.get('kBuffer');
  const callback = slots.get('kBufferCb');
  const generator = slots.get('kBufferGen');
  return buffer === undefined || callback === undefined || generator === undefined
    ? null
    : { buffer, callback, generator };
}

function userBufferSlots(transport: Duplex): UserBufferSlots | null {
  const handle = Reflect.get(transport, '_handle') as
    | { useUserBuffer?: (buffer: Buffer) => void }
    | null
    | undefined;
  if (typeof handle?.useUserBuffer !== 'function') return null;
  known ??= slotsOf(transport);
  if (known === null) return null;
  const { buffer, callback, generator } = known;
  const socket = transport as unknown as Record<symbol, unknown>;
  // Somebody else's buffer is left alone.
  if (socket[buffer] !== null || socket[callback] !== null || socket[generator] !== null) return null;
  return { buffer, callback, generator, use: region => handle.useUserBuffer?.(region) };
}
