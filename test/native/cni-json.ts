/**
 * The JSON scanner of the CNI plugin against the one of Node: the same documents are good, and a value stands where it
 * should. Built with AddressSanitizer, each document in memory of exactly its size.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import * as fc from 'fast-check';
import t, { type Test } from 'tap';

const directory = join(import.meta.dirname, '../../native/cni');
execFileSync('make', ['-s', '-C', directory, 'checked']);
const checker = join(directory, 'build/json-checked');

/** What the scanner says of each document, in order. */
function scan(documents: readonly Buffer[]): string[] {
  const input = documents.flatMap(document => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(document.length);
    return [length, document];
  });
  const { stdout, stderr, status } = spawnSync(checker, { input: Buffer.concat(input) });
  if (status !== 0) throw new Error(stderr.toString());
  const lines = stdout.toString().split('\n').slice(0, -1);
  if (lines.length !== documents.length)
    throw new Error(`${lines.length} answers to ${documents.length} documents`);
  return lines;
}

/** Node's word: the value of "a", `undefined` where an object has none, and null for what is no object. */
function expected(text: string): { readonly a: unknown } | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? { a: Object.hasOwn(value, 'a') ? (value as { a: unknown }).a : undefined }
      : null;
  } catch {
    return null;
  }
}

/** Compares one answer with Node's; the text of a value must mean the same, wherever it stands. */
function agrees(document: Buffer, answer: string): boolean {
  const text = document.toString();
  const wanted = expected(text);
  if (wanted === null) return answer === 'malformed';
  if (wanted.a === undefined) return answer === 'absent';
  const [from = 0, length = 0] = answer.split(' ').map(Number);
  const value = document.subarray(from, from + length).toString();
  if (JSON.stringify(JSON.parse(value)) !== JSON.stringify(wanted.a)) return false;
  const decoded = / text ([0-9a-f]*)/.exec(answer)?.[1];
  if (typeof wanted.a !== 'string') return decoded === undefined;
  const bytes = Buffer.from(wanted.a);
  const fits = bytes.length < 32 && !bytes.includes(0);
  return fits ? decoded === bytes.toString('hex') : decoded === undefined;
}

function compare(t: Test, documents: readonly string[]): void {
  const buffers = documents.map(document => Buffer.from(document));
  scan(buffers).forEach((answer, index) => {
    const buffer = buffers[index] ?? Buffer.alloc(0);
    if (!agrees(buffer, answer)) t.fail(`${JSON.stringify(buffer.toString())}: ${answer}`);
  });
  t.pass(`${documents.length} documents`);
}

t.test('cases', async t => {
  compare(t, [
    '',
    ' ',
    '{}',
    ' { } ',
    '{}x',
    '{',
    '}',
    '[]',
    'null',
    '"a"',
    '{"a":1}',
    '{"a" : 1 , "b":[1,2,{"a":3}]}',
    '{"a":1,"a":2}',
    '{"\\u0061":"by escape"}',
    '{"b":{"a":1}}',
    '{"a":"\\ud83d\\ude00 \\u00e9 \\n\\t\\/\\\\\\""}',
    '{"a":"with a zero \\u0000"}',
    '{"a":"longer than what there is room for in here"}',
    '{"a":"ends with an escape\\',
    '{"a":"\\u12"}',
    '{"a":"\\x"}',
    '{"a":"line\nbreak"}',
    '{"a":-0.5e+10}',
    '{"a":01}',
    '{"a":.5}',
    '{"a":1.}',
    '{"a":1e}',
    '{"a":-}',
    '{"a":+1}',
    '{"a":tru}',
    '{"a":truex}',
    '{"a":[1,]}',
    '{"a":[,1]}',
    '{"a":[1 2]}',
    '{"a":1,}',
    '{,"a":1}',
    '{"a"}',
    '{"a":}',
    '{a:1}',
    "{'a':1}",
    '{"a":[[[[]]]]}',
    '{"a":{"b":[}]}',
    '\ufeff{}',
  ]);
});

t.test('a lone surrogate becomes the character for what is none', async t => {
  t.match(scan([Buffer.from('{"a":"\\ud800!"}')]), [/ text efbfbd21$/]);
});

t.test('numbers are whole, and not more than they may be', async t => {
  const texts = ['0', '7', '1000000', '1000001', '-1', '1.0', '1e3', '99999999999999999999999'];
  const answers = scan(texts.map(text => Buffer.from(`{"a":${text}}`)));
  t.same(
    answers.map(answer => / number (.*)$/.exec(answer)?.[1]),
    ['0', '7', '1000000', ...Array.from({ length: 5 }, () => undefined)],
  );
});

t.test('depth has an end, which is none of the stack', async t => {
  const nested = (depth: number): Buffer => Buffer.from(`{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`);
  const [most, more, huge] = scan([
    nested(128),
    nested(129),
    Buffer.from(`{"a":${'[{"a":'.repeat(150_000)}`),
  ]);
  t.equal(most, '5 256');
  t.equal(more, 'malformed');
  t.equal(huge, 'malformed');
});

t.test('any document, and any that was damaged', async t => {
  const document = fc
    .dictionary(fc.oneof(fc.constant('a'), fc.string()), fc.jsonValue({ maxDepth: 6 }))
    .map(value => JSON.stringify(value));
  const damaged = fc.tuple(document, fc.nat(), fc.nat(3), fc.string({ maxLength: 3 })).map(
    // Cut, put in, or taken away.
    ([text, at, kind, other]) => {
      const place = at % (text.length + 1);
      if (kind === 0) return text.slice(0, place);
      if (kind === 1) return text.slice(0, place) + other + text.slice(place);
      return text.slice(0, place) + (kind === 2 ? other : '') + text.slice(place + 1);
    },
  );
  // Whole characters only: Node reads others as the character for what is none, where the scanner takes bytes.
  const documents = fc.sample(fc.oneof(document, damaged), 4_000).filter(text => text.isWellFormed());
  compare(t, documents);
});

t.test('any bytes', async t => {
  const bytes = fc
    .oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.array(fc.constantFrom(...Buffer.from('{}[]",:\\u0a1e-. \ntrue')), { maxLength: 40 }),
    )
    .map(value => Buffer.from(value));
  const documents = fc.sample(bytes, 10_000);
  scan(documents).forEach((answer, index) => {
    const document = documents[index] ?? Buffer.alloc(0);
    const good = document.toString().isWellFormed() && Buffer.from(document.toString()).equals(document);
    if (good && !agrees(document, answer)) t.fail(`${document.toString('hex')}: ${answer}`);
  });
  t.pass(`${documents.length} documents`);
});
