/** The rules a server holds its client to: what costs one stream, what the connection, and what is no fault at all. */
import t from 'tap';
import * as raw from './raw-frames.ts';
import { Notes, RawPeer, openTunnel } from './raw-peer.ts';

async function opened(...entries: (readonly [id: number, value: number])[]): Promise<RawPeer> {
  const peer = new RawPeer('server');
  await peer.greet(...entries);
  return peer;
}

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
    const { peer, notes } = await openTunnel();
    await peer.send(bytes);
    t.equal(raw.resetCode(await peer.frames(), id), code, what);
    if (id === 1) t.strictSame(notes.events, [`reset ${code}`, 'close']);
    await peer.send(raw.connectFrame(5));
    t.equal(peer.seen.closed, undefined);
    t.equal(peer.seen.requests.length, 2, 'the next request is served');
  }
});

t.test('DATA behind END_STREAM', async t => {
  const { peer, notes } = await openTunnel();
  await peer.send(raw.frame(raw.DATA, raw.END_STREAM, 1, 'a'), raw.frame(raw.DATA, 0, 1, 'b'));
  t.equal(raw.resetCode(await peer.frames(), 1), 5);
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
    const { peer, notes } = await openTunnel();
    await peer.send(bytes);
    t.equal(raw.goawayCode(await peer.frames()), code, what);
    t.equal(peer.seen.closed?.side, 'client');
    t.strictSame(notes.events, [`reset 10 ${peer.seen.closed?.code}`, 'close'], 'the stream is told why');
    t.equal(peer.transport.ended, true);
    peer.clock.advance(1000);
    t.equal(peer.transport.destroyed, true, 'a peer that does not close is cut');
  }
});

t.test('frames on closed streams', async t => {
  const closed = async (): Promise<RawPeer> => {
    const { peer } = await openTunnel();
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
    t.equal(raw.goawayCode(await peer.frames()), 5);
    t.equal(peer.seen.closed?.code, 'H2_STREAM_CLOSED');
  }
  const skipped = await opened();
  await skipped.send(raw.connectFrame(5), raw.connectFrame(3));
  t.equal(raw.goawayCode(await skipped.frames()), 5, 'ids only grow: opening 5 closed 3');
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
  t.equal(raw.goawayCode(await peer.frames()), 2);
  t.equal(peer.seen.closed?.code, 'H2_HANDLER_FAILED');
  t.match(peer.seen.closed?.message, /bug/);
});
