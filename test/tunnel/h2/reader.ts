/** Frames come out the same however the transport cuts the bytes, and a broken one is a Fault wherever it is cut. */
import * as fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../../tunnel/h2/errors.ts';
import { defaultLimits } from '../../../tunnel/h2/limits.ts';
import { FrameReader } from '../../../tunnel/h2/reader.ts';
import type { FrameSink } from '../../../tunnel/h2/reader.ts';
import * as raw from './raw-frames.ts';

const limits = defaultLimits('server');

/** Notes what a reader hands on; payloads of DATA are joined. */
class Sink implements FrameSink {
  continues = 0;
  readonly seen: string[] = [];
  payloadCalls = 0;
  #data = '';

  onData(flags: number, id: number, frameBytes: number, paddingBytes: number): void {
    this.#data = `data ${flags} ${id} ${frameBytes} ${paddingBytes} `;
  }
  onPayload(chunk: Buffer): void {
    this.payloadCalls += 1;
    this.#data += chunk.toString('hex');
  }
  onDataDone(): void {
    this.seen.push(this.#data);
  }
  onFrame(type: number, flags: number, id: number, source: Buffer, start: number, end: number): void {
    this.seen.push(`${type} ${flags} ${id} ${source.subarray(start, end).toString('hex')}`);
  }
}

function read(chunks: readonly Buffer[], expectPreface = false): string[] {
  const sink = new Sink();
  const reader = new FrameReader(sink, limits, 1_048_576, expectPreface);
  try {
    for (const chunk of chunks) reader.read(chunk);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    sink.seen.push(error.code);
  }
  return sink.seen;
}

function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (let turn = 0; at < bytes.length; turn += 1) {
    const length = lengths[turn % lengths.length] ?? 1;
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return chunks;
}

const id = fc.integer({ min: 1, max: 0x7fff_ffff });
const flags = fc.integer({ min: 0, max: 255 });
const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map(array => Buffer.from(array));
const padded = fc.tuple(id, bytes(300), fc.integer({ min: 0, max: 255 })).map(([id, payload, padding]) => {
  return raw.frame(
    raw.DATA,
    raw.PADDED,
    id,
    Buffer.concat([Buffer.from([padding]), payload, Buffer.alloc(padding)]),
  );
});
const anyFrame = fc.oneof(
  fc.tuple(id, bytes(600)).map(([id, payload]) => raw.frame(raw.DATA, raw.END_STREAM, id, payload)),
  padded,
  fc.tuple(flags, id, bytes(300)).map(([flags, id, payload]) => raw.frame(raw.HEADERS, flags, id, payload)),
  fc.tuple(flags, bytes(8)).map(([flags, payload]) => raw.frame(raw.PING, flags, 0, payload)),
  fc.tuple(id, bytes(8)).map(([id, payload]) => raw.frame(raw.WINDOW_UPDATE, 0, id, payload)),
  fc.tuple(fc.integer({ min: 10, max: 255 }), flags, id, bytes(300)).map(args => raw.frame(...args)),
);

t.test('any cutting gives the same frames, or the same Fault', async () => {
  fc.assert(
    fc.property(
      fc.array(anyFrame, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }),
      (frames, lengths) => {
        const whole = Buffer.concat([raw.settings(), ...frames]);
        return JSON.stringify(read([whole])) === JSON.stringify(read(cut(whole, lengths)));
      },
    ),
    { numRuns: 500 },
  );
});

t.test('any bytes are frames or a Fault, cut anyhow', async () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 400 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }),
      (noise, lengths) => {
        const whole = Buffer.concat([raw.settings(), Buffer.from(noise)]);
        return JSON.stringify(read([whole])) === JSON.stringify(read(cut(whole, lengths)));
      },
    ),
    { numRuns: 1000 },
  );
});

t.test('payload passes on as it comes, without waiting for its frame', async t => {
  const sink = new Sink();
  const reader = new FrameReader(sink, limits, 1_048_576, false);
  reader.read(raw.settings());
  const frame = raw.frame(raw.DATA, 0, 1, Buffer.alloc(1_000_000, 'x'));
  reader.read(frame.subarray(0, 1009));
  t.equal(sink.payloadCalls, 1, 'a thousand bytes of a million');
  const part = frame.subarray(1009, 5000);
  let handed: Buffer | null = null;
  sink.onPayload = chunk => (handed = chunk);
  reader.read(part);
  t.equal(handed, part, 'the very chunk, not a copy');
});

