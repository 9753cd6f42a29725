/** Windows in both directions: who may send how much, who waits, and what a slow owner costs. */
import t from 'tap';
import * as raw from './raw-peer.ts';
import { Notes, RawPeer, goawayCode, resetCode } from './raw-peer.ts';
import type { H2ConnectionOptions } from '../../../tunnel/h2/connection.ts';
import type { H2Stream } from '../../../tunnel/h2/stream.ts';

interface Tunnel {
  readonly peer: RawPeer;
  readonly stream: H2Stream;
  readonly notes: Notes;
}

/** A server with stream 1 open. */
async function tunnel(
  entries: (readonly [number, number])[] = [],
  options: Partial<H2ConnectionOptions> = {},
): Promise<Tunnel> {
  const peer = new RawPeer('server', options);
  await peer.greet(...entries);
  return { peer, ...(await another(peer, 1)) };
}

async function another(peer: RawPeer, id: number): Promise<{ stream: H2Stream; notes: Notes }> {
  await peer.send(raw.connectFrame(id));
  const notes = new Notes();
  const { stream } = peer;
  stream.handlers = notes;
  stream.respond(200);
  await peer.frames();
  return { stream, notes };
}

const grant = (id: number, bytes: number): Buffer => raw.frame(raw.WINDOW_UPDATE, 0, id, raw.u32(bytes));
const sizes = (frames: readonly raw.Frame[]): number[] =>
  frames.filter(({ type }) => type === raw.DATA).map(({ payload }) => payload.length);
const total = (frames: readonly raw.Frame[]): number => sizes(frames).reduce((sum, size) => sum + size, 0);

