/** A server against a hand-made client: what it answers, frame by frame, and which rules it holds the client to. */
import t from 'tap';
import * as raw from './raw-peer.ts';
import { Notes, RawPeer, goawayCode, resetCode } from './raw-peer.ts';

async function opened(...entries: (readonly [id: number, value: number])[]): Promise<RawPeer> {
  const peer = new RawPeer('server');
  await peer.greet(...entries);
  return peer;
}

/** A server with stream 1 open and answered. */
async function tunnelled(): Promise<{ peer: RawPeer; notes: Notes }> {
  const peer = await opened();
  await peer.send(raw.connectFrame(1));
  const notes = new Notes();
  peer.stream.handlers = notes;
  peer.stream.respond(200);
  await peer.frames();
  return { peer, notes };
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
  t.equal(resetCode(frames, 1), 0, 'and the client may stop sending');
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
  const { peer } = await tunnelled();
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
  const { peer, notes } = await tunnelled();
  await peer.send(raw.frame(raw.RST_STREAM, 0, 1, raw.u32(8)));
  t.strictSame(notes.events, ['reset 8', 'close']);
  t.equal(peer.connection.openStreams, 0);
  await peer.send(raw.connectFrame(3));
  const other = new Notes();
  peer.stream.handlers = other;
  peer.stream.respond(200);
  peer.stream.reset(0xa);
  t.equal(resetCode(await peer.frames(), 3), 0xa);
  t.strictSame(other.events, ['close']);
  await peer.send(
    raw.frame(raw.RST_STREAM, 0, 3, raw.u32(8)),
    raw.frame(raw.WINDOW_UPDATE, 0, 3, raw.u32(1000)),
  );
  t.equal(peer.seen.closed, undefined, 'frames that crossed our reset are no fault');
});

t.test('what came before a reset is delivered before it', async t => {
  const { peer, notes } = await tunnelled();
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
  const { peer, notes } = await tunnelled();
  peer.stream.pause();
  await peer.send(raw.frame(raw.DATA, raw.END_STREAM, 1, 'all'), raw.frame(raw.RST_STREAM, 0, 1, raw.u32(0)));
  peer.stream.resume();
  t.strictSame([String(notes.data), notes.events], ['all', ['end', 'reset 0', 'close']]);
});

t.test('stream errors leave the connection alone', async t => {
  const cases: [what: string, bytes: Buffer, id: number, code: number][] = [
    [
      'a malformed request',
      raw.frame(raw.HEADERS, 4, 3, raw.block([':method', 'CONNECT'], ['A', 'b'])),
      3,
      1,
    ],
    ['HEADERS on an open tunnel', raw.connectFrame(1, raw.END_HEADERS | raw.END_STREAM), 1, 1],
    ['WINDOW_UPDATE of 0', raw.frame(raw.WINDOW_UPDATE, 0, 1, raw.u32(0)), 1, 1],
    ['a window over 2^31-1', raw.frame(raw.WINDOW_UPDATE, 0, 1, raw.u32(0x7fff_ffff)), 1, 3],
  ];
  for (const [what, bytes, id, code] of cases) {
    const { peer, notes } = await tunnelled();
    await peer.send(bytes);
    t.equal(resetCode(await peer.frames(), id), code, what);
    if (id === 1) t.strictSame(notes.events, [`reset ${code}`, 'close']);
    await peer.send(raw.connectFrame(5));
    t.equal(peer.seen.closed, undefined);
    t.equal(peer.seen.requests.length, 2, 'the next request is served');
  }
});

t.test('DATA behind END_STREAM', async t => {
  const { peer, notes } = await tunnelled();
  await peer.send(raw.frame(raw.DATA, raw.END_STREAM, 1, 'a'), raw.frame(raw.DATA, 0, 1, 'b'));
  t.equal(resetCode(await peer.frames(), 1), 5);
  t.strictSame([String(notes.data), notes.events], ['a', ['end', 'reset 5', 'close']]);
});

