import * as fc from 'fast-check';
import t from 'tap';
import {
  isQuery,
  isReplyTo,
  maxTcpSize,
  readQuery,
  readQuestion,
  typeA,
  typeAaaa,
  udpLimit,
} from '../../../agent/dns/codec.ts';
import { writeAnswer, writeFailure, type Answer } from '../../../agent/dns/reply.ts';
import { header, query, read, reply } from './packets.ts';

const answer: Answer = { rcode: 0, alias: null, addresses: [], zone: 'cluster.local', ttlSeconds: 30 };
const bytes = fc.uint8Array({ maxLength: 600 }).map(array => Buffer.from(array));
const label = fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/);
const hostName = fc.array(label, { minLength: 1, maxLength: 6 }).map(labels => labels.join('.'));

/** Understood, or the test fails. */
function parsed(packet: Buffer): NonNullable<ReturnType<typeof readQuery>> {
  const result = readQuery(packet);
  if (result === null) throw new Error('not understood');
  return result;
}

t.test('no bytes make the reader throw', async t => {
  fc.assert(
    fc.property(bytes, fc.boolean(), (packet, likely) => {
      // Random bytes are hardly ever queries: give half of them a plausible header.
      if (likely && packet.length >= 12) header(7, 0x0100, [1, 0, 0, 1]).copy(packet);
      const understood = readQuery(packet);
      if (packet.length < 12) return understood === null && !isQuery(packet);
      const question = readQuestion(packet);
      isReplyTo(packet, question);
      read(writeFailure(packet, 2));
      return understood === null || understood.end <= packet.length;
    }),
    { numRuns: 5_000 },
  );
  t.pass('and none did');
});

t.test('a query that lost its end is not understood', async t => {
  fc.assert(
    fc.property(hostName, fc.boolean(), fc.nat(), (name, edns, cut) => {
      const whole = query(name, edns ? { udpSize: 1232 } : {});
      return readQuery(whole) !== null && readQuery(whole.subarray(0, cut % whole.length)) === null;
    }),
  );
  t.pass('wherever it was cut');
});

t.test('what is written is read the same, with the case of the question', async t => {
  fc.assert(
    fc.property(
      hostName,
      fc.constantFrom(typeA, typeAaaa),
      fc.nat(0xffff),
      fc.array(fc.ipV4(), { maxLength: 20 }),
      fc.option(fc.nat(0xffff), { nil: undefined }),
      fc.option(fc.constantFrom('web.shop.svc.cluster.local'), { nil: null }),
      (name, type, id, ips, udpSize, alias) => {
        const packet = query(name, { id, type, ...(udpSize !== undefined && { udpSize }) });
        const addresses = ips.map(ip =>
          type === typeA
            ? Buffer.from(ip.split('.').map(Number))
            : Buffer.from(`fd00:${ip}`.padEnd(16, '.').slice(0, 16)),
        );
        const values = addresses.map(address =>
          type === typeA
            ? address.readUInt32BE(0)
            : Array.from({ length: 8 }, (_, group) => address.readUInt16BE(2 * group)),
        );
        const message = read(
          writeAnswer(packet, parsed(packet), { ...answer, alias, addresses: values }, maxTcpSize),
        );
        const given = message.answers.filter(record => record.type === type);
        return (
          message.id === id &&
          message.questions[0]?.name === name &&
          given.every(record => record.name === (alias ?? name) && record.ttl === 30) &&
          given.map(record => record.data).join() ===
            addresses.map(address => address.toString('hex')).join() &&
          (alias === null) === (message.answers[0]?.type !== 5) &&
          message.authority.length === (addresses.length === 0 ? 1 : 0) &&
          message.additional.length === (udpSize === undefined ? 0 : 1)
        );
      },
    ),
  );
  t.pass('in every combination');
});

