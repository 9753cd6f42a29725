/** A client against a hand-made server: what it asks, and which rules it holds the server to. */
import t from 'tap';
import * as raw from './raw-frames.ts';
import { Notes, RawPeer, settle } from './raw-peer.ts';

async function opened(...entries: (readonly [id: number, value: number])[]): Promise<RawPeer> {
  const peer = new RawPeer('client');
  await peer.greet(...entries);
  return peer;
}

t.test('preface, settings, window, and a request without waiting', async t => {
  const peer = new RawPeer('client');
  const stream = peer.connection.connect('10.0.0.1:80', [['baggage', 'a=b']], new Notes());
  await settle();
  const written = peer.transport.taken();
  t.equal(written.toString('latin1', 0, 24), 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const { frames } = raw.parseFrames(written.subarray(24));
  t.strictSame(
    frames.map(({ type }) => type),
    [raw.SETTINGS, raw.WINDOW_UPDATE, raw.HEADERS],
  );
  t.equal(frames[0]?.payload.toString('hex'), '000200000000000400040000000500100000000600004000');
  t.strictSame([frames[2]?.id, frames[2]?.flags, stream.id], [1, raw.END_HEADERS, 1]);
  t.equal(
    frames[2]?.payload.toString('latin1'),
    '\x20\x02\x07CONNECT\x01\x0b10.0.0.1:80\0\x07baggage\x03a=b',
  );
  peer.connection.connect('10.0.0.1:81', [], new Notes());
  await settle();
  const [second] = raw.parseFrames(peer.transport.taken()).frames;
  t.equal(
    second?.payload.toString('latin1'),
    '\x02\x07CONNECT\x01\x0b10.0.0.1:81',
    'the table is emptied once',
  );
});

t.test('answers', async t => {
  const peer = await opened();
  const [yes, no, hurried] = [new Notes(), new Notes(), new Notes()];
  const stream = peer.connection.connect('a:1', [], yes);
  peer.connection.connect('a:2', [], no);
  peer.connection.connect('a:3', [], hurried);
  const interim = raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.block([':status', '103']));
  await peer.send(
    interim,
    raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.okBlock),
    raw.frame(raw.DATA, 0, 1, 'hi'),
  );
  t.strictSame([yes.events, String(yes.data)], [['headers 200'], 'hi']);
  await peer.send(
    raw.frame(raw.HEADERS, 4, 3, raw.block([':status', '503'])),
    raw.frame(raw.DATA, 0, 3, 'no'),
  );
  await peer.send(raw.frame(raw.HEADERS, 5, 3, raw.block(['trailer', 'x'])));
  t.strictSame(
    [no.events, String(no.data)],
    [['headers 503', 'end'], 'no'],
    'a refusal may have a body and trailers',
  );
  await peer.send(raw.frame(raw.HEADERS, raw.END_HEADERS | raw.END_STREAM, 5, raw.okBlock));
  t.strictSame(hurried.events, ['headers 200', 'end']);
  stream.end();
  await peer.send(raw.frame(raw.DATA, raw.END_STREAM, 1));
  t.strictSame(yes.events, ['headers 200', 'end', 'close']);
});

t.test('stream errors of a server', async t => {
  const answer = raw.frame(raw.HEADERS, 4, 1, raw.okBlock);
  const cases: [what: string, bytes: Buffer[], code: number][] = [
    ['DATA before the answer', [raw.frame(raw.DATA, 0, 1, 'x')], 1],
    ['a second answer', [answer, answer], 1],
    ['trailers on a tunnel', [answer, raw.frame(raw.HEADERS, 5, 1, raw.block(['a', 'b']))], 1],
    ['an answer without a status', [raw.frame(raw.HEADERS, 4, 1, raw.block(['a', 'b']))], 1],
    ['an interim answer that ends', [raw.frame(raw.HEADERS, 5, 1, raw.block([':status', '100']))], 1],
    ['DATA behind the end', [answer, raw.frame(raw.DATA, 1, 1), raw.frame(raw.DATA, 0, 1, 'x')], 5],
    ['HEADERS behind the end', [answer, raw.frame(raw.DATA, 1, 1), answer], 5],
  ];
  for (const [what, bytes, code] of cases) {
    const peer = await opened();
    const notes = new Notes();
    peer.connection.connect('a:1', [], notes);
    await peer.send(...bytes);
    t.equal(raw.resetCode(await peer.frames(), 1), code, what);
    t.equal(notes.events.at(-2), `reset ${code}`, what);
    t.strictSame([peer.connection.openStreams, peer.seen.closed], [0, undefined]);
  }
});

t.test('connection errors of a server', async t => {
  const cases: [what: string, bytes: Buffer, code: number][] = [
    ['an answer to nobody', raw.frame(raw.HEADERS, 4, 3, raw.okBlock), 1],
    ['a stream of its own', raw.frame(raw.HEADERS, 4, 2, raw.okBlock), 1],
    ['PUSH_PROMISE', raw.frame(raw.PUSH_PROMISE, 4, 1, Buffer.concat([raw.u32(2), raw.okBlock])), 1],
    ['ENABLE_PUSH of 1', raw.settings([2, 1]), 1],
  ];
  for (const [what, bytes, code] of cases) {
    const peer = await opened();
    const notes = new Notes();
    peer.connection.connect('a:1', [], notes);
    await peer.send(bytes);
    t.equal(raw.goawayCode(await peer.frames()), code, what);
    t.strictSame([peer.seen.closed?.code, peer.seen.closed?.side], ['H2_PROTOCOL_ERROR', 'server']);
    t.strictSame(notes.events, ['reset 10 H2_PROTOCOL_ERROR', 'close']);
  }
});

