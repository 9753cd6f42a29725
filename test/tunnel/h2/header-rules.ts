/** Which requests and responses are well-formed (RFC 9113 §8.2, §8.3, §8.5), and that an answer may be remembered. */
import t from 'tap';
import { requestReader, responseReader } from '../../../tunnel/h2/header-reader.ts';
import { readRequest, readResponse } from '../../../tunnel/h2/header-rules.ts';
import type { HeaderField } from '../../../tunnel/h2/header-table.ts';
import { defaultLimits } from '../../../tunnel/h2/limits.ts';

const connect: HeaderField[] = [
  [':method', 'CONNECT'],
  [':authority', '10.0.0.1:80'],
];

t.test('a CONNECT says what it wants and what else came', async t => {
  const request = readRequest([...connect, ['baggage', 'a=b'], ['baggage', 'c=d'], ['te', 'trailers']]);
  t.equal(request?.method, 'CONNECT');
  t.equal(request?.authority, '10.0.0.1:80');
  t.equal(request?.header('baggage'), 'a=b', 'the first of several');
  t.equal(request?.header('forwarded'), null);
  t.strictSame(request?.headers.length, 3);
});

t.test('other methods are handed up when they are well-formed', async t => {
  const get: HeaderField[] = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/'],
    [':authority', 'a'],
  ];
  t.equal(readRequest(get)?.method, 'GET');
  t.equal(
    readRequest([...get.slice(0, 3), ['host', 'b']])?.authority,
    'b',
    'host stands in for a missing :authority',
  );
  t.equal(
    readRequest([
      [':method', 'GET'],
      [':scheme', 'https'],
    ]),
    null,
    'no :path',
  );
  t.equal(
    readRequest([
      [':method', 'GET'],
      [':path', '/'],
    ]),
    null,
    'no :scheme',
  );
  t.equal(
    readRequest([
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', ''],
    ]),
    null,
    'empty :path',
  );
});

t.test('malformed requests', async t => {
  const cases: Record<string, HeaderField[]> = {
    'nothing at all': [],
    'no :method': [[':authority', 'a:1']],
    'CONNECT without :authority': [[':method', 'CONNECT']],
    'CONNECT with an empty :authority': [
      [':method', 'CONNECT'],
      [':authority', ''],
    ],
    'CONNECT with :scheme': [...connect, [':scheme', 'https']],
    'CONNECT with :path': [...connect, [':path', '/']],
    'extended CONNECT': [...connect, [':scheme', 'https'], [':path', '/'], [':protocol', 'websocket']],
    'a pseudo field twice': [...connect, [':authority', '10.0.0.2:80']],
    'a response field': [...connect, [':status', '200']],
    'a pseudo field behind a regular one': [
      [':method', 'CONNECT'],
      ['a', 'b'],
      [':authority', 'a:1'],
    ],
    'an upper-case name': [...connect, ['Baggage', 'a']],
    'a name with a space': [...connect, ['a b', 'c']],
    'an empty name': [...connect, ['', 'c']],
    'a line break in a value': [...connect, ['a', 'b\r\nc']],
    'a NUL in a value': [...connect, ['a', '\0']],
    'a value that begins with a space': [...connect, ['a', ' b']],
    'a value that ends with a tab': [...connect, ['a', 'b\t']],
    connection: [...connect, ['connection', 'close']],
    'transfer-encoding': [...connect, ['transfer-encoding', 'chunked']],
    upgrade: [...connect, ['upgrade', 'websocket']],
    'keep-alive': [...connect, ['keep-alive', 'x']],
    'te other than trailers': [...connect, ['te', 'gzip']],
    'a host that says otherwise': [...connect, ['host', '10.0.0.2:80']],
    'a user part': [
      [':method', 'CONNECT'],
      [':authority', 'user@10.0.0.1:80'],
    ],
    'a space in :authority': [
      [':method', 'CONNECT'],
      [':authority', '10.0.0.1:80 '],
    ],
    'a line break in :method': [
      [':method', 'CONNECT\n'],
      [':authority', 'a:1'],
    ],
  };
  for (const [what, fields] of Object.entries(cases)) t.equal(readRequest(fields), null, what);
  t.not(readRequest([...connect, ['host', '10.0.0.1:80']]), null, 'a host that agrees');
});

t.test('responses', async t => {
  t.strictSame(
    readResponse([
      [':status', '200'],
      ['baggage', 'x'],
    ]),
    { status: 200, headers: [['baggage', 'x']] },
  );
  for (const status of ['', '20', '2000', '099', '200 ', 'abc', '101']) {
    t.equal(readResponse([[':status', status]]), null, JSON.stringify(status));
  }
  t.equal(
    readResponse([
      [':status', '200'],
      [':status', '200'],
    ]),
    null,
    'twice',
  );
  t.equal(readResponse([['a', 'b']]), null, 'none');
  t.equal(
    readResponse([
      [':status', '200'],
      ['connection', 'close'],
    ]),
    null,
  );
});

t.test('the same bytes give the same answer only while the dynamic table stands', async t => {
  const responses = responseReader(defaultLimits('client'));
  const read = (hex: string): ReturnType<typeof responses.read> => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    return responses.read(bytes, 0, bytes.length);
  };
  t.equal(read('88'), read('88'), 'remembered');
  t.strictSame(read('88 40 01 61 01 62')?.headers, [['a', 'b']], 'a: b enters the table as 62');
  t.strictSame(read('88 be')?.headers, [['a', 'b']]);
  t.strictSame(read('88 be')?.headers, [['a', 'b']]);
  t.strictSame(read('88 40 01 63 01 64')?.headers, [['c', 'd']], 'c: d takes its place');
  t.strictSame(read('88 be')?.headers, [['c', 'd']]);
  t.strictSame(
    read('88 40 01 63 01 64')?.headers,
    [['c', 'd']],
    'again the same bytes, and again they enter the table',
  );
  t.strictSame(read('88 c0')?.headers, [['a', 'b']], 'so the oldest is third now');
});

t.test('a remembered block does not swallow a change of the table size', async t => {
  const requests = requestReader(defaultLimits('server'));
  const block = Buffer.from('20020743 4f4e4e45 43540103613a31'.replaceAll(' ', ''), 'hex');
  const first = requests.read(block, 0, block.length);
  t.equal(first?.authority, 'a:1');
  // Too long to be remembered itself.
  const grow = Buffer.concat([
    Buffer.from('3fe11f0207434f4e4e4543540103613a310001627f810f', 'hex'),
    Buffer.alloc(2048, 'x'),
  ]);
  requests.read(grow, 0, grow.length);
  requests.read(block, 0, block.length);
  const add = Buffer.from('0207434f4e4e454354 0103613a31 4001610162'.replaceAll(' ', ''), 'hex');
  requests.read(add, 0, add.length);
  const refer = Buffer.from('0207434f4e4e454354 0103613a31 be'.replaceAll(' ', ''), 'hex');
  t.throws(
    () => requests.read(refer, 0, refer.length),
    { code: 'H2_COMPRESSION' },
    'the table is empty, as the block said',
  );
});
