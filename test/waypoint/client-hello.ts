/** The first message of a TLS client, whole and in pieces, good and bad. */
import t from 'tap';
import { beginsHello, readClientHello } from '../../waypoint/client-hello.ts';
import { extension, helloFor, message, nameOf, realHello, records, vector } from './hello-help.ts';

/** The name it asks for, '' for none; or why it is refused. */
function read(bytes: Buffer): string {
  const result = readClientHello(bytes);
  if (result.kind === 'hello') return result.hello.name ?? '';
  return result.kind === 'more' ? `more than ${bytes.length}` : result.why;
}

const name = 'web.example.org';

t.test('what a real client says', async t => {
  t.equal(read(await realHello({ servername: name })), name);
  t.equal(read(await realHello({})), '', 'no name');
  t.equal(read(await realHello({ servername: name, maxVersion: 'TLSv1.2' })), name);
  t.equal(read(await realHello({ servername: name, ALPNProtocols: ['h2', 'http/1.1'] })), name);
  t.equal(read(await realHello({ servername: 'WEB.Example.org' })), name);
});

t.test('in pieces of every size, and never read before it is whole', async t => {
  const whole = await realHello({ servername: name });
  for (let length = 0; length < whole.length; length += 1) {
    const part = whole.subarray(0, length);
    t.ok(beginsHello(part));
    const result = readClientHello(part);
    if (result.kind !== 'more' || result.wanted <= length || result.wanted > whole.length)
      t.fail(`${length} bytes: ${JSON.stringify(result)}`);
  }
  const body = message([nameOf(name)]);
  for (const size of [2, 3, 5, 40, 100]) t.equal(read(records(body, size)), name, `records of ${size}`);
  t.match(read(records(body, 1)), /too many records/);
});

t.test('extensions that nobody knows', async t => {
  const grease = extension(0x3a3a, Buffer.alloc(0));
  const other = extension(0xfafa, Buffer.from([0]));
  t.equal(read(records(message([grease, nameOf(name), other]))), name);
  const ech = extension(0xfe0d, Buffer.alloc(200, 9));
  const result = readClientHello(records(message([ech, nameOf('public.example')])));
  t.match(result, { kind: 'hello', hello: { name: 'public.example', isEncrypted: true } });
  t.match(readClientHello(helloFor(name)), { hello: { isEncrypted: false } });
  const bare = message([]);
  const without = Buffer.concat([Buffer.from([1]), vector(3, bare.subarray(4, -2))]);
  t.equal(read(records(without)), '', 'none at all, as TLS 1.0 has it');
});

t.test('what could be read in two ways is refused', async t => {
  const good = message([nameOf(name)]);
  const list = (...bytes: number[]): Buffer => extension(0, Buffer.from(bytes));
  const cases: readonly [string, Buffer, RegExp][] = [
    ['two extensions with names', records(message([nameOf(name), nameOf('other')])), /twice/],
    ['two names in one', records(message([list(0, 8, 0, 0, 1, 97, 0, 0, 1, 98)])), /not one name/],
    ['an empty list', records(message([list(0, 0)])), /too short/],
    ['an empty name', records(message([list(0, 3, 0, 0, 0)])), /too short/],
    ['another type of name', records(message([nameOf(name, 1)])), /not one name/],
    ['bytes behind the list', records(message([list(0, 4, 0, 0, 1, 97, 0)])), /not one name/],
    ['a name beyond its list', records(message([list(0, 4, 0, 0, 9, 97)])), /beyond/],
    ['a dot at the end', helloFor('web.'), /no name of a host/],
    ['a NUL', helloFor('web\0.evil'), /no name of a host/],
    ['a wildcard', helloFor('*.example.org'), /no name of a host/],
    ['a name that is too long', helloFor('a'.repeat(254)), /no name of a host/],
    [
      'bytes behind the extensions',
      records(message([nameOf(name)], Buffer.from([0]))),
      /behind its extensions/,
    ],
    [
      'bytes behind it in the record',
      records(Buffer.concat([good, Buffer.from([0])])),
      /behind it in its record/,
    ],
    [
      'a record between',
      Buffer.concat([records(good.subarray(0, 9)), Buffer.from([21, 3, 1, 0, 2, 1, 0])]),
      /another record/,
    ],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0, 1]), /record of 0 bytes/],
    ['a record that is too long', Buffer.from([22, 3, 1, 0x40, 1, 1]), /record of 16385 bytes/],
    ['another message', records(Buffer.concat([Buffer.from([2]), good.subarray(1)])), /does not begin/],
    ['a message that is too long', records(Buffer.from([1, 0, 0x40, 0])), /ClientHello of 16388 bytes/],
    [
      'SSL 3.0',
      records(Buffer.concat([good.subarray(0, 4), Buffer.from([3, 0]), good.subarray(6)])),
      /version/,
    ],
  ];
  for (const [what, bytes, why] of cases) t.match(read(bytes), why, what);
});

t.test('every byte changed, every byte left out: read, refused or waited for, and nothing else', async t => {
  const good = helloFor(name);
  for (let at = 0; at < good.length; at += 1) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const bytes = Buffer.from(good);
      bytes[at] = value;
      t.ok(['more', 'hello', 'bad'].includes(readClientHello(bytes).kind));
    }
    const less = Buffer.concat([good.subarray(0, at), good.subarray(at + 1)]);
    t.not(readClientHello(less).kind, 'hello', `without byte ${at}`);
  }
});