t.test('the preface, whole or cut', async t => {
  const hello = Buffer.concat([raw.clientPreface, raw.settings([4, 70_000])]);
  t.strictSame(read([hello], true), ['4 0 0 000400011170']);
  t.strictSame(read(cut(hello, [1]), true), ['4 0 0 000400011170']);
  t.strictSame(read([Buffer.from('GET / HTTP/1.1\r\n\r\n')], true), ['H2_BAD_PREFACE']);
  t.strictSame(
    read([raw.clientPreface, raw.frame(raw.PING, 0, 0, Buffer.alloc(8))], true),
    ['H2_BAD_PREFACE'],
    'no SETTINGS',
  );
  t.strictSame(
    read([raw.clientPreface, raw.frame(raw.SETTINGS, raw.ACK, 0)], true),
    ['H2_BAD_PREFACE'],
    'only their acknowledgement',
  );
});

t.test('a frame that cannot be is refused by its header alone', async t => {
  const head = (type: number, flags: number, id: number, length: number): Buffer => {
    const bytes = raw.frame(type, flags, id);
    bytes.writeUIntBE(length, 0, 3);
    return bytes;
  };
  const cases: [what: string, header: Buffer, code: string][] = [
    ['longer than we announced', head(raw.DATA, 0, 1, 1_048_577), 'H2_FRAME_SIZE'],
    ['DATA on stream 0', head(raw.DATA, 0, 0, 1), 'H2_PROTOCOL_ERROR'],
    ['padded DATA without pad length', head(raw.DATA, raw.PADDED, 1, 0), 'H2_PROTOCOL_ERROR'],
    ['HEADERS on stream 0', head(raw.HEADERS, 4, 0, 1), 'H2_PROTOCOL_ERROR'],
    ['HEADERS beyond any block', head(raw.HEADERS, 4, 1, 70_000), 'H2_HEADER_FLOOD'],
    ['CONTINUATION of nothing', head(raw.CONTINUATION, 4, 1, 1), 'H2_PROTOCOL_ERROR'],
    ['PRIORITY of 4 bytes', head(raw.PRIORITY, 0, 1, 4), 'H2_FRAME_SIZE'],
    ['PRIORITY on stream 0', head(raw.PRIORITY, 0, 0, 5), 'H2_PROTOCOL_ERROR'],
    ['RST_STREAM of 3 bytes', head(raw.RST_STREAM, 0, 1, 3), 'H2_FRAME_SIZE'],
    ['RST_STREAM on stream 0', head(raw.RST_STREAM, 0, 0, 4), 'H2_PROTOCOL_ERROR'],
    ['SETTINGS on a stream', head(raw.SETTINGS, 0, 1, 0), 'H2_PROTOCOL_ERROR'],
    ['SETTINGS of 7 bytes', head(raw.SETTINGS, 0, 0, 7), 'H2_FRAME_SIZE'],
    ['SETTINGS acknowledgement with payload', head(raw.SETTINGS, raw.ACK, 0, 6), 'H2_FRAME_SIZE'],
    ['SETTINGS with 33 entries', head(raw.SETTINGS, 0, 0, 33 * 6), 'H2_SETTINGS_FLOOD'],
    ['PUSH_PROMISE', head(raw.PUSH_PROMISE, 4, 1, 4), 'H2_PROTOCOL_ERROR'],
    ['PING of 7 bytes', head(raw.PING, 0, 0, 7), 'H2_FRAME_SIZE'],
    ['PING on a stream', head(raw.PING, 0, 1, 8), 'H2_PROTOCOL_ERROR'],
    ['GOAWAY of 7 bytes', head(raw.GOAWAY, 0, 0, 7), 'H2_FRAME_SIZE'],
    ['GOAWAY on a stream', head(raw.GOAWAY, 0, 1, 8), 'H2_PROTOCOL_ERROR'],
    ['GOAWAY with a novel', head(raw.GOAWAY, 0, 0, 5000), 'H2_IGNORED_FLOOD'],
    ['WINDOW_UPDATE of 5 bytes', head(raw.WINDOW_UPDATE, 0, 1, 5), 'H2_FRAME_SIZE'],
  ];
  for (const [what, header, code] of cases) t.equal(read([raw.settings(), header]).at(-1), code, what);
});

t.test('padding longer than its frame', async t => {
  t.equal(
    read([raw.settings(), raw.frame(raw.DATA, raw.PADDED, 1, Buffer.from([5, 0, 0, 0, 0]))]).at(-1),
    'H2_PROTOCOL_ERROR',
  );
  t.equal(
    read([raw.settings(), raw.frame(raw.DATA, raw.PADDED, 1, Buffer.from([4, 0, 0, 0, 0]))]).at(-1),
    'data 8 1 5 5 ',
  );
});

t.test('a header block is not interrupted', async t => {
  for (const intruder of [
    raw.frame(raw.DATA, 0, 3, 'x'),
    raw.frame(raw.CONTINUATION, 4, 3, 'x'),
    raw.frame(99, 0, 1),
  ]) {
    const sink = new Sink();
    const reader = new FrameReader(sink, limits, 1_048_576, false);
    reader.read(raw.settings());
    sink.continues = 1;
    t.throws(() => reader.read(intruder), { code: 'H2_PROTOCOL_ERROR' });
  }
});
