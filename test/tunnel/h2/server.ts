/** A server against a hand-made client: what it takes, hands up and answers, frame by frame. */
import t from 'tap';
import * as raw from './raw-frames.ts';
import { Notes, RawPeer, openTunnel } from './raw-peer.ts';

async function opened(...entries: (readonly [id: number, value: number])[]): Promise<RawPeer> {
  const peer = new RawPeer('server');
  await peer.greet(...entries);
  return peer;
}

t.test('settings, window and acknowledgement', async t => {
  const peer = new RawPeer('server');
  const [settings, window] = await peer.frames();
  t.equal(settings?.type, raw.SETTINGS);
  t.equal(settings?.payload.toString('hex'), '0003000000c8000400040000000500100000000600010000');
  t.equal(window?.type, raw.WINDOW_UPDATE);
  t.equal(window?.payload.readUInt32BE(), 16_777_216 - 65_535);
  t.equal(peer.connection.ready, false);
  const [ack] = await peer.greet();
  t.strictSame([ack?.type, ack?.flags, ack?.payload.length], [raw.SETTINGS, raw.ACK, 0]);
  t.equal(peer.connection.ready, true);
});

t.test('a tunnel from its CONNECT to both ends', async t => {
  const peer = await opened();
  const fields = raw.block([':method', 'CONNECT'], [':authority', '[fd00::1]:80'], ['baggage', 'a=b']);
  await peer.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, fields));
  const { request, stream } = peer.seen.requests[0] ?? {};
  t.equal(request?.authority, '[fd00::1]:80');
  t.equal(request?.header('baggage'), 'a=b');
  const notes = new Notes();
  peer.stream.handlers = notes;
  stream?.respond(200, [['baggage', 'c=d']]);
  const [headers] = await peer.frames();
  t.strictSame([headers?.type, headers?.flags, headers?.id], [raw.HEADERS, raw.END_HEADERS, 1]);
  t.equal(
    headers?.payload.toString('latin1'),
    '\x20\x88\0\x07baggage\x03c=d',
    'the first block empties the table',
  );

  await peer.send(raw.frame(raw.DATA, 0, 1, 'hel'), raw.frame(raw.DATA, raw.END_STREAM, 1, 'lo'));
  t.equal(String(notes.data), 'hello');
  t.strictSame(notes.events, ['end'], 'half-closed: we may go on');
  t.equal(peer.connection.openStreams, 1);
  t.equal(stream?.write(Buffer.from('world')), true);
  stream?.end();
  const [data, end] = await peer.frames();
  t.strictSame([data?.type, String(data?.payload)], [raw.DATA, 'world']);
  t.strictSame([end?.type, end?.flags, end?.payload.length], [raw.DATA, raw.END_STREAM, 0]);
  t.strictSame(notes.events, ['end', 'close']);
  t.equal(peer.connection.openStreams, 0);
  t.strictSame([stream?.bytesReceived, stream?.bytesSent], [5, 5]);
  t.strictSame([peer.connection.payloadReceived, peer.connection.payloadSent], [5, 5]);
});

t.test('what comes before the answer is kept until 2xx', async t => {
  const peer = await opened();
  await peer.send(raw.connectFrame(1), raw.frame(raw.DATA, raw.END_STREAM, 1, 'early'));
  const notes = new Notes();
  peer.stream.handlers = notes;
  t.strictSame([String(notes.data), notes.events], ['', []]);
  peer.stream.respond(200);
  t.strictSame([String(notes.data), notes.events], ['early', ['end']]);
});

t.test('any other answer ends the stream and drops what came early', async t => {
  const peer = await opened();
  await peer.send(raw.connectFrame(1), raw.frame(raw.DATA, 0, 1, 'early'));
  const notes = new Notes();
  const { stream } = peer;
  stream.handlers = notes;
  stream.respond(401);
  const frames = await peer.frames();
  t.strictSame(frames[0]?.flags, raw.END_HEADERS | raw.END_STREAM);
  t.equal(String(frames[0]?.payload), '\x20\x08\x03401');
  t.equal(raw.resetCode(frames, 1), 0, 'and the client may stop sending');
  t.strictSame([String(notes.data), notes.events], ['', ['close']]);
  t.equal(peer.connection.openStreams, 0);
  await peer.send(raw.frame(raw.DATA, raw.END_STREAM, 1, 'late'), raw.frame(raw.PING, 0, 0, Buffer.alloc(8)));
  t.strictSame(
    (await peer.frames()).map(frame => frame.type),
    [raw.PING],
    'late bytes are no fault',
  );
  stream.respond(200);
  t.equal(stream.write(Buffer.from('x')), true, 'nothing happens on a closed stream');
  stream.end();
  stream.reset(8);
  t.strictSame(await peer.frames(), []);
});

