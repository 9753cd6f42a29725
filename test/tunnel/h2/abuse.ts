/** Every limit on what a peer may make us do, each by the bytes that cross it, and that what is just below it passes. */
import t from 'tap';
import type { Test } from 'tap';
import { defaultLimits } from '../../../tunnel/h2/limits.ts';
import type { H2Limits, Rate } from '../../../tunnel/h2/limits.ts';
import * as raw from './raw-frames.ts';
import { Notes, RawPeer } from './raw-peer.ts';

const calm = 0xb;
const few: Rate = { burst: 5, perSecond: 2 };

async function server(limits: Partial<H2Limits> = {}): Promise<RawPeer> {
  const peer = new RawPeer('server', { limits });
  await peer.greet();
  return peer;
}

/** Sends `flood(n)` for the sixth time after five that pass, and expects the connection to end with `code`. */
async function expectFlood(
  t: Test,
  limit: keyof H2Limits,
  code: string,
  flood: (turn: number) => Buffer,
  prepare: (peer: RawPeer) => Promise<void> = async () => {},
): Promise<void> {
  // What a connection begins with counts, too.
  const burst = limit === 'settings' ? 6 : 5;
  const peer = await server({ [limit]: { burst, perSecond: 2 } });
  await prepare(peer);
  for (let turn = 0; turn < 5; turn += 1) await peer.send(flood(turn));
  t.equal(peer.seen.closed, undefined, `${limit}: five pass`);
  peer.clock.advance(500);
  await peer.send(flood(5));
  t.equal(peer.seen.closed, undefined, 'one more half a second later');
  await peer.frames();
  await peer.send(flood(6));
  t.equal(peer.seen.closed?.code, code);
  t.equal(raw.goawayCode(await peer.frames()), calm);
}

const ping = raw.frame(raw.PING, 0, 0, Buffer.alloc(8));
const rst = (id: number): Buffer => raw.frame(raw.RST_STREAM, 0, id, raw.u32(8));

t.test('rapid reset', async t => {
  await expectFlood(t, 'prematureResets', 'H2_RAPID_RESET', turn =>
    Buffer.concat([raw.connectFrame(2 * turn + 1), rst(2 * turn + 1)]),
  );
  const peer = await server({ prematureResets: few });
  for (let id = 1; id < 100; id += 2) {
    await peer.send(raw.connectFrame(id));
    peer.stream.respond(200);
    await peer.send(rst(id));
  }
  t.equal(peer.seen.closed, undefined, 'resets of answered streams are everyday life');
});

t.test('provoked resets', async t => {
  const broken = (turn: number): Buffer =>
    raw.frame(raw.HEADERS, raw.END_HEADERS, 2 * turn + 1, raw.block(['A', 'b']));
  await expectFlood(t, 'provokedResets', 'H2_PROVOKED_RESET', broken);
  const overflow = (turn: number): Buffer =>
    Buffer.concat([
      raw.connectFrame(2 * turn + 1),
      raw.frame(raw.WINDOW_UPDATE, 0, 2 * turn + 1, raw.u32(0x7fff_ffff)),
    ]);
  await expectFlood(t, 'provokedResets', 'H2_PROVOKED_RESET', overflow);
});

t.test('PING', async t => {
  await expectFlood(t, 'pings', 'H2_PING_FLOOD', () => ping);
});

t.test('SETTINGS', async t => {
  await expectFlood(t, 'settings', 'H2_SETTINGS_FLOOD', () => raw.settings([4, 1000]));
});

t.test('DATA with nothing in it', async t => {
  const open = async (peer: RawPeer): Promise<void> => {
    await peer.send(raw.connectFrame(1));
    peer.stream.respond(200);
  };
  await expectFlood(t, 'emptyData', 'H2_EMPTY_DATA_FLOOD', () => raw.frame(raw.DATA, 0, 1), open);
  const padding = raw.frame(raw.DATA, raw.PADDED, 1, Buffer.from([2, 0, 0]));
  await expectFlood(t, 'emptyData', 'H2_EMPTY_DATA_FLOOD', () => padding, open);
});

t.test('tiny WINDOW_UPDATE', async t => {
  const crumb = (bytes: number): Buffer => raw.frame(raw.WINDOW_UPDATE, 0, 0, raw.u32(bytes));
  await expectFlood(t, 'tinyWindowUpdates', 'H2_WINDOW_FLOOD', () => crumb(255));
  const peer = await server({ tinyWindowUpdates: few });
  for (let turn = 0; turn < 50; turn += 1) await peer.send(crumb(256));
  t.equal(peer.seen.closed, undefined, 'grants of a decent size');
});

t.test('frames that mean nothing', async t => {
  await expectFlood(t, 'ignoredFrames', 'H2_IGNORED_FLOOD', () => raw.frame(0xbe, 0, 0, 'x'));
  await expectFlood(t, 'ignoredFrames', 'H2_IGNORED_FLOOD', () =>
    raw.frame(raw.PRIORITY, 0, 1, Buffer.alloc(5)),
  );
  await expectFlood(t, 'ignoredFrames', 'H2_IGNORED_FLOOD', () =>
    raw.frame(raw.PING, raw.ACK, 0, Buffer.alloc(8)),
  );
  const close = async (peer: RawPeer): Promise<void> => {
    await peer.send(raw.connectFrame(1), rst(1));
  };
  await expectFlood(t, 'ignoredFrames', 'H2_IGNORED_FLOOD', () => rst(1), close);
});