t.test('connection errors', async t => {
  const two = (type: number, payload: Buffer): Buffer => raw.frame(type, 0, 2, payload);
  const cases: [what: string, bytes: Buffer, code: number][] = [
    ['DATA on an idle stream', raw.frame(raw.DATA, 0, 3, 'x'), 1],
    ['RST_STREAM on an idle stream', raw.frame(raw.RST_STREAM, 0, 3, raw.u32(8)), 1],
    ['WINDOW_UPDATE on an idle stream', raw.frame(raw.WINDOW_UPDATE, 0, 3, raw.u32(1)), 1],
    ['an even request id', raw.connectFrame(2), 1],
    ['RST_STREAM on an even id', two(raw.RST_STREAM, raw.u32(8)), 1],
    ['WINDOW_UPDATE of 0 on the connection', raw.frame(raw.WINDOW_UPDATE, 0, 0, raw.u32(0)), 1],
    ['a connection window over 2^31-1', raw.frame(raw.WINDOW_UPDATE, 0, 0, raw.u32(0x7fff_ffff)), 3],
    ['an acknowledgement of nothing', raw.frame(raw.SETTINGS, raw.ACK, 0), 1],
    ['INITIAL_WINDOW_SIZE over 2^31-1', raw.settings([4, 0x8000_0000]), 3],
    ['MAX_FRAME_SIZE of 16383', raw.settings([5, 16_383]), 1],
    ['MAX_FRAME_SIZE of 2^24', raw.settings([5, 16_777_216]), 1],
    ['ENABLE_PUSH of 2', raw.settings([2, 2]), 1],
    ['broken HPACK', raw.frame(raw.HEADERS, 4, 3, Buffer.from([0x80])), 9],
    [
      'HEADERS with padding longer than itself',
      raw.frame(raw.HEADERS, 4 | raw.PADDED, 3, Buffer.from([9, 0x88])),
      1,
    ],
    [
      'a header block that is interrupted',
      Buffer.concat([raw.connectFrame(3, 0), raw.frame(raw.PING, 0, 0, Buffer.alloc(8))]),
      1,
    ],
  ];
  for (const [what, bytes, code] of cases) {
    const { peer, notes } = await tunnelled();
    await peer.send(bytes);
    t.equal(goawayCode(await peer.frames()), code, what);
    t.equal(peer.seen.closed?.side, 'client');
    t.strictSame(notes.events, [`reset 10 ${peer.seen.closed?.code}`, 'close'], 'the stream is told why');
    t.equal(peer.transport.ended, true);
    peer.clock.advance(1000);
    t.equal(peer.transport.destroyed, true, 'a peer that does not close is cut');
  }
});

t.test('frames on closed streams', async t => {
  const closed = async (): Promise<RawPeer> => {
    const { peer } = await tunnelled();
    peer.stream.end();
    await peer.send(raw.frame(raw.DATA, raw.END_STREAM, 1));
    t.equal(peer.connection.openStreams, 0);
    return peer;
  };
  const late = await closed();
  await late.send(
    raw.frame(raw.WINDOW_UPDATE, 0, 1, raw.u32(1)),
    raw.frame(raw.RST_STREAM, 0, 1, raw.u32(0)),
    raw.frame(raw.PRIORITY, 0, 1, Buffer.alloc(5)),
  );
  t.equal(late.seen.closed, undefined, 'these may cross');
  for (const bytes of [raw.frame(raw.DATA, 0, 1, 'x'), raw.connectFrame(1)]) {
    const peer = await closed();
    await peer.send(bytes);
    t.equal(goawayCode(await peer.frames()), 5);
    t.equal(peer.seen.closed?.code, 'H2_STREAM_CLOSED');
  }
  const skipped = await opened();
  await skipped.send(raw.connectFrame(5), raw.connectFrame(3));
  t.equal(goawayCode(await skipped.frames()), 5, 'ids only grow: opening 5 closed 3');
});

t.test('unknown frames and settings, priorities and padding are taken as they are', async t => {
  const peer = await opened([0x1234, 5], [1, 0]);
  const priority = Buffer.concat([raw.u32(0x8000_0000), Buffer.from([16])]);
  const padded = Buffer.concat([Buffer.from([3]), priority, raw.connectBlock, Buffer.alloc(3)]);
  await peer.send(raw.frame(99, 255, 7, 'whatever'), raw.frame(raw.PRIORITY, 0, 9, priority));
  await peer.send(raw.frame(raw.HEADERS, raw.END_HEADERS | raw.PADDED | 0x20, 1, padded));
  t.equal(peer.seen.requests[0]?.request.authority, '10.0.0.1:80');
  const notes = new Notes();
  peer.stream.handlers = notes;
  peer.stream.respond(200);
  await peer.send(
    raw.frame(
      raw.DATA,
      raw.PADDED,
      1,
      Buffer.concat([Buffer.from([4]), Buffer.from('body'), Buffer.alloc(4)]),
    ),
  );
  t.equal(String(notes.data), 'body');
  t.equal(peer.seen.closed, undefined);
});

t.test('a header block in pieces', async t => {
  const peer = await opened();
  const [one, two, three] = [
    raw.connectBlock.subarray(0, 5),
    raw.connectBlock.subarray(5, 9),
    raw.connectBlock.subarray(9),
  ];
  await peer.send(
    raw.frame(raw.HEADERS, raw.END_STREAM, 1, one),
    raw.frame(raw.CONTINUATION, 0, 1, two),
    raw.frame(raw.CONTINUATION, 4, 1, three),
  );
  t.equal(peer.seen.requests[0]?.request.authority, '10.0.0.1:80');
  const notes = new Notes();
  peer.stream.handlers = notes;
  peer.stream.respond(200);
  t.strictSame(notes.events, ['end'], 'END_STREAM stood on the first frame');
});

t.test('a handler that throws ends the connection, not the process', async t => {
  const peer = new RawPeer(
    'server',
    {},
    {
      onRequest: () => {
        throw new Error('bug');
      },
    },
  );
  await peer.greet();
  await peer.send(raw.connectFrame(1));
  t.equal(goawayCode(await peer.frames()), 2);
  t.equal(peer.seen.closed?.code, 'H2_HANDLER_FAILED');
  t.match(peer.seen.closed?.message, /bug/);
});