t.test('only one plain question is understood', async t => {
  const name = 'web.shop.svc.cluster.local';
  t.match(parsed(query('Web.SHOP.svc.cluster.local')), { id: 0x1234, name, type: 1, edns: null });
  t.match(parsed(query(name, { udpSize: 4096, dnssecOk: true })), {
    edns: { udpSize: 4096, dnssecOk: true },
  });
  const opaque: Record<string, Buffer> = {
    'a reply': query(name, { flags: 0x8180 }),
    'another opcode': query(name, { flags: 0x2800 }),
    'another class': query(name, { class: 3 }),
    'a truncated query': query(name, { flags: 0x0300 }),
    'two questions': Buffer.concat([
      header(1, 0x0100, [2, 0, 0, 0]),
      query(name).subarray(12),
      query(name).subarray(12),
    ]),
    'no question': header(1, 0x0100, [0, 0, 0, 0]),
    'bytes behind the end': Buffer.concat([query(name), Buffer.of(0)]),
    'a compressed name': Buffer.concat([header(1, 0x0100, [1, 0, 0, 0]), Buffer.of(0xc0, 12, 0, 1, 0, 1)]),
    'a label with a dot': Buffer.concat([
      header(1, 0x0100, [1, 0, 0, 0]),
      Buffer.from('\u0003a.b\u0000\u0000\u0001\u0000\u0001', 'latin1'),
    ]),
    'TSIG where OPT would be': Buffer.concat([
      header(1, 0x0100, [1, 0, 0, 1]),
      query(name).subarray(12),
      Buffer.of(0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0),
    ]),
    'a later EDNS': Buffer.concat([
      header(1, 0x0100, [1, 0, 0, 1]),
      query(name).subarray(12),
      Buffer.of(0, 0, 41, 4, 0, 0, 1, 0, 0, 0, 0),
    ]),
  };
  for (const [what, packet] of Object.entries(opaque)) t.equal(readQuery(packet), null, what);
});

t.test('an answer fits the client, and says what it left out', async t => {
  const addresses = Array.from({ length: 200 }, (_, at) => 0x0a00_0000 + at);
  const limits: [Buffer, number][] = [
    [query('web.shop'), 512],
    [query('web.shop', { udpSize: 100 }), 512],
    [query('web.shop', { udpSize: 1232 }), 1232],
    [query('web.shop', { udpSize: 65_535 }), 4096],
  ];
  for (const [packet, limit] of limits) {
    t.equal(udpLimit(parsed(packet)), limit);
    const bytes = writeAnswer(packet, parsed(packet), { ...answer, addresses }, limit);
    const message = read(bytes);
    t.ok(bytes.length <= limit, `${bytes.length} bytes of ${limit}`);
    t.equal((message.flags & 0x0200) !== 0, message.answers.length < 200, 'TC tells');
    t.ok(bytes.length > limit - 16 || message.answers.length === 200, 'no room was wasted');
  }
});

t.test('flags of an answer', async t => {
  const packet = query('web', { flags: 0x0110, udpSize: 1232, dnssecOk: true });
  const message = read(writeAnswer(packet, parsed(packet), answer, 1232));
  t.equal(
    message.flags,
    0x8000 | 0x0400 | 0x0100 | 0x0080 | 0x0010,
    'reply, authoritative, RD and CD as asked, RA',
  );
  t.match(
    message.additional,
    [{ type: 41, class: 4096, ttl: 0x8000, data: '' }],
    'OPT with DO, our size, no options',
  );
  t.match(message.authority, [{ name: 'cluster.local', type: 6, ttl: 30 }]);
});

t.test('a reply belongs to its question only', async t => {
  const asked = query('Example.ORG', { id: 77 });
  const question = readQuestion(asked);
  t.ok(isReplyTo(reply(asked, { address: [1, 2, 3, 4] }), question));
  t.ok(isReplyTo(reply(query('example.org', { id: 77 })), question), 'a server may change letter case');
  t.ok(isReplyTo(header(77, 0x8185, [0, 0, 0, 0]), question), 'an error may come without the question');
  t.notOk(isReplyTo(header(77, 0x8180, [0, 0, 0, 0]), question), 'success may not');
  t.notOk(isReplyTo(reply(query('example.org', { id: 78 })), question), 'another id');
  t.notOk(isReplyTo(reply(query('example.net', { id: 77 })), question), 'another name');
  t.notOk(isReplyTo(reply(query('example.org', { id: 77, type: 28 })), question), 'another type');
  t.notOk(isReplyTo(asked, question), 'a query');
  t.notOk(isReplyTo(reply(query('example.org', { id: 77, flags: 0x2900 })), question), 'another opcode');
});

t.test('a failure repeats what can be repeated', async t => {
  const packet = query('Example.ORG', { id: 5, type: 15, udpSize: 1232 });
  const message = read(writeFailure(packet, 2));
  t.match(message, {
    id: 5,
    rcode: 2,
    questions: [{ name: 'Example.ORG', type: 15 }],
    answers: [],
    additional: [],
  });
  t.match(read(writeFailure(header(9, 0x2800, [3, 1, 1, 1]), 2)), { id: 9, rcode: 2, questions: [] });
});
