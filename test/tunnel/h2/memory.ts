/** What streams leave behind: nothing, however they ended, also with bytes that were never sent or taken. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import type { Test } from 'tap';
import * as raw from './raw-frames.ts';
import { Notes, RawPeer, settle } from './raw-peer.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Heap and external memory, when what is dead is gone: buffers are freed some time after their collection. */
async function used(): Promise<number> {
  for (let turn = 0; turn < 3; turn += 1) {
    collect();
    await settle();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function server(): Promise<RawPeer> {
  const peer = new RawPeer('server');
  await peer.greet([4, 1000]);
  return peer;
}

/** Opens a stream, does something with it, and expects nothing of it to remain, measured over many. */
async function expectFlat(t: Test, cycle: (peer: RawPeer, id: number) => Promise<void>): Promise<void> {
  const peer = await server();
  let id = 1;
  const run = async (times: number): Promise<void> => {
    for (let turn = 0; turn < times; turn += 1, id += 2) {
      await cycle(peer, id);
      peer.seen.requests.length = 0;
      await peer.frames();
    }
  };
  await run(400);
  const before = await used();
  await run(400);
  const each = ((await used()) - before) / 400;
  t.equal(peer.seen.closed, undefined);
  t.equal(peer.connection.openStreams, 0);
  t.ok(each < 600, `${each.toFixed(0)} bytes stay behind each stream`);
}

const rst = (id: number): Buffer => raw.frame(raw.RST_STREAM, 0, id, raw.u32(8));

t.test('a stream that the peer resets while we write', async t => {
  await expectFlat(t, async (peer, id) => {
    await peer.send(raw.connectFrame(id));
    const { stream } = peer;
    stream.handlers = new Notes();
    stream.respond(200);
    stream.write(Buffer.alloc(100_000));
    stream.write(Buffer.alloc(100));
    await peer.send(rst(id));
    if (stream.queuedBytes !== 0) throw new Error('bytes are kept for a stream that is gone');
  });
});

t.test('a stream that we reset with bytes in both queues', async t => {
  await expectFlat(t, async (peer, id) => {
    await peer.send(raw.connectFrame(id));
    const { stream } = peer;
    stream.handlers = new Notes();
    stream.respond(200);
    stream.pause();
    stream.write(Buffer.alloc(100_000));
    await peer.send(raw.frame(raw.DATA, 0, id, Buffer.alloc(10_000)));
    stream.reset(8);
  });
});

t.test('a stream that ends as it should', async t => {
  await expectFlat(t, async (peer, id) => {
    await peer.send(raw.connectFrame(id));
    const { stream } = peer;
    stream.handlers = new Notes();
    stream.respond(200);
    stream.write(Buffer.from('bye'));
    stream.end();
    await peer.send(raw.frame(raw.DATA, raw.END_STREAM, id, 'bye'));
  });
});

t.test('requests that are refused', async t => {
  await expectFlat(t, async (peer, id) => {
    await peer.send(raw.connectFrame(id));
    peer.stream.respond(401);
  });
});

t.test('an idle stream', async t => {
  const peer = new RawPeer('server', { settings: { maxStreams: 5000 } });
  await peer.greet();
  const notes = new Notes();
  const open = async (from: number, count: number): Promise<void> => {
    for (let id = from; id < from + 2 * count; id += 2) {
      await peer.send(raw.connectFrame(id));
      peer.stream.handlers = notes;
      peer.stream.respond(200);
      await peer.send(raw.frame(raw.DATA, 0, id, 'x'));
    }
    notes.chunks.length = 0;
    await peer.frames();
  };
  await open(1, 500);
  const streams = peer.seen.requests.map(({ stream }) => stream);
  peer.seen.requests.length = 0;
  const before = await used();
  await open(1001, 2000);
  for (const { stream } of peer.seen.requests) streams.push(stream);
  peer.seen.requests.length = 0;
  const each = ((await used()) - before) / 2000;
  t.equal(streams.length, 2500);
  t.ok(each < 600, `${each.toFixed(0)} bytes`);
});

t.test('bytes for a paused stream cost their bytes, however small the frames', async t => {
  const peer = await server();
  await peer.send(raw.connectFrame(1));
  peer.stream.respond(200);
  peer.stream.pause();
  const crumbs = Buffer.concat(Array.from({ length: 1000 }, () => raw.frame(raw.DATA, 0, 1, 'x')));
  const before = await used();
  for (let turn = 0; turn < 200; turn += 1) await peer.send(crumbs);
  const grown = (await used()) - before;
  t.equal(peer.seen.closed, undefined);
  t.ok(grown < 500_000, `200 000 one-byte frames: ${grown} bytes`);
});
