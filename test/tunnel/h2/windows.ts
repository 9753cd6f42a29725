/** Receiving under our windows: what is given back and when, what a slow owner costs, and what is too much. */
import t from 'tap';
import * as raw from './raw-frames.ts';
import { RawPeer, openStream, openTunnel } from './raw-peer.ts';

t.test('windows are given back as the owner takes bytes, and grow while it keeps up', async t => {
  const { peer } = await openTunnel();
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
  const { peer } = await openTunnel([], { settings });
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
  await openStream(peer, 3);
  t.equal(await growth(3), 300_000 - (262_144 - 65_536), 'what the first left');
  await peer.send(raw.frame(raw.RST_STREAM, 0, 1, raw.u32(8)));
  await openStream(peer, 5);
  t.equal(await growth(5), 262_144 - 65_536, 'a stream that is gone gives its share back');
});

t.test('a paused stream holds its sender back, not its neighbours', async t => {
  const { peer, stream, notes } = await openTunnel();
  const other = await openStream(peer, 3);
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
  const { peer, stream, notes } = await openTunnel();
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
  const { peer, stream, notes } = await openTunnel();
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
  const one = await openTunnel();
  one.stream.pause();
  const frames = Array.from({ length: 17 }, () => raw.frame(raw.DATA, 0, 1, Buffer.alloc(16_384)));
  await one.peer.send(...frames);
  t.equal(raw.resetCode(await one.peer.frames(), 1), 3, 'the stream');
  t.strictSame(one.notes.events, ['reset 3', 'close']);
  t.equal(one.peer.seen.closed, undefined);

  const settings = { streamWindowBytes: 1_000_000, connectionWindowBytes: 1_000_000 };
  const all = await openTunnel([], { settings });
  all.stream.pause();
  const other = await openStream(all.peer, 3);
  other.stream.pause();
  const much = raw.frame(raw.DATA, 0, 1, Buffer.alloc(499_999));
  await all.peer.send(much, raw.frame(raw.DATA, 0, 3, Buffer.alloc(500_002)));
  t.equal(raw.goawayCode(await all.peer.frames()), 3, 'the connection');
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
  t.equal(raw.resetCode(await peer.frames(), 3), 3);
});

t.test('what is dropped still gives the connection its window back', async t => {
  const { peer, stream } = await openTunnel();
  stream.reset(8);
  await peer.send(...Array.from({ length: 16 }, () => raw.frame(raw.DATA, 0, 1, Buffer.alloc(16_384))));
  t.equal(peer.seen.closed, undefined, 'late bytes up to the window');
  await peer.send(raw.frame(raw.DATA, 0, 1, 'x'));
  t.equal(raw.goawayCode(await peer.frames()), 3, 'and not one more');
});

t.test('padding is given back like what it pads', async t => {
  const { peer } = await openTunnel();
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
