/**
 * The discovery stream as a light client reads and writes it: frames of gRPC, requests put together by hand, and of a
 * response its names and versions only. A thousand clients in two processes can't decode what each of them is told.
 */
import { protocols } from '../../proto/load.ts';
import { partMark, partsFeature } from '../../xds/parts.ts';

/** A gRPC message: flag 0, four bytes of length, the message. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(5 + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return frame;
}

/** Cuts what comes in chunks into messages, however many chunks one takes. */
export class MessageReader {
  readonly #onMessage: (message: Buffer) => void;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= 5) {
      const head = this.#chunks[0];
      if (head === undefined) return;
      if (head.length < 5) {
        this.#join();
        continue;
      }
      const size = 5 + head.readUInt32BE(1);
      if (this.#length < size) return;
      const all = this.#join();
      this.#chunks = all.length > size ? [all.subarray(size)] : [];
      this.#length -= size;
      this.#onMessage(all.subarray(5, size));
    }
  }

  #join(): Buffer {
    const [first] = this.#chunks;
    const all = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}

export interface Told {
  readonly typeUrl: string;
  readonly nonce: string;
  /** Whether more of the same state follows. */
  readonly isPart: boolean;
}

/** What of a response is passed on as it is read. */
export interface ResponseReader {
  set(name: string, version: string): void;
  removed(name: string): void;
}

/** Reads a DeltaDiscoveryResponse: system_version_info 1, resources 2 (version 1, name 3), type_url 4, nonce 5, removed_resources 6. */
export function readResponse(message: Buffer, reader: ResponseReader): Told {
  let typeUrl = '';
  let nonce = '';
  let isPart = false;
  for (let at = 0; at < message.length;) {
    const field = (message[at] ?? 0) >>> 3;
    const { start, end } = delimited(message, at + 1);
    if (field === 1) isPart = message.toString('latin1', start, end) === partMark;
    else if (field === 2) readResource(message, start, end, reader);
    else if (field === 4) typeUrl = message.toString('latin1', start, end);
    else if (field === 5) nonce = message.toString('latin1', start, end);
    else if (field === 6) reader.removed(message.toString('latin1', start, end));
    at = end;
  }
  return { typeUrl, nonce, isPart };
}

function readResource(message: Buffer, from: number, to: number, reader: ResponseReader): void {
  let version = '';
  for (let at = from; at < to;) {
    const field = (message[at] ?? 0) >>> 3;
    const { start, end } = delimited(message, at + 1);
    if (field === 1) version = message.toString('latin1', start, end);
    else if (field === 3) reader.set(message.toString('latin1', start, end), version);
    at = end;
  }
}

/** All fields of these messages have a length; none is above field 15, so tags are one byte. */
function delimited(message: Buffer, at: number): { start: number; end: number } {
  let length = 0;
  let start = at;
  for (let shift = 0; ; shift += 7) {
    const byte = message[start++];
    if (byte === undefined) throw new Error('a response is cut off');
    length |= (byte & 127) << shift;
    if (byte < 128) return { start, end: start + length };
  }
}

const heads = new Map<string, Buffer>();

/** The answer that a response was taken: type_url 2, which is the same for all of one type, and response_nonce 6. */
export function acknowledgement(typeUrl: string, nonce: string): Buffer {
  let head = heads.get(typeUrl);
  if (head === undefined) heads.set(typeUrl, (head = protocols.deltaRequest.encode({ typeUrl })));
  const message = Buffer.allocUnsafe(head.length + 2 + nonce.length);
  head.copy(message);
  message[head.length] = 0x32;
  message[head.length + 1] = nonce.length;
  message.write(nonce, head.length + 2, 'latin1');
  return framed(message);
}

/** One entry of `initial_resource_versions` (field 5) as bytes. */
export function knownVersion(name: string, version: string): Buffer {
  return protocols.deltaRequest.encode({ initialResourceVersions: { [name]: version } });
}

/** The first request of a type, with what the client has, as `knownVersion` writes it. */
export function firstRequest(typeUrl: string, known: Uint8Array): Buffer {
  return framed(
    Buffer.concat([
      protocols.deltaRequest.encode({ typeUrl, node: { id: 'bench', clientFeatures: [partsFeature] } }),
      known,
    ]),
  );
}
