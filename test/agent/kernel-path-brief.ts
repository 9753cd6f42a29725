/** Passages that are over when they are heard of: which ones are added to others' books, and with what. */
import t from 'tap';
import { BriefPassages } from '../../agent/kernel-path-brief.ts';
import { pathSizes } from '../../agent/kernel-path-abi.ts';
import type { Connection } from '../../agent/connections.ts';
import type { ConnectionKind } from '../../agent/observe.ts';
import { encodeAddress } from '../../agent/redirect-abi.ts';

const ms = 1_000_000n;
/** Established, and closed. */
const endedWell = 1 | 4;

interface Over {
  readonly source?: string;
  readonly target?: string;
  readonly sourcePort?: number;
  readonly targetPort?: number;
  readonly targetNetns?: bigint;
  readonly sourceNetns?: bigint;
  readonly slot?: number;
  readonly serial?: number;
  readonly sent?: bigint;
  readonly received?: bigint;
  readonly error?: number;
  readonly state?: number;
  /** Bytes behind all of that: what a later version has there. */
  readonly tail?: number;
}

let made = 0n;

/** The end of a passage, as the kernel tells it. */
function ended(over: Over = {}): Buffer {
  made += 2n;
  const event = Buffer.alloc(pathSizes.pathEvent);
  event.writeBigUInt64LE(made, 0);
  event.writeBigUInt64LE((5_000n + made) * ms, 8);
  event.writeUInt32LE(2, 16);
  const passage = event.subarray(24);
  passage.writeBigUInt64LE(over.targetNetns ?? 9n, 0);
  encodeAddress(over.source ?? '10.0.0.1').copy(passage, 8);
  encodeAddress(over.target ?? '10.0.0.2').copy(passage, 24);
  passage.writeUInt16BE(over.sourcePort ?? 40_000, 40);
  passage.writeUInt16BE(over.targetPort ?? 80, 42);
  passage.writeBigUInt64LE(over.sourceNetns ?? 7n, 48);
  passage.writeBigUInt64LE(5_000n * ms, 56);
  passage.writeUInt32LE(over.slot ?? 3, 64);
  passage.writeUInt32LE(over.serial ?? 1, 68);
  for (const end of [72, 112]) {
    // Address and cookie of the socket.
    passage.writeBigUInt64LE(made * 0x1234_5678_9abcn, end);
    passage.writeBigUInt64LE(made, end + 8);
    passage.writeUInt32LE(over.state ?? endedWell, end + 32);
  }
  passage.writeBigUInt64LE(over.sent ?? 0n, 72 + 16);
  passage.writeBigUInt64LE(over.received ?? 0n, 112 + 24);
  passage.writeUInt32LE(over.error ?? 0, 112 + 36);
  passage.writeUInt32LE(3, 152);
  passage[passage.length - 1] = over.tail ?? 0;
  return event;
}

type Line = [source: string, up: number, down: number, durationMs: number];

/** Books that write down what is added, for the kind of the first of these passages. */
function booksOf(events: readonly Buffer[]): { brief: BriefPassages; lines: Line[] } {
  const lines: Line[] = [];
  const brief = new BriefPassages(Buffer.concat(events));
  const books: Pick<ConnectionKind, 'add'> = { add: (...line) => void lines.push(line) };
  const connection = { source: { address: '10.0.0.1' } } as Connection;
  brief.learn(0, connection, books as ConnectionKind);
  return { brief, lines };
}

t.test('the next of a kind differs in port, bytes and time', async t => {
  const many = 5_000_000_000n;
  const events = [
    ended(),
    ended({ sourcePort: 40_001 }),
    ended({ sourcePort: 258, sent: many, received: 1n }),
  ];
  const { brief, lines } = booksOf(events);
  t.equal(brief.add(1), true);
  t.equal(brief.add(2), true);
  t.same(
    lines.map(([source, up, down]) => [source, up, down]),
    [
      ['10.0.0.1:40001', 0, 0],
      ['10.0.0.1:258', 5_000_000_001, 0],
    ],
  );
  const lasted = lines.map(([, , , durationMs]) => durationMs);
  t.equal((lasted[1] ?? 0) - (lasted[0] ?? 0), 2);
});

t.test('another one is none of its kind', async t => {
  const others: Over[] = [
    { source: '10.0.0.3' },
    { target: '10.0.0.3' },
    { targetPort: 81 },
    { targetNetns: 8n },
    { sourceNetns: 8n },
    { slot: 4 },
    { serial: 2 },
    { error: 104 },
    { state: 1 },
    { state: 0 },
    { tail: 1 },
  ];
  for (const over of others) {
    const { brief, lines } = booksOf([ended(), ended(over)]);
    t.equal(
      brief.add(1),
      false,
      JSON.stringify(over, (_, value) => (typeof value === 'bigint' ? Number(value) : value)),
    );
    t.same(lines, []);
  }
});

t.test('several kinds of one verdict', async t => {
  const events = [ended(), ended({ tail: 1 }), ended({ tail: 1, sourcePort: 5 })];
  const { brief, lines } = booksOf(events);
  t.equal(brief.add(2), false);
  const others: Line[] = [];
  const books: Pick<ConnectionKind, 'add'> = { add: (...line) => void others.push(line) };
  brief.learn(1, { source: { address: '10.0.0.1' } } as Connection, books as ConnectionKind);
  t.equal(brief.add(2), true);
  t.equal(others.length, 1);
  t.same(lines, []);
});
