/**
 * The first message of a TLS client, read but not answered: which name it asks for (SNI), before its bytes go on untouched.
 *
 * Strict, as what is read here decides where a connection goes and whether it may: lengths have to add up, no extension may be there
 * twice, nothing may stand between or behind the pieces. Who reads another name out of the same bytes has read what is refused here.
 * Of Encrypted Client Hello this is the outer message, whose name is that of a provider; extensions that nobody knows (GREASE) are passed over.
 */

export interface ClientHello {
  /** In lower case; null where it asks for none. */
  readonly name: string | null;
  /** Whether it offers Encrypted Client Hello, or pretends to: then the name may be another inside. */
  readonly isEncrypted: boolean;
}

export type HelloRead =
  /** `wanted` is how many bytes there have to be at least. */
  | { readonly kind: 'more'; readonly wanted: number }
  | { readonly kind: 'hello'; readonly hello: ClientHello }
  | { readonly kind: 'bad'; readonly why: string };

const [handshake, clientHello] = [22, 1];
const recordHead = 5;
const messageHead = 4;
const maxRecord = 16_384;
/** Real ones have some hundred bytes, with keys that resist quantum computers two thousand. */
const maxMessage = 16_384;
const maxRecords = 64;
const [serverName, encryptedClientHello] = [0, 0xfe0d];

/** Whether bytes begin like one, as far as they go. */
export function beginsHello(bytes: Buffer): boolean {
  const [type = handshake, major = 3, minor = 1, high = 0, , message = clientHello] = bytes;
  return type === handshake && major === 3 && minor <= 4 && high <= maxRecord >> 8 && message === clientHello;
}

/** Reads what has come so far, from the first byte of the connection. */
export function readClientHello(bytes: Buffer): HelloRead {
  const pieces: Buffer[] = [];
  let [at, have, need] = [0, 0, messageHead];
  for (let records = 0; have < need; records += 1) {
    if (records === maxRecords) return bad('it comes in too many records');
    if (bytes.length < at + recordHead) return more(at + recordHead);
    const length = bytes.readUInt16BE(at + 3);
    if (bytes[at] !== handshake) return bad('another record stands between its pieces');
    if (bytes[at + 1] !== 3 || (bytes[at + 2] ?? 0) > 4) return bad('a record of an unknown version');
    if (length === 0 || length > maxRecord) return bad(`a record of ${length} bytes`);
    const end = at + recordHead + length;
    if (bytes.length < end) return more(end);
    pieces.push(bytes.subarray(at + recordHead, end));
    [at, have] = [end, have + length];
    if (have < messageHead) continue;
    const head = Buffer.concat(pieces);
    if (head[0] !== clientHello) return bad('a handshake that does not begin with a ClientHello');
    need = messageHead + head.readUIntBE(1, 3);
    if (need > maxMessage) return bad(`a ClientHello of ${need} bytes`);
  }
  if (have > need) return bad('something stands behind it in its record');
  try {
    return { kind: 'hello', hello: readMessage(new Reader(Buffer.concat(pieces).subarray(messageHead))) };
  } catch (thrown) {
    if (thrown instanceof Malformed) return bad(thrown.message);
    throw thrown;
  }
}

function more(wanted: number): HelloRead {
  return { kind: 'more', wanted };
}

function bad(why: string): HelloRead {
  return { kind: 'bad', why };
}

class Malformed extends Error {}

/** Vectors of TLS: each has its length in front. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new Malformed('a length goes beyond the message');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  number(width: 1 | 2): number {
    return this.take(width).readUIntBE(0, width);
  }

  vector(width: 1 | 2, least = 0): Buffer {
    const length = this.number(width);
    if (length < least) throw new Malformed('a list is too short');
    return this.take(length);
  }
}

function readMessage(message: Reader): ClientHello {
  const version = message.number(2);
  // Of TLS 1.3 this is 1.2 too; SSL 3.0 has no names.
  if (version < 0x0301 || version > 0x0304) throw new Malformed('a version that is not known');
  message.take(32);
  if (message.vector(1).length > 32) throw new Malformed('a session id that is too long');
  if (message.vector(2, 2).length % 2 !== 0) throw new Malformed('half a cipher suite');
  message.vector(1, 1);
  const seen = new Set<number>();
  let name: string | null = null;
  if (!message.isAtEnd) {
    const extensions = new Reader(message.vector(2));
    while (!extensions.isAtEnd) {
      const type = extensions.number(2);
      const body = extensions.vector(2);
      if (seen.has(type)) throw new Malformed(`extension ${type} is there twice`);
      seen.add(type);
      if (type === serverName) name = readName(new Reader(body));
    }
  }
  if (!message.isAtEnd) throw new Malformed('something stands behind its extensions');
  return { name, isEncrypted: seen.has(encryptedClientHello) };
}

const hostNameType = 0;

/** RFC 6066 §3: a list that has one host name. */
function readName(extension: Reader): string {
  const list = new Reader(extension.vector(2, 1));
  const type = list.number(1);
  const text = list.vector(2, 1).toString('latin1').toLowerCase();
  if (!extension.isAtEnd || !list.isAtEnd || type !== hostNameType) throw new Malformed('not one name');
  // Without a dot at its end, and no text that anything else could take for another name.
  if (text.length > 253 || !/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(text))
    throw new Malformed('its name is no name of a host');
  return text;
}
