/** Packets for DNS tests: queries of any kind, and a complete reader that shares no code with what it judges. */
export interface QueryOptions {
  readonly id?: number;
  readonly type?: number;
  readonly flags?: number;
  readonly class?: number;
  /** Adds OPT with this size. */
  readonly udpSize?: number;
  readonly dnssecOk?: boolean;
}

export function query(name: string, given: QueryOptions = {}): Buffer {
  const { id = 0x1234, type = 1, flags = 0x0100, udpSize, dnssecOk = false } = given;
  const labels = name.split('.').filter(label => label !== '');
  const question = Buffer.concat([
    ...labels.flatMap(label => [Buffer.of(label.length), Buffer.from(label, 'latin1')]),
    Buffer.alloc(5),
  ]);
  question.writeUInt16BE(type, question.length - 4);
  question.writeUInt16BE(given.class ?? 1, question.length - 2);
  const opt =
    udpSize === undefined
      ? []
      : [Buffer.of(0, 0, 41, udpSize >> 8, udpSize & 255, 0, 0, dnssecOk ? 0x80 : 0, 0, 0, 0)];
  return Buffer.concat([header(id, flags, [1, 0, 0, opt.length]), question, ...opt]);
}

export function header(id: number, flags: number, counts: readonly number[]): Buffer {
  const bytes = Buffer.alloc(12);
  for (const [at, value] of [id, flags, ...counts].entries()) bytes.writeUInt16BE(value, at * 2);
  return bytes;
}

export interface Record {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly data: string;
}

export interface Message {
  readonly id: number;
  readonly flags: number;
  readonly rcode: number;
  readonly questions: readonly { readonly name: string; readonly type: number; readonly class: number }[];
  readonly answers: readonly Record[];
  readonly authority: readonly Record[];
  readonly additional: readonly Record[];
}

/** Reads a whole message; throws on anything that is not well formed, trailing bytes included. */
export function read(bytes: Buffer): Message {
  let at = 12;
  const u16 = (): number => {
    at += 2;
    return bytes.readUInt16BE(at - 2);
  };
  const name = (): string => {
    const labels: string[] = [];
    let position = at;
    let jumped = false;
    for (let steps = 0; ; steps += 1) {
      if (steps > 128) throw new Error('pointer loop');
      const length = bytes.readUInt8(position);
      if (length >= 0xc0) {
        if (!jumped) at = position + 2;
        jumped = true;
        position = bytes.readUInt16BE(position) & 0x3fff;
        continue;
      }
      position += 1;
      if (length === 0) break;
      if (position + length > bytes.length) throw new Error('label beyond the end');
      labels.push(bytes.toString('latin1', position, position + length));
      position += length;
    }
    if (!jumped) at = position;
    return labels.join('.');
  };
  const record = (): Record => {
    const owner = name();
    const [type, recordClass] = [u16(), u16()];
    const ttl = bytes.readUInt32BE(at);
    at += 4;
    const length = u16();
    const end = at + length;
    if (end > bytes.length) throw new Error('data beyond the end');
    const data = type === 5 || type === 6 ? name() : bytes.toString('hex', at, end);
    if (type === 6 && name() === '') throw new Error('SOA without a mailbox');
    if (type === 6) at += 20;
    if (type === 5 || type === 6) {
      if (at !== end) throw new Error('length of data is wrong');
    }
    at = end;
    return { name: owner, type, class: recordClass, ttl, data };
  };
  const [questions, answers, authority, additional] = [4, 6, 8, 10].map(offset => bytes.readUInt16BE(offset));
  const message = {
    id: bytes.readUInt16BE(0),
    flags: bytes.readUInt16BE(2),
    rcode: bytes.readUInt16BE(2) & 15,
    questions: Array.from({ length: questions ?? 0 }, () => ({ name: name(), type: u16(), class: u16() })),
    answers: Array.from({ length: answers ?? 0 }, record),
    authority: Array.from({ length: authority ?? 0 }, record),
    additional: Array.from({ length: additional ?? 0 }, record),
  };
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes too many`);
  return message;
}

/** A reply that has the query's question and one A record with a TTL nobody else uses. */
export function reply(
  to: Buffer,
  given: { readonly rcode?: number; readonly address?: readonly number[] } = {},
): Buffer {
  const answers =
    given.address === undefined
      ? []
      : [Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 3, 231, 0, 4, ...given.address])];
  const head = header(to.readUInt16BE(0), 0x8180 | (to.readUInt16BE(2) & 0x7800) | (given.rcode ?? 0), [
    1,
    answers.length,
    0,
    0,
  ]);
  return Buffer.concat([head, to.subarray(12), ...answers]);
}
