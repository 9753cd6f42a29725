/** Two of ours against each other: whatever the windows, the cutting of bytes and the moods of readers, all arrives. */
import { Duplex } from 'node:stream';
import * as fc from 'fast-check';
import t from 'tap';
import { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2Settings } from '../../../tunnel/h2/settings.ts';
import type { H2Stream, H2StreamHandlers } from '../../../tunnel/h2/stream.ts';

/** One end of a wire that cuts what it carries into pieces of the given lengths. */
class End extends Duplex {
  other: End | null = null;
  readonly #lengths: readonly number[];
  #turn = 0;

  constructor(lengths: readonly number[]) {
    super({ highWaterMark: 30_000 });
    this.#lengths = lengths;
  }
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const bytes = Buffer.from(chunk);
    setImmediate(() => {
      for (let at = 0; at < bytes.length; this.#turn += 1) {
        const length = this.#lengths[this.#turn % this.#lengths.length] ?? 1;
        this.other?.push(bytes.subarray(at, at + length));
        at += length;
      }
      done();
    });
  }
  override _final(done: () => void): void {
    this.other?.push(null);
    done();
  }
}

interface Script {
  /** What this side of a stream sends, chunk by chunk. */
  readonly chunks: readonly number[];
  /** Pauses before every n-th delivery, for a turn; 0 never. */
  readonly pauseEvery: number;
}

/** Plays one side of one stream and says what it received when the stream is over. */
class Player implements H2StreamHandlers {
  readonly #script: Script;
  readonly #fill: number;
  #stream: H2Stream | null = null;
  #next = 0;
  #deliveries = 0;
  readonly received: Buffer[] = [];
  readonly over: Promise<string>;
  #resolve: (how: string) => void;
  #how = '';

  constructor(script: Script, fill: number) {
    this.#script = script;
    this.#fill = fill;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.over = promise;
    this.#resolve = resolve;
  }
  static content(script: Script, fill: number): Buffer {
    return Buffer.concat(script.chunks.map((length, at) => Buffer.alloc(length, fill + at)));
  }
  play(stream: H2Stream): void {
    this.#stream = stream;
    this.onDrain();
  }
  onData(chunk: Buffer): void {
    this.received.push(chunk);
    this.#deliveries += 1;
    const { pauseEvery } = this.#script;
    if (pauseEvery === 0 || this.#deliveries % pauseEvery !== 0) return;
    this.#stream?.pause();
    setImmediate(() => this.#stream?.resume());
  }
  onDrain(): void {
    const { chunks } = this.#script;
    while (this.#next < chunks.length) {
      const length = chunks[this.#next] ?? 0;
      this.#next += 1;
      if (this.#stream?.write(Buffer.alloc(length, this.#fill + this.#next - 1)) === false) return;
    }
    this.#stream?.end();
  }
  onEnd(): void {
    this.#how += 'end ';
  }
  onReset(code: number): void {
    this.#how += `reset ${code} `;
  }
  onClose(): void {
    this.#resolve(`${this.#how}close`);
  }
}

const script = fc.record({
  chunks: fc.array(fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 70_000 })), {
    maxLength: 8,
  }),
  pauseEvery: fc.integer({ min: 0, max: 4 }),
});
const settings = fc.record({
  streamWindowBytes: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 1, max: 200_000 })),
  maxStreamWindowBytes: fc.integer({ min: 1, max: 300_000 }),
  connectionWindowBytes: fc.integer({ min: 65_535, max: 400_000 }),
  maxFrameBytes: fc.integer({ min: 16_384, max: 100_000 }),
});
const limits = { tinyWindowUpdates: { burst: 1_000_000, perSecond: 0 } };

function pair(
  clientSettings: Partial<H2Settings>,
  serverSettings: Partial<H2Settings>,
  cuts: readonly number[],
  scripts: readonly Script[],
): { client: H2Connection; server: H2Connection; players: Player[] } {
  const [left, right] = [new End(cuts), new End(cuts.toReversed())];
  left.other = right;
  right.other = left;
  const players: Player[] = [];
  const onClose = (): void => {};
  const server = new H2Connection({
    transport: right,
    role: 'server',
    settings: serverSettings,
    limits,
    handlers: {
      onClose,
      onRequest: (stream, { authority }) => {
        const at = Number(authority.slice(2));
        const player = new Player(scripts[at] ?? { chunks: [], pauseEvery: 0 }, 7 * at);
        players[at] = player;
        stream.handlers = player;
        stream.respond(200);
        player.play(stream);
      },
    },
  });
  const client = new H2Connection({
    transport: left,
    role: 'client',
    settings: clientSettings,
    limits,
    handlers: { onClose },
  });
  return { client, server, players };
}

t.test('all that is sent arrives, in order, with its ends', async () => {
  await fc.assert(
    fc.asyncProperty(
      settings,
      settings,
      fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1000, max: 40_000 })), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.array(fc.tuple(script, script), { minLength: 1, maxLength: 6 }),
      async (clientSettings, serverSettings, cuts, scripts) => {
        const down = scripts.map(([, script]) => script);
        const { client, server, players } = pair(clientSettings, serverSettings, [...cuts, 5000], down);
        const up = scripts.map(([script], at) => {
          const player = new Player(script, 100 + at);
          player.play(client.connect(`a:${at}`, [['x', 'y'.repeat(at * 50)]], player));
          return player;
        });
        for (const [at, player] of up.entries()) {
          const how = await player.over;
          const other = players[at];
          const expected = Player.content(down[at] ?? { chunks: [], pauseEvery: 0 }, 7 * at);
          if (how !== 'end close' || (await other?.over) !== 'end close') return false;
          if (!Buffer.concat(player.received).equals(expected)) return false;
          const sent = Player.content(scripts[at]?.[0] ?? { chunks: [], pauseEvery: 0 }, 100 + at);
          if (!Buffer.concat(other?.received ?? []).equals(sent)) return false;
        }
        const left = client.openStreams + server.openStreams;
        const bytes =
          client.payloadSent === server.payloadReceived && server.payloadSent === client.payloadReceived;
        client.destroy();
        return left === 0 && bytes;
      },
    ),
    { numRuns: 80, endOnFailure: true },
  );
});

t.test('a server drains while streams run, and both sides close clean', async t => {
  const scripts = Array.from({ length: 5 }, () => ({ chunks: [50_000, 1, 50_000], pauseEvery: 2 }));
  const { client, server, players } = pair({}, {}, [1000], scripts);
  const up = scripts.map((script, at) => {
    const player = new Player(script, at);
    player.play(client.connect(`a:${at}`, [], player));
    return player;
  });
  while (players.length < 5) await new Promise(resolve => setImmediate(resolve));
  server.goaway();
  t.strictSame(
    await Promise.all(up.map(player => player.over)),
    Array.from({ length: 5 }, () => 'end close'),
  );
  while (!client.closed || !server.closed) await new Promise(resolve => setImmediate(resolve));
  t.equal(client.draining, true);
});