t.test('room for streams', async t => {
  const peer = new RawPeer('client');
  t.equal(peer.connection.availableStreams, 100, 'assumed until the server speaks');
  await peer.greet([3, 2]);
  t.strictSame([peer.connection.maxStreams, peer.connection.availableStreams], [2, 2]);
  const first = peer.connection.connect('a:1', [], new Notes());
  peer.connection.connect('a:2', [], new Notes());
  t.throws(() => peer.connection.connect('a:3', [], new Notes()), {
    code: 'H2_NO_CAPACITY',
    message: /full with 2 streams/,
  });
  first.reset(8);
  t.strictSame([peer.connection.availableStreams, peer.seen.capacities], [1, 1], 'at once');
  peer.connection.connect('a:3', [], new Notes());
  await peer.send(raw.settings([3, 0]));
  t.strictSame(
    [peer.connection.availableStreams, peer.connection.openStreams],
    [0, 2],
    'fewer than are open',
  );
  await peer.send(raw.settings([3, 3]));
  t.strictSame([peer.connection.availableStreams, peer.seen.capacities], [1, 2]);
  const unlimited = await opened();
  t.ok(unlimited.connection.availableStreams > 1e9, 'a server that sets no limit');
});

t.test('requests that cannot be', async t => {
  const peer = await opened([6, 200]);
  const connect = (authority: string, ...headers: [string, string][]): unknown =>
    peer.connection.connect(authority, headers, new Notes());
  t.throws(() => connect('a:1', ['a', 'x'.repeat(200)]), { code: 'H2_HEADERS_TOO_LARGE' });
  t.throws(() => connect('a:1\r\n'), { code: 'H2_BAD_HEADER' });
  t.throws(() => connect('a:1', ['a', 'b\nc: d']), { code: 'H2_BAD_HEADER' });
  t.strictSame([await peer.frames(), peer.connection.openStreams], [[], 0], 'nothing went out');
  connect('a:1');
  t.equal((await peer.frames())[0]?.id, 1, 'no id was lost');
  t.throws(() => new RawPeer('server').connection.connect('a:1', [], new Notes()), {
    code: 'H2_NO_CAPACITY',
  });
});

t.test('a request larger than a frame is continued', async t => {
  const peer = await opened();
  const headers = Array.from({ length: 10 }, (_, at): [string, string] => [`h${at}`, 'x'.repeat(5000)]);
  peer.connection.connect('a:1', headers, new Notes());
  const frames = await peer.frames();
  t.strictSame(
    frames.map(({ type, flags }) => [type, flags]),
    [
      [raw.HEADERS, 0],
      [raw.CONTINUATION, 0],
      [raw.CONTINUATION, 0],
      [raw.CONTINUATION, raw.END_HEADERS],
    ],
  );
  t.ok(frames.every(({ payload, id }) => payload.length <= 16_384 && id === 1));
  t.ok(Buffer.concat(frames.map(({ payload }) => payload)).includes('h9'));
});

t.test('the transport breaks', async t => {
  const peer = await opened();
  const notes = new Notes();
  peer.connection.connect('a:1', [], notes);
  peer.transport.destroy(new Error('ECONNRESET'));
  await settle();
  t.strictSame(notes.events, ['reset 10 H2_TRANSPORT_LOST', 'close']);
  t.match(peer.seen.closed?.message, /ECONNRESET/);
  t.equal(peer.clock.pending, 0, 'no timer is left');
  t.throws(() => peer.connection.connect('a:1', [], new Notes()), { code: 'H2_NO_CAPACITY' });
});

t.test('the server leaves: between requests is no error, during one is', async t => {
  const quiet = await opened();
  quiet.transport.push(null);
  await settle();
  t.strictSame([quiet.seen.closed, quiet.transport.ended], [null, true]);
  const busy = await opened();
  const notes = new Notes();
  busy.connection.connect('a:1', [], notes);
  busy.transport.push(null);
  await settle();
  t.equal(busy.seen.closed?.code, 'H2_TRANSPORT_LOST');
  t.strictSame(notes.events, ['reset 10 H2_TRANSPORT_LOST', 'close']);
});

t.test('destroy', async t => {
  const peer = await opened();
  const notes = new Notes();
  const stream = peer.connection.connect('a:1', [], notes);
  peer.connection.destroy();
  t.strictSame([notes.events, peer.seen.closed], [['reset 10 H2_DESTROYED', 'close'], null]);
  t.equal(raw.goawayCode(await peer.frames()), 0);
  stream.write(Buffer.from('x'));
  stream.end();
  stream.reset(8);
  peer.connection.destroy();
  peer.connection.goaway();
  t.strictSame(await peer.frames(), []);
  t.strictSame(
    [peer.connection.closed, peer.connection.usable, peer.connection.availableStreams],
    [true, false, 0],
  );
});
