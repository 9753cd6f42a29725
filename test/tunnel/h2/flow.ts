/** Sending under windows and back-pressure: who may send how much, who waits, and whose turn it is. */
import t from 'tap';
import * as raw from './raw-frames.ts';
import { openStream, openTunnel, settle } from './raw-peer.ts';

const grant = (id: number, bytes: number): Buffer => raw.frame(raw.WINDOW_UPDATE, 0, id, raw.u32(bytes));
const sizes = (frames: readonly raw.Frame[]): number[] =>
  frames.filter(({ type }) => type === raw.DATA).map(({ payload }) => payload.length);
const total = (frames: readonly raw.Frame[]): number => sizes(frames).reduce((sum, size) => sum + size, 0);

t.test('a write is cut by TLS records and both windows', async t => {
  const { peer, stream, notes } = await openTunnel([[4, 100_000]]);
  t.equal(stream.write(Buffer.alloc(200_000)), false);
  t.strictSame(
    sizes(await peer.frames()),
    [16_375, 16_375, 16_375, 16_375, 35],
    'the connection window is 65 535',
  );
  t.equal(stream.queuedBytes, 200_000 - 65_535);
  await peer.send(grant(0, 1_000_000));
  t.equal(total(await peer.frames()), 100_000 - 65_535, 'the rest of the stream window');
  await peer.send(grant(1, 50_000));
  t.equal(total(await peer.frames()), 50_000);
  t.strictSame(notes.events, []);
  await peer.send(grant(1, 50_001));
  t.equal(total(await peer.frames()), 50_000);
  t.strictSame(notes.events, ['drain'], 'once, when all is out and there is room');
  t.equal(stream.bytesSent, 200_000);
  t.equal(stream.write(Buffer.from('x')), false, 'the last byte of the window');
  await peer.send(grant(1, 1));
  t.strictSame(notes.events, ['drain', 'drain']);
});

t.test('a frame ends with the record, also where it began in the midst of one', async t => {
  const { peer, stream } = await openTunnel([[5, 1_048_576]]);
  await peer.frames();
  for (const bytes of [1000, 30_000, 2000]) stream.write(Buffer.alloc(bytes));
  t.strictSame(
    sizes(await peer.frames()),
    [1000, 15_366, 14_634, 2000],
    'the last has too little room in the second',
  );
});

t.test("after true the memory of a chunk is the caller's again", async t => {
  const { peer, stream } = await openTunnel();
  const small = Buffer.from('small');
  const large = Buffer.alloc(20_000, 'l');
  t.strictSame([stream.write(small), stream.write(large)], [true, true]);
  small.fill('x');
  large.fill('x');
  const bytes = Buffer.concat((await peer.frames()).map(({ payload }) => payload));
  t.notOk(bytes.includes('x'));
  t.equal(bytes.length, 20_005);
});

t.test('a writer that goes on after false loses nothing', async t => {
  const { peer, stream, notes } = await openTunnel([[4, 100_000]]);
  t.equal(stream.write(Buffer.alloc(65_535)), false, 'exactly the connection window');
  t.equal(stream.queuedBytes, 0);
  t.equal(stream.write(Buffer.alloc(100)), false);
  await peer.frames();
  await peer.send(grant(0, 1000));
  t.strictSame([sizes(await peer.frames()), notes.events], [[100], ['drain']]);
});

t.test('the end waits for the bytes before it and rides on the last', async t => {
  const { peer, stream } = await openTunnel([[4, 10]]);
  stream.write(Buffer.from('0123456789abc'));
  stream.end();
  t.strictSame(
    (await peer.frames()).map(({ flags, payload }) => [flags, String(payload)]),
    [[0, '0123456789']],
  );
  await peer.send(grant(1, 3));
  t.strictSame(
    (await peer.frames()).map(({ flags, payload }) => [flags, String(payload)]),
    [[raw.END_STREAM, 'abc']],
  );
});

t.test('an end needs no window', async t => {
  const { peer, stream } = await openTunnel([[4, 0]]);
  stream.end();
  t.strictSame(
    (await peer.frames()).map(({ flags, payload }) => [flags, payload.length]),
    [[raw.END_STREAM, 0]],
  );
});

t.test('INITIAL_WINDOW_SIZE changes in the middle, below nothing and back', async t => {
  const { peer, stream } = await openTunnel([[4, 1000]]);
  stream.write(Buffer.alloc(5000));
  t.equal(total(await peer.frames()), 1000);
  await peer.send(raw.settings([4, 200]));
  await peer.send(grant(1, 800));
  t.equal(total(await peer.frames()), 0, 'the window is -800 + 800');
  await peer.send(grant(1, 7));
  t.equal(total(await peer.frames()), 7);
  await peer.send(raw.settings([4, 1200]));
  const frames = await peer.frames();
  t.equal(total(frames), 1000);
  t.strictSame(
    [frames[0]?.type, frames[0]?.flags],
    [raw.SETTINGS, raw.ACK],
    'acknowledged before it is relied on',
  );
  await peer.send(grant(1, 0x7fff_ffff - 100), raw.settings([4, 5000]));
  t.equal(raw.goawayCode(await peer.frames()), 3, 'a change that overflows a window');
});

t.test('streams that wait take turns', async t => {
  const { peer, stream } = await openTunnel([[4, 1_000_000]]);
  const other = await openStream(peer, 3);
  stream.write(Buffer.alloc(300_000));
  other.stream.write(Buffer.alloc(100));
  await peer.frames();
  await peer.send(grant(0, 40_000));
  const ids = (await peer.frames()).filter(({ type }) => type === raw.DATA).map(({ id }) => id);
  t.strictSame(ids.slice(0, 2), [1, 3], 'the small one is second, not last');
});

t.test('a transport that does not take any more holds writers back', async t => {
  const { peer, stream, notes } = await openTunnel([[4, 10_000_000]]);
  await peer.send(grant(0, 10_000_000));
  peer.transport.stall();
  let written = 0;
  while (stream.write(Buffer.alloc(16_000))) written += 16_000;
  t.ok(written < 400_000, `took ${written} bytes`);
  t.strictSame(notes.events, []);
  peer.transport.unstall();
  await settle();
  t.strictSame(notes.events, ['drain']);
  t.equal(total(await peer.frames()), stream.bytesSent);
  t.equal(stream.queuedBytes, 0);
});

t.test('a writer that does not heed false is slow, not wrong', async t => {
  const { peer, stream } = await openTunnel([[4, 5000]]);
  const chunks = Array.from({ length: 200 }, (_, at) => Buffer.alloc(100 + at * 10, at));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  const received: Buffer[] = [];
  let ended = false;
  while (!ended) {
    for (const { type, flags, payload } of await peer.frames()) {
      if (type !== raw.DATA) continue;
      received.push(Buffer.from(payload));
      ended = flags === raw.END_STREAM;
    }
    await peer.send(grant(1, 3000), grant(0, 3000));
  }
  t.ok(Buffer.concat(received).equals(Buffer.concat(chunks)));
});
