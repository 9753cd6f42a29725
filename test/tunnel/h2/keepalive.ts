/** Deadlines: the opening handshake, silence, and frames that are begun and not ended. Time is moved by hand. */
import t from 'tap';
import * as raw from './raw-frames.ts';
import { Notes, RawPeer, settle } from './raw-peer.ts';

const pings = (frames: readonly raw.Frame[]): raw.Frame[] =>
  frames.filter(({ type, flags }) => type === raw.PING && flags === 0);

t.test('a peer that never begins', async t => {
  for (const role of ['client', 'server'] as const) {
    const peer = new RawPeer(role);
    await peer.frames();
    peer.clock.advance(9999);
    t.equal(peer.seen.closed, undefined);
    peer.clock.advance(1);
    t.equal(peer.seen.closed?.code, 'H2_PREFACE_TIMEOUT', role);
    t.equal(raw.goawayCode(await peer.frames()), 4);
    peer.clock.advance(1000);
    await settle();
    t.strictSame([peer.transport.destroyed, peer.clock.pending], [true, 0]);
  }
});

t.test('a preface that comes byte by byte meets the same deadline', async t => {
  const peer = new RawPeer('server');
  for (const byte of raw.clientPreface.subarray(0, 20)) {
    await peer.send(Buffer.from([byte]));
    peer.clock.advance(499);
  }
  t.equal(peer.seen.closed, undefined);
  peer.clock.advance(20);
  t.equal(peer.seen.closed?.code, 'H2_PREFACE_TIMEOUT');
});

t.test('SETTINGS that are not acknowledged', async t => {
  const peer = new RawPeer('server');
  await peer.send(raw.clientPreface, raw.settings());
  peer.clock.advance(10_000);
  t.equal(peer.seen.closed?.code, 'H2_SETTINGS_TIMEOUT');
  t.equal(raw.goawayCode(await peer.frames()), 4);
});

t.test('silence is asked after, then ends the connection', async t => {
  const peer = new RawPeer('client', { timing: { pingIntervalMs: 10_000, pingTimeoutMs: 20_000 } });
  await peer.greet();
  const notes = new Notes();
  peer.connection.connect('a:1', [], notes);
  // The greeting counts as a sign of life until the first look.
  peer.clock.advance(10_000);
  t.equal(pings(await peer.frames()).length, 0);
  peer.clock.advance(10_000);
  const [ping] = pings(await peer.frames());
  t.ok(ping, 'ten seconds without a byte');
  await peer.send(raw.frame(raw.PING, raw.ACK, 0, ping?.payload));
  peer.clock.advance(20_000);
  t.equal(pings(await peer.frames()).length, 1, 'answered, and asked again');
  peer.clock.advance(19_999);
  t.strictSame([pings(await peer.frames()).length, peer.seen.closed], [0, undefined], 'asked once only');
  peer.clock.advance(1);
  t.equal(peer.seen.closed?.code, 'H2_PING_TIMEOUT');
  t.strictSame(notes.events, ['reset 10 H2_PING_TIMEOUT', 'close']);
});

t.test('a peer that talks is not asked', async t => {
  const peer = new RawPeer('server');
  await peer.greet();
  await peer.send(raw.connectFrame(1));
  peer.stream.respond(200);
  await peer.frames();
  for (let turn = 0; turn < 20; turn += 1) {
    await peer.send(raw.frame(raw.DATA, 0, 1, 'x'));
    peer.clock.advance(9000);
  }
  t.strictSame([pings(await peer.frames()).length, peer.seen.closed], [0, undefined]);
});

t.test('PINGs are answered with what they carry', async t => {
  const peer = new RawPeer('server');
  await peer.greet();
  await peer.send(raw.frame(raw.PING, 0, 0, 'abcdefgh'));
  const [ping] = await peer.frames();
  t.strictSame([ping?.type, ping?.flags, String(ping?.payload)], [raw.PING, raw.ACK, 'abcdefgh']);
});

t.test('ping tells the round trip, or that there is none', async t => {
  const peer = new RawPeer('client');
  await peer.greet();
  const times: (number | null)[] = [];
  peer.connection.ping(ms => times.push(ms));
  peer.connection.ping(ms => times.push(ms));
  const [first] = pings(await peer.frames());
  peer.clock.advance(7);
  await peer.send(raw.frame(raw.PING, raw.ACK, 0, first?.payload));
  t.strictSame(times, [7]);
  peer.connection.destroy();
  t.strictSame(times, [7, null]);
  peer.connection.ping(ms => times.push(ms));
  t.strictSame(times, [7, null, null]);
});

t.test('a frame that is begun and not ended, trickle or not', async t => {
  const frame = raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.connectBlock);
  const peer = new RawPeer('server');
  await peer.greet();
  for (let at = 0; peer.seen.closed === undefined && at < frame.length; at += 1) {
    await peer.send(frame.subarray(at, at + 1));
    peer.clock.advance(1000);
  }
  t.equal(peer.seen.closed?.code, 'H2_STUCK_FRAME');
  const block = new RawPeer('server');
  await block.greet();
  await block.send(raw.connectFrame(1, 0));
  block.clock.advance(30_000);
  t.equal(block.seen.closed?.code, 'H2_STUCK_FRAME', 'a header block that does not go on');
});

t.test('half a DATA frame may take its time', async t => {
  const peer = new RawPeer('server');
  await peer.greet();
  await peer.send(raw.connectFrame(1));
  peer.stream.respond(200);
  const frame = raw.frame(raw.DATA, 0, 1, 'slow and steady wins the race, says the tortoise');
  await peer.send(frame.subarray(0, 9));
  for (const byte of frame.subarray(9)) {
    peer.clock.advance(9000);
    await peer.send(Buffer.from([byte]));
  }
  t.equal(peer.seen.closed, undefined);
});

t.test('no timer outlives its connection', async t => {
  const peer = new RawPeer('server');
  await peer.greet();
  peer.connection.goaway();
  peer.connection.destroy();
  peer.transport.destroy();
  await settle();
  t.equal(peer.clock.pending, 0);
});