t.test('a write is cut by the frame size and both windows', async t => {
  const { peer, stream, notes } = await tunnel([[4, 100_000]]);
  t.equal(stream.write(Buffer.alloc(200_000)), false);
  t.strictSame(
    sizes(await peer.frames()),
    [16_384, 16_384, 16_384, 16_383],
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

t.test('larger frames where the peer takes them', async t => {
  const { peer, stream } = await tunnel([[5, 1_048_576]]);
  stream.write(Buffer.alloc(60_000));
  t.strictSame(sizes(await peer.frames()), [60_000]);
});

t.test('a writer that goes on after false loses nothing', async t => {
  const { peer, stream, notes } = await tunnel([[4, 100_000]]);
  t.equal(stream.write(Buffer.alloc(65_535)), false, 'exactly the connection window');
  t.equal(stream.queuedBytes, 0);
  t.equal(stream.write(Buffer.alloc(100)), false);
  await peer.frames();
  await peer.send(grant(0, 1000));
  t.strictSame([sizes(await peer.frames()), notes.events], [[100], ['drain']]);
});

t.test('the end waits for the bytes before it and rides on the last', async t => {
  const { peer, stream } = await tunnel([[4, 10]]);
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
  const { peer, stream } = await tunnel([[4, 0]]);
  stream.end();
  t.strictSame(
    (await peer.frames()).map(({ flags, payload }) => [flags, payload.length]),
    [[raw.END_STREAM, 0]],
  );
});

t.test('INITIAL_WINDOW_SIZE changes in the middle, below nothing and back', async t => {
  const { peer, stream } = await tunnel([[4, 1000]]);
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
  t.equal(goawayCode(await peer.frames()), 3, 'a change that overflows a window');
});

t.test('streams that wait take turns', async t => {
  const { peer, stream } = await tunnel([[4, 1_000_000]]);
  const other = await another(peer, 3);
  stream.write(Buffer.alloc(300_000));
  other.stream.write(Buffer.alloc(100));
  await peer.frames();
  await peer.send(grant(0, 40_000));
  const ids = (await peer.frames()).filter(({ type }) => type === raw.DATA).map(({ id }) => id);
  t.strictSame(ids.slice(0, 2), [1, 3], 'the small one is second, not last');
});

t.test('a transport that does not take any more holds writers back', async t => {
  const { peer, stream, notes } = await tunnel([[4, 10_000_000]]);
  await peer.send(grant(0, 10_000_000));
  peer.transport.stall();
  let written = 0;
  while (stream.write(Buffer.alloc(16_000))) written += 16_000;
  t.ok(written < 400_000, `took ${written} bytes`);
  t.strictSame(notes.events, []);
  peer.transport.unstall();
  await raw.settle();
  t.strictSame(notes.events, ['drain']);
  t.equal(total(await peer.frames()), stream.bytesSent);
  t.equal(stream.queuedBytes, 0);
});

t.test('windows are given back as the owner takes bytes, and grow while it keeps up', async t => {
  const { peer } = await tunnel();
  const half = Buffer.alloc(131_072 / 8);
  const frame = raw.frame(raw.DATA, 0, 1, half);
  await peer.send(...Array.from({ length: 7 }, () => frame));
  t.strictSame(await peer.frames(), [], 'less than half of 262 144');
  await peer.send(frame);
  const [first] = await peer.frames();
  t.strictSame(
    [first?.type, first?.id, first?.payload.readUInt32BE()],
    [raw.WINDOW_UPDATE, 1, 131_072 + 262_144],
  );
});

t.test('growth ends at the largest window, and at what all may have', async t => {
  const settings = {
    streamWindowBytes: 65_536,
    maxStreamWindowBytes: 262_144,
    connectionWindowBytes: 300_000,
  };
  const { peer } = await tunnel([], { settings });
  /** Sends a megabyte; returns what was granted beyond what was taken until then. */
  const growth = async (id: number): Promise<number> => {
    let [sent, granted, growth] = [0, 0, 0];
    for (; sent < 1_048_576; sent += 16_384) {
      await peer.send(raw.frame(raw.DATA, 0, id, Buffer.alloc(16_384)));
      for (const { id: of, payload } of await peer.frames()) {
        if (of !== id) continue;
        granted += payload.readUInt32BE();
        growth = granted - sent - 16_384;
      }
    }
    return growth;
  };
  t.equal(await growth(1), 262_144 - 65_536);
  await another(peer, 3);
  t.equal(await growth(3), 300_000 - (262_144 - 65_536), 'what the first left');
  await peer.send(raw.frame(raw.RST_STREAM, 0, 1, raw.u32(8)));
  await another(peer, 5);
  t.equal(await growth(5), 262_144 - 65_536, 'a stream that is gone gives its share back');
});

t.test('a paused stream holds its sender back, not its neighbours', async t => {
  const { peer, stream, notes } = await tunnel();
  const other = await another(peer, 3);
  stream.pause();
  await peer.send(...Array.from({ length: 16 }, () => raw.frame(raw.DATA, 0, 1, Buffer.alloc(16_384, 'a'))));
  t.equal(notes.data.length, 0);
  t.notOk(
    (await peer.frames()).some(({ id }) => id === 1),
    'no WINDOW_UPDATE for it',
  );
  let updates = 0;
  for (let round = 0; round < 8; round += 1) {
    await peer.send(...Array.from({ length: 8 }, () => raw.frame(raw.DATA, 0, 3, Buffer.alloc(16_384, 'b'))));
    updates += (await peer.frames()).filter(({ id, type }) => id === 3 && type === raw.WINDOW_UPDATE).length;
  }
  t.ok(updates >= 2, 'its neighbour goes on');
  t.equal(other.notes.data.length, 1_048_576);
  stream.resume();
  t.equal(notes.data.length, 262_144, 'all that was kept');
  const update = (await peer.frames()).find(({ id }) => id === 1);
  t.equal(update?.payload.readUInt32BE(), 262_144, 'given back, without growth');
});

t.test('what was taken before a pause is given back after it', async t => {
  const { peer, stream, notes } = await tunnel();
  notes.onData = chunk => {
    notes.chunks.push(chunk);
    if (notes.data.length >= 131_072) stream.pause();
  };
  await peer.send(...Array.from({ length: 8 }, () => raw.frame(raw.DATA, 0, 1, Buffer.alloc(16_384))));
  t.strictSame(await peer.frames(), []);
  stream.resume();
  t.strictSame(
    (await peer.frames()).map(({ id, payload }) => [id, payload.readUInt32BE()]),
    [[1, 131_072]],
  );
});

t.test('a stream paused inside a delivery gets no more', async t => {
  const { peer, stream, notes } = await tunnel();
  stream.pause();
  await peer.send(
    raw.frame(raw.DATA, 0, 1, Buffer.alloc(5000, 'a')),
    raw.frame(raw.DATA, raw.END_STREAM, 1, Buffer.alloc(5000, 'b')),
  );
  notes.onData = chunk => {
    notes.chunks.push(chunk);
    stream.pause();
  };
  stream.resume();
  t.strictSame([notes.data.length, notes.events], [5000, []]);
  stream.resume();
  t.strictSame([notes.data.length, notes.events], [10_000, []], 'the end waits, too');
  stream.resume();
  t.strictSame(notes.events, ['end']);
});

t.test('more than a window allows', async t => {
  const one = await tunnel();
  one.stream.pause();
  const frames = Array.from({ length: 17 }, () => raw.frame(raw.DATA, 0, 1, Buffer.alloc(16_384)));
  await one.peer.send(...frames);
  t.equal(resetCode(await one.peer.frames(), 1), 3, 'the stream');
  t.strictSame(one.notes.events, ['reset 3', 'close']);
  t.equal(one.peer.seen.closed, undefined);

  const settings = { streamWindowBytes: 1_000_000, connectionWindowBytes: 1_000_000 };
  const all = await tunnel([], { settings });
  all.stream.pause();
  const other = await another(all.peer, 3);
  other.stream.pause();
  const much = raw.frame(raw.DATA, 0, 1, Buffer.alloc(499_999));
  await all.peer.send(much, raw.frame(raw.DATA, 0, 3, Buffer.alloc(500_002)));
  t.equal(goawayCode(await all.peer.frames()), 3, 'the connection');
});

t.test('a window below 65 535 counts from its acknowledgement on', async t => {
  const peer = new RawPeer('server', { settings: { streamWindowBytes: 1000 } });
  await peer.send(
    raw.clientPreface,
    raw.settings(),
    raw.connectFrame(1),
    raw.frame(raw.DATA, 0, 1, Buffer.alloc(16_384)),
  );
  t.equal(peer.seen.closed, undefined, 'the client does not know yet');
  await peer.send(
    raw.frame(raw.SETTINGS, raw.ACK, 0),
    raw.connectFrame(3),
    raw.frame(raw.DATA, 0, 3, Buffer.alloc(1001)),
  );
  t.equal(resetCode(await peer.frames(), 3), 3);
});

t.test('what is dropped still gives the connection its window back', async t => {
  const { peer, stream } = await tunnel();
  stream.reset(8);
  await peer.send(...Array.from({ length: 16 }, () => raw.frame(raw.DATA, 0, 1, Buffer.alloc(16_384))));
  t.equal(peer.seen.closed, undefined, 'late bytes up to the window');
  await peer.send(raw.frame(raw.DATA, 0, 1, 'x'));
  t.equal(goawayCode(await peer.frames()), 3, 'and not one more');
});

t.test('padding is given back like what it pads', async t => {
  const { peer } = await tunnel();
  const padded = raw.frame(
    raw.DATA,
    raw.PADDED,
    1,
    Buffer.concat([Buffer.from([255]), Buffer.from('x'), Buffer.alloc(255)]),
  );
  await peer.send(...Array.from({ length: 512 }, () => padded));
  const updates = (await peer.frames()).filter(({ type }) => type === raw.WINDOW_UPDATE);
  t.equal(updates[0]?.payload.readUInt32BE(), 511 * 257 + 262_144);
});

t.test('a writer that does not heed false is slow, not wrong', async t => {
  const { peer, stream } = await tunnel([[4, 5000]]);
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
