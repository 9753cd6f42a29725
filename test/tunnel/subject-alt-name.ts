import { deepStrictEqual } from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import * as fc from 'fast-check';
import t from 'tap';
import { parseSubjectAltName, peerIdentity } from '../../tunnel/subject-alt-name.ts';
import { makeOddCertificate, makeRoot } from './pki.ts';
import type { Name } from './pki.ts';

const identity = 'spiffe://cluster.local/ns/shop/sa/cart';
const root = makeRoot();
const text = (...names: Name[]): string | undefined =>
  new X509Certificate(makeOddCertificate(root, { names }).certificatePem).subjectAltName;
const uri = 6;
const dns = 2;

t.test('the one URI is the identity, whatever else is there', async t => {
  for (const names of [
    [[uri, identity]],
    [
      [dns, 'example.com'],
      [uri, identity],
      [1, 'a@example.com'],
      [7, '\x01\x02\x03\x04'],
    ],
  ] satisfies Name[][]) {
    t.strictSame(peerIdentity(text(...names)), { identity, trustDomain: 'cluster.local', problem: null });
  }
});

t.test('no identity', async t => {
  const cases: [Name[], RegExp][] = [
    [[], /no subject alternative name/],
    [[[dns, identity]], /no URI/],
    [[[1, `x, URI:${identity}`]], /no URI/],
    [[[dns, `x, URI:${identity}`]], /no URI/],
    [[[dns, `x", URI:${identity}`]], /no URI/],
    [
      [
        [uri, identity],
        [uri, identity],
      ],
      /2 URIs/,
    ],
    [
      [
        [uri, 'https://example.com'],
        [uri, identity],
      ],
      /2 URIs/,
    ],
    [
      [
        [uri, identity],
        [uri, ''],
      ],
      /2 URIs/,
    ],
    [[[uri, `${identity}, URI:${identity}`]], /is not spiffe/],
    [[[uri, `${identity}\0`]], /is not spiffe/],
    [[[uri, `${identity}\0.evil`]], /is not spiffe/],
    [[[uri, `"${identity}"`]], /is not spiffe/],
    [[[uri, `${identity}\n`]], /is not spiffe/],
    [[[uri, `${identity}/more`]], /is not spiffe/],
    [[[uri, identity.replace('shop', 'sh,op')]], /is not spiffe/],
    [[[uri, identity.toUpperCase()]], /is not spiffe/],
    [[[uri, '']], /is not spiffe/],
  ];
  for (const [names, problem] of cases) {
    const found = peerIdentity(text(...names));
    t.equal(found.identity, null, JSON.stringify(names));
    t.match(found.problem, problem);
    t.match(found.problem, /^[ -~]*$/, 'fit for a log line');
  }
});

t.test('text that Node would not write is no identity', async t => {
  for (const odd of [
    `URI:${identity}, `,
    `URI:${identity},URI:x`,
    `URI:"${identity}`,
    `URI:"${identity}"x`,
    `URI:${identity}"`,
    `:${identity}`,
    `, URI:${identity}`,
    `URI:"\\q"`,
    `URI:"\n"`,
  ]) {
    t.equal(parseSubjectAltName(odd), null, JSON.stringify(odd));
    t.equal(peerIdentity(odd).identity, null);
  }
});

t.test('names come out of a certificate as they went in', async t => {
  const byteText = fc.string({ unit: fc.nat(255).map(code => String.fromCharCode(code)), maxLength: 30 });
  const hostile = fc.constantFrom(', ', '"', '\\', 'URI:', `URI:${identity}`, '\0', "'", '\\u002c', identity);
  const value = fc.array(fc.oneof(byteText, hostile), { maxLength: 4 }).map(parts => parts.join(''));
  const names = fc.array(fc.tuple(fc.constantFrom(1, 6), value), { minLength: 1, maxLength: 4 });
  const kinds: Record<number, string> = { 1: 'email', 6: 'URI' };
  fc.assert(
    fc.property(names, given => {
      const parsed = parseSubjectAltName(text(...given) ?? '');
      deepStrictEqual(
        parsed,
        given.map(([kind, value]) => ({ kind: kinds[kind], value })),
      );
    }),
    { numRuns: 300 },
  );
  t.pass('every name is as it was');
});
