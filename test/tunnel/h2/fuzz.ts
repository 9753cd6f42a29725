/**
 * What nghttp2 says, bent: recorded conversations of node:http2 are mutated and given to both roles of ours. Whatever comes, nothing
 * throws, everything ends, and every stream's owner is told so exactly once and nothing after.
 */
import * as fc from 'fast-check';
import t from 'tap';
import type { H2Connection } from '../../../tunnel/h2/connection.ts';
import { Watch, client, recordClient, recordServer } from './conversations.ts';
import * as raw from './raw-frames.ts';
import { ManualClock, RawPeer, TestTransport, settle } from './raw-peer.ts';

type Mutation = (bytes: Buffer) => Buffer;

const at = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const place = (bytes: Buffer, part: number): number => Math.floor(part * bytes.length);
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(at, fc.integer({ min: 0, max: 255 })).map(([part, byte]): Mutation => bytes => {
    const changed = Buffer.from(bytes);
    if (changed.length > 0) changed[place(bytes, part)] = byte;
    return changed;
  }),
  fc.tuple(at, fc.uint8Array({ maxLength: 40 })).map(([part, noise]): Mutation => bytes => {
    const cut = place(bytes, part);
    return Buffer.concat([bytes.subarray(0, cut), noise, bytes.subarray(cut)]);
  }),
  fc.tuple(at, fc.integer({ min: 1, max: 60 })).map(([part, count]): Mutation => bytes => {
    const cut = place(bytes, part);
    return Buffer.concat([bytes.subarray(0, cut), bytes.subarray(cut + count)]);
  }),
  at.map(
    (part): Mutation =>
      bytes =>
        bytes.subarray(0, place(bytes, part)),
  ),
);
/** Whole frames dropped, doubled, moved, or with another type, flag, stream or length. */
const frameMutation: fc.Arbitrary<Mutation> = fc
  .tuple(
    at,
    at,
    fc.constantFrom('drop', 'double', 'move', 'type', 'flags', 'id', 'length'),
    fc.integer({ min: 0, max: 255 }),
  )
  .map(([from, to, how, byte]): Mutation => bytes => {
    const skip = bytes.subarray(0, 3).toString() === 'PRI' ? raw.clientPreface.length : 0;
    const { frames, rest } = raw.parseFrames(bytes.subarray(skip));
    const parts = frames.map(({ type, flags, id, payload }) => raw.frame(type, flags, id, payload));
    const picked = Math.floor(from * parts.length);
    const part = Buffer.from(parts[picked] ?? '');
    const target = Math.floor(to * parts.length);
    if (how === 'drop') parts.splice(picked, 1);
    else if (how === 'double') parts.splice(target, 0, part);
    else if (how === 'move') parts.splice(target, 0, ...parts.splice(picked, 1));
    else if (part.length > 0) {
      part[{ type: 3, flags: 4, id: 8, length: 2 }[how]] = how === 'type' ? byte % 11 : byte;
      parts[picked] = part;
    }
    return Buffer.concat([bytes.subarray(0, skip), ...parts, rest]);
  });
const mutations = fc.array(
  fc.oneof({ weight: 1, arbitrary: mutation }, { weight: 2, arbitrary: frameMutation }),
  { minLength: 1, maxLength: 6 },
);
const cuts = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 6 });

/** Gives mutated bytes to a connection, then ends it, and says what went wrong. */
async function endure(
  peer: TestTransport,
  clock: ManualClock,
  connection: H2Connection,
  bytes: Buffer,
  lengths: readonly number[],
): Promise<string[]> {
  let turn = 0;
  for (let from = 0; from < bytes.length; turn += 1) {
    const length = lengths[turn % lengths.length] ?? 1;
    peer.push(bytes.subarray(from, from + length));
    from += length;
  }
  await settle();
  clock.advance(100_000);
  const wrong: string[] = [];
  if (!connection.closed) wrong.push('a silent connection is not closed');
  if (connection.openStreams !== 0) wrong.push('streams are left');
  if (clock.pending !== 0 && peer.destroyed) wrong.push('timers are left');
  peer.destroy();
  await settle();
  return wrong;
}

t.test('a server of ours', async t => {
  const conversation = await recordClient();
  t.ok(conversation.length > 1000);
  await fc.assert(
    fc.asyncProperty(mutations, cuts, async (mutations, lengths) => {
      const watches: Watch[] = [];
      const peer = new RawPeer(
        'server',
        {},
        {
          onRequest: (stream, request) => {
            const watch = new Watch('server');
            watch.attach(stream);
            watches.push(watch);
            stream.handlers = watch;
            stream.respond(request.method === 'CONNECT' ? 200 : 400);
          },
        },
      );
      const bytes = mutations.reduce((bytes, mutate) => mutate(bytes), conversation);
      const wrong = await endure(peer.transport, peer.clock, peer.connection, bytes, lengths);
      for (const watch of watches)
        wrong.push(...watch.wrong, ...(watch.closed ? [] : ['a stream was not closed']));
      if (wrong.length > 0) throw new Error(wrong.join(', '));
    }),
    { numRuns: 1500 },
  );
});

t.test('a client of ours', async t => {
  const conversation = await recordServer();
  t.ok(conversation.length > 20_000);
  await fc.assert(
    fc.asyncProperty(mutations, cuts, async (mutations, lengths) => {
      const [transport, clock] = [new TestTransport(), new ManualClock()];
      const { connection, watches } = client(transport, clock);
      const bytes = mutations.reduce((bytes, mutate) => mutate(bytes), conversation);
      const wrong = await endure(transport, clock, connection, bytes, lengths);
      for (const watch of watches)
        wrong.push(...watch.wrong, ...(watch.closed ? [] : ['a stream was not closed']));
      if (wrong.length > 0) throw new Error(wrong.join(', '));
    }),
    { numRuns: 1500 },
  );
});