t.test('write and end before the answer wait for it', async t => {
  const peer = await opened();
  await peer.send(raw.connectFrame(1));
  peer.stream.handlers = new Notes();
  t.equal(peer.stream.write(Buffer.from('ab')), false);
  peer.stream.end();
  t.strictSame(await peer.frames(), []);
  peer.stream.respond(200);
  const frames = await peer.frames();
  t.strictSame(
    frames.map(({ type, flags, payload }) => [type, flags, payload.length]),
    [
      [raw.HEADERS, raw.END_HEADERS, 2],
      [raw.DATA, raw.END_STREAM, 2],
    ],
  );
});

t.test('misuse by the owner', async t => {
  const { peer } = await openTunnel();
  const { stream } = peer;
  t.throws(() => stream.respond(200), { code: 'H2_ALREADY_ANSWERED' });
  stream.end();
  t.throws(() => stream.write(Buffer.from('x')), { code: 'H2_WRITE_AFTER_END' });
  await peer.send(raw.connectFrame(3));
  t.throws(() => peer.stream.respond(100), { code: 'H2_BAD_HEADER' });
  t.throws(() => peer.stream.respond(200, [['a', 'b\r\n']]), { code: 'H2_BAD_HEADER' });
  peer.stream.respond(200, [['a', 'b']]);
  t.equal(
    (await peer.frames()).filter(frame => frame.type === raw.HEADERS).length,
    1,
    'only the good one went out',
  );
});

t.test('resets, both ways', async t => {
  const { peer, notes } = await openTunnel();
  await peer.send(raw.frame(raw.RST_STREAM, 0, 1, raw.u32(8)));
  t.strictSame(notes.events, ['reset 8', 'close']);
  t.equal(peer.connection.openStreams, 0);
  await peer.send(raw.connectFrame(3));
  const other = new Notes();
  peer.stream.handlers = other;
  peer.stream.respond(200);
  peer.stream.reset(0xa);
  t.equal(raw.resetCode(await peer.frames(), 3), 0xa);
  t.strictSame(other.events, ['close']);
  await peer.send(
    raw.frame(raw.RST_STREAM, 0, 3, raw.u32(8)),
    raw.frame(raw.WINDOW_UPDATE, 0, 3, raw.u32(1000)),
  );
  t.equal(peer.seen.closed, undefined, 'frames that crossed our reset are no fault');
});

t.test('what came before a reset is delivered before it', async t => {
  const { peer, notes } = await openTunnel();
  const { stream } = peer;
  stream.pause();
  await peer.send(raw.frame(raw.DATA, 0, 1, 'last words'), raw.frame(raw.RST_STREAM, 0, 1, raw.u32(8)));
  t.strictSame([String(notes.data), notes.events, peer.connection.openStreams], ['', [], 0]);
  stream.resume();
  t.strictSame([String(notes.data), notes.events], ['last words', ['reset 8', 'close']]);
});

t.test('a reset before the answer is told at once', async t => {
  const peer = await opened();
  await peer.send(raw.connectFrame(1), raw.frame(raw.DATA, raw.END_STREAM, 1, 'early'));
  const notes = new Notes();
  peer.stream.handlers = notes;
  peer.stream.pause();
  await peer.send(raw.frame(raw.RST_STREAM, 0, 1, raw.u32(8)));
  t.strictSame([String(notes.data), notes.events], ['', ['reset 8', 'close']]);
  peer.stream.respond(200);
  t.strictSame(await peer.frames(), []);
});

t.test('a client that has ended and then resets does not take its bytes back', async t => {
  const { peer, notes } = await openTunnel();
  peer.stream.pause();
  await peer.send(raw.frame(raw.DATA, raw.END_STREAM, 1, 'all'), raw.frame(raw.RST_STREAM, 0, 1, raw.u32(0)));
  peer.stream.resume();
  t.strictSame([String(notes.data), notes.events], ['all', ['end', 'reset 0', 'close']]);
});
