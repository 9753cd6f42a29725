import { deepStrictEqual } from 'node:assert/strict';
import * as fc from 'fast-check';
import t from 'tap';
import { formatSpiffeId, isIdentitySegment, isTrustDomain, parseSpiffeId } from '../../model/identity.ts';

const alphabet = (characters: string, maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...characters.split('')), minLength: 1, maxLength });
const trustDomain = alphabet('abcdefghijklmnopqrstuvwxyz0123456789.-_', 40);
const segment = alphabet('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_', 40).filter(
  text => text !== '.' && text !== '..',
);

t.test('an identity comes back from its URI', async t => {
  t.strictSame(parseSpiffeId('spiffe://cluster.local/ns/shop/sa/cart'), {
    trustDomain: 'cluster.local',
    namespace: 'shop',
    serviceAccount: 'cart',
  });
  fc.assert(
    fc.property(
      fc.record({ trustDomain, namespace: segment, serviceAccount: segment }, { noNullPrototype: true }),
      identity => {
        deepStrictEqual(parseSpiffeId(formatSpiffeId(identity)), identity);
      },
    ),
  );
});

t.test('what parses has one spelling only', async t => {
  const uri = fc.record({ trustDomain, namespace: segment, serviceAccount: segment }).map(formatSpiffeId);
  const piece = fc.oneof(
    fc.string({ maxLength: 3 }),
    fc.constantFrom('/', '..', '%2f', '\0', ',', '"', '/ns/', '/sa/', 'a'),
  );
  const edited = fc
    .tuple(uri, fc.nat(), fc.nat(2), piece)
    .map(
      ([text, at, cut, insert]) =>
        text.slice(0, at % text.length) + insert + text.slice((at % text.length) + cut),
    );
  let parsed = 0;
  fc.assert(
    fc.property(edited, text => {
      const identity = parseSpiffeId(text);
      if (identity === null) return true;
      parsed += 1;
      return formatSpiffeId(identity) === text;
    }),
    { numRuns: 1_000 },
  );
  t.ok(parsed > 50, 'not only refused ones were tried');
});

t.test('fields that do not belong in a URI never format to the identity of another', async t => {
  const anyIdentity = fc.record(
    {
      trustDomain: fc.oneof(trustDomain, fc.string()),
      namespace: fc.oneof(
        segment,
        fc.string(),
        fc.tuple(segment, segment).map(pair => pair.join('/sa/')),
      ),
      serviceAccount: fc.oneof(
        segment,
        fc.string(),
        fc.tuple(segment, segment).map(pair => pair.join('/')),
      ),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(anyIdentity, identity => {
      const parsed = parseSpiffeId(formatSpiffeId(identity));
      if (parsed !== null) deepStrictEqual(parsed, identity);
    }),
  );
  t.pass('none was taken for another');
});

t.test('refused', async t => {
  const refused = [
    '',
    'spiffe://',
    'spiffe://td',
    'spiffe:///ns/a/sa/b',
    'spiffe://td/ns/a/sa/',
    'spiffe://td/ns//sa/b',
    'spiffe://td/ns/a/sa/b/',
    'spiffe://td/ns/a/sa/b/c',
    'spiffe://td/ns/a/b/sa/c',
    'spiffe://td/sa/a/ns/b',
    'spiffe://td/NS/a/sa/b',
    'spiffe://TD/ns/a/sa/b',
    'SPIFFE://td/ns/a/sa/b',
    'http://td/ns/a/sa/b',
    'spiffe://td:1/ns/a/sa/b',
    'spiffe://user@td/ns/a/sa/b',
    'spiffe://td/ns/a/sa/b?x',
    'spiffe://td/ns/a/sa/b#x',
    'spiffe://td/ns/a/sa/%62',
    'spiffe://td/ns/a/sa/b\0',
    'spiffe://td/ns/a/sa/b\n',
    'spiffe://td/ns/a/sa/b ',
    ' spiffe://td/ns/a/sa/b',
    'spiffe://td/ns/a,b/sa/c',
    'spiffe://td/ns/"a"/sa/c',
    'spiffe://td/ns/../sa/c',
    'spiffe://td/ns/a/sa/.',
    'spiffe://td/ns/ä/sa/b',
    `spiffe://${'t'.repeat(256)}/ns/a/sa/b`,
    `spiffe://td/ns/a/sa/${'b'.repeat(254)}`,
  ];
  for (const uri of refused) t.equal(parseSpiffeId(uri), null, JSON.stringify(uri));
});

t.test('what may stand in an identity', async t => {
  t.ok(isTrustDomain('cluster.local'));
  t.notOk(isTrustDomain('Cluster.local'));
  t.notOk(isTrustDomain('a/b'));
  t.ok(isIdentitySegment('default'));
  t.notOk(isIdentitySegment('..'));
  t.notOk(isIdentitySegment('a/b'));
});