t.test('more streams than were announced', async t => {
  const peer = new RawPeer('server', { settings: { maxStreams: 2 }, limits: { refusedStreams: few } });
  await peer.greet();
  await peer.send(raw.connectFrame(1), raw.connectFrame(3), raw.connectFrame(5));
  t.strictSame([peer.seen.requests.length, raw.resetCode(await peer.frames(), 5)], [2, 7], 'refused');
  await peer.send(rst(1), raw.connectFrame(7));
  t.equal(peer.seen.requests.length, 3, 'a place is free again');
  for (let id = 9; id <= 15; id += 2) await peer.send(raw.connectFrame(id));
  t.equal(peer.seen.closed, undefined);
  await peer.send(raw.connectFrame(17));
  t.equal(peer.seen.closed?.code, 'H2_STREAM_FLOOD');
});

t.test('streams that are gone but not taken by their owners keep their places', async t => {
  const peer = new RawPeer('server', { settings: { maxStreams: 2 } });
  await peer.greet();
  const notes = new Notes();
  for (const id of [1, 3]) {
    await peer.send(raw.connectFrame(id));
    peer.stream.handlers = notes;
    peer.stream.respond(200);
    peer.stream.pause();
    await peer.send(raw.frame(raw.DATA, 0, id, 'kept'), rst(id));
  }
  t.equal(peer.connection.openStreams, 0);
  await peer.send(raw.connectFrame(5));
  t.equal(raw.resetCode(await peer.frames(), 5), 7);
  peer.seen.requests[0]?.stream.resume();
  await peer.send(raw.connectFrame(7));
  t.equal(peer.seen.requests.length, 3, 'taken: its place is free');
  peer.seen.requests[1]?.stream.reset(8);
  await peer.send(raw.connectFrame(9));
  t.equal(peer.seen.requests.length, 4, 'given up: free as well');
});

t.test('header blocks', async t => {
  const endless = await server();
  await endless.send(raw.connectFrame(1, 0));
  for (let turn = 0; turn < 8; turn += 1) await endless.send(raw.frame(raw.CONTINUATION, 0, 1));
  t.equal(endless.seen.closed, undefined);
  await endless.send(raw.frame(raw.CONTINUATION, 0, 1));
  t.equal(endless.seen.closed?.code, 'H2_CONTINUATION_FLOOD');
  t.equal(raw.goawayCode(await endless.frames()), calm);

  const long = await server({ maxHeaderBlockBytes: 1000 });
  await long.send(
    raw.frame(raw.HEADERS, 0, 1, Buffer.alloc(600)),
    raw.frame(raw.CONTINUATION, 0, 1, Buffer.alloc(401)),
  );
  t.equal(long.seen.closed?.code, 'H2_HEADER_FLOOD', 'over several frames');
  const wide = await server({ maxHeaderBlockBytes: 1000 });
  await wide.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, Buffer.alloc(1001, 0x82)));
  t.equal(wide.seen.closed?.code, 'H2_HEADER_FLOOD', 'in one frame');
  const list = await server({ maxHeaderListBytes: 1000 });
  await list.send(
    raw.frame(raw.HEADERS, raw.END_HEADERS, 1, Buffer.concat([raw.connectBlock, Buffer.alloc(30, 0x82)])),
  );
  t.equal(list.seen.closed?.code, 'H2_HEADER_FLOOD', 'decoded');
  t.equal(raw.goawayCode(await list.frames()), calm);
});

t.test('a peer that provokes answers and does not read them', async t => {
  const peer = new RawPeer('server', {
    limits: { maxOutputQueueBytes: 1000, pings: { burst: 1000, perSecond: 1 } },
  });
  await peer.greet();
  peer.transport.stall();
  await peer.send(ping);
  await peer.send(...Array.from({ length: 58 }, () => ping));
  t.equal(peer.seen.closed, undefined, '986 bytes wait');
  await peer.send(ping);
  t.equal(peer.seen.closed?.code, 'H2_OUTPUT_FLOOD');
  peer.clock.advance(1000);
  t.equal(peer.transport.destroyed, true);
});

t.test('the same for requests that are refused at once', async t => {
  const peer = new RawPeer(
    'server',
    { limits: { maxOutputQueueBytes: 1000 } },
    { onRequest: stream => stream.respond(401) },
  );
  await peer.greet();
  peer.transport.stall();
  for (let id = 1; id < 200 && peer.seen.closed === undefined; id += 2) await peer.send(raw.connectFrame(id));
  t.equal(peer.seen.closed?.code, 'H2_OUTPUT_FLOOD');
});

t.test('the defaults leave honest peers room', async t => {
  const { burst, perSecond } = defaultLimits('server').pings;
  t.ok(burst >= 100 && perSecond >= 1, 'a PING every ten seconds, and bandwidth probes');
  t.ok(
    defaultLimits('client').maxHeaderListBytes === 16_384 &&
      defaultLimits('server').maxHeaderListBytes === 65_536,
  );
});
