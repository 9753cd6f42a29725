/** GOAWAY both ways: nothing new, the old to its end, and what was never looked at may be tried again. */
import t from 'tap';
import * as raw from './raw-frames.ts';
import { Notes, RawPeer, settle } from './raw-peer.ts';

const goaway = (lastId: number, code = 0): Buffer => raw.frame(raw.GOAWAY, 0, 0, raw.u32(lastId, code));
const lastIds = (frames: readonly raw.Frame[]): number[] =>
  frames.filter(({ type }) => type === raw.GOAWAY).map(({ payload }) => payload.readUInt32BE());

t.test('a server says goodbye twice', async t => {
  const peer = new RawPeer('server');
  await peer.greet();
  await peer.send(raw.connectFrame(1));
  const notes = new Notes();
  peer.stream.handlers = notes;
  peer.stream.respond(200);
  await peer.frames();
  const first = peer.stream;

  peer.connection.goaway();
  peer.connection.goaway();
  const frames = await peer.frames();
  t.strictSame(lastIds(frames), [0x7fff_ffff]);
  t.equal(peer.connection.draining, true);
  const ping = frames.find(({ type }) => type === raw.PING);
  await peer.send(raw.connectFrame(3));
  t.equal(peer.seen.requests.length, 2, 'what was under way is served');
  peer.stream.handlers = new Notes();
  peer.stream.respond(200);

  await peer.send(raw.frame(raw.PING, raw.ACK, 0, ping?.payload));
  t.strictSame(lastIds(await peer.frames()), [3]);
  await peer.send(raw.connectFrame(5));
  t.equal(peer.seen.requests.length, 2);
  t.equal(raw.resetCode(await peer.frames(), 5), 7, 'refused');

  await peer.send(raw.frame(raw.DATA, 0, 1, 'still'), raw.frame(raw.RST_STREAM, 0, 3, raw.u32(8)));
  t.equal(String(notes.data), 'still');
  t.equal(peer.seen.closed, undefined);
  await peer.send(raw.frame(raw.DATA, raw.END_STREAM, 1));
  first.end();
  await settle();
  t.strictSame([peer.seen.closed, peer.transport.ended], [null, true], 'closed when the last stream is');
});

t.test('a server without streams closes after the round trip', async t => {
  const peer = new RawPeer('server');
  await peer.greet();
  peer.connection.goaway();
  const ping = (await peer.frames()).find(({ type }) => type === raw.PING);
  t.equal(peer.seen.closed, undefined);
  await peer.send(raw.frame(raw.PING, raw.ACK, 0, ping?.payload));
  t.strictSame([peer.seen.closed, peer.transport.ended], [null, true]);
});

t.test('a client that does not answer the PING is not waited for without end', async t => {
  const peer = new RawPeer('server', { timing: { pingTimeoutMs: 5000 } });
  await peer.greet();
  peer.connection.goaway();
  await peer.frames();
  peer.clock.advance(5000);
  t.strictSame(lastIds(await peer.frames()), [0]);
  t.equal(peer.seen.closed, null);
});

t.test('a client says goodbye', async t => {
  const peer = new RawPeer('client');
  await peer.greet();
  const notes = new Notes();
  const stream = peer.connection.connect('a:1', [], notes);
  peer.connection.goaway();
  t.strictSame(lastIds(await peer.frames()), [0]);
  t.throws(() => peer.connection.connect('a:1', [], new Notes()), {
    code: 'H2_NO_CAPACITY',
    message: /draining/,
  });
  await peer.send(raw.frame(raw.HEADERS, 4, 1, raw.okBlock), raw.frame(raw.DATA, raw.END_STREAM, 1, 'x'));
  t.strictSame([notes.events, peer.seen.closed], [['headers 200', 'end'], undefined]);
  stream.end();
  await settle();
  t.equal(peer.seen.closed, null);
});

t.test('a client is told goodbye', async t => {
  const peer = new RawPeer('client');
  await peer.greet();
  const [one, three, five] = [new Notes(), new Notes(), new Notes()];
  const stream = peer.connection.connect('a:1', [], one);
  peer.connection.connect('a:3', [], three);
  await peer.send(goaway(0x7fff_ffff));
  t.strictSame([peer.seen.goaways, peer.connection.usable, peer.connection.openStreams], [1, false, 2]);
  t.throws(() => peer.connection.connect('a:5', [], five), { code: 'H2_NO_CAPACITY' });
  await peer.send(goaway(1));
  t.strictSame(three.events, ['reset 7', 'close'], 'REFUSED_STREAM: it may be tried elsewhere');
  t.strictSame([peer.seen.goaways, one.events], [1, []]);
  await peer.send(raw.frame(raw.HEADERS, 5, 1, raw.okBlock));
  stream.end();
  await settle();
  t.strictSame([one.events, peer.seen.closed], [['headers 200', 'end', 'close'], null]);
});

t.test('a goodbye with a complaint is the reason of the end', async t => {
  const peer = new RawPeer('client');
  await peer.greet();
  const [one, three] = [new Notes(), new Notes()];
  peer.connection.connect('a:1', [], one);
  peer.connection.connect('a:3', [], three);
  await peer.send(goaway(1, 0xb));
  peer.transport.push(null);
  await settle();
  t.strictSame(three.events, ['reset 7', 'close']);
  t.strictSame(one.events, ['reset 10 H2_PEER_GOAWAY', 'close']);
  t.match(peer.seen.closed?.message, /ENHANCE_YOUR_CALM/);
  const idle = new RawPeer('client');
  await idle.greet();
  await idle.send(goaway(0, 2));
  t.match(idle.seen.closed?.message, /INTERNAL_ERROR/);
});

t.test('a goodbye does not take back a refusal', async t => {
  const peer = new RawPeer('client');
  await peer.greet();
  peer.connection.connect('a:1', [], new Notes());
  await peer.send(goaway(1), goaway(3));
  t.equal(raw.goawayCode(await peer.frames()), 1);
});
