import t from 'tap';
import { decide } from '../../model/policy.ts';
import type { Authorization, PolicyConnection } from '../../model/policy.ts';
import { decodeAuthorization, encodeAuthorization, undecodablePolicy } from '../../xds/codec.ts';
import { connection, match } from '../model/objects.ts';
import { bytes, fields, message, packed, text, varint } from '../proto/bytes.ts';

t.test('a policy has the field numbers of the public API', async t => {
  const given: Authorization = {
    name: 'p',
    namespace: 'shop',
    scope: 'WORKLOAD_SELECTOR',
    action: 'DENY',
    dryRun: true,
    rules: [
      {
        clauses: [
          {
            matches: [
              match({
                namespaces: [{ kind: 'exact', value: 'a' }],
                notNamespaces: [{ kind: 'prefix', value: 'b' }],
                principals: [{ kind: 'suffix', value: 'c' }],
                notPrincipals: [{ kind: 'presence' }],
                sourceIps: [{ address: '10.0.0.0', length: 8 }],
                notSourceIps: [{ address: '10.0.0.1', length: 32 }],
                destinationIps: [{ address: 'fd00::', length: 64 }],
                notDestinationIps: [{ address: '0.0.0.0', length: 0 }],
                destinationPorts: [80, 8080],
                notDestinationPorts: [443],
                serviceAccounts: [{ namespace: 'n', serviceAccount: 's' }],
                notServiceAccounts: [{ namespace: 'm', serviceAccount: 't' }],
              }),
            ],
          },
        ],
      },
    ],
  };
  const v6 = Buffer.from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const expected = fields(
    text(1, 'p'),
    text(2, 'shop'),
    varint(3, 2),
    varint(4, 1),
    message(
      5,
      message(
        1,
        message(
          2,
          message(1, text(1, 'a')),
          message(2, text(2, 'b')),
          message(3, text(3, 'c')),
          message(4, message(4)),
          message(5, bytes(1, Buffer.from([10, 0, 0, 0])), varint(2, 8)),
          message(6, bytes(1, Buffer.from([10, 0, 0, 1])), varint(2, 32)),
          message(7, bytes(1, v6), varint(2, 64)),
          message(8, bytes(1, Buffer.from([0, 0, 0, 0]))),
          packed(9, 80, 8080),
          packed(10, 443),
          message(11, text(1, 'n'), text(2, 's')),
          message(12, text(1, 'm'), text(2, 't')),
        ),
      ),
    ),
    varint(6, 1),
  );
  t.equal(encodeAuthorization(given).toString('hex'), expected.toString('hex'));
  t.strictSame(decodeAuthorization(expected).value, given);
});

const allow = varint(4, 0);
const deny = varint(4, 1);

/** A policy of one rule with one clause of one match. */
function read(action: Buffer, ...matchFields: readonly Buffer[]) {
  return readRules(action, message(5, message(1, message(2, ...matchFields))));
}

function readRules(action: Buffer, ...rules: readonly Buffer[]) {
  const head = [text(1, 'p'), text(2, 'shop'), varint(3, 1), action];
  return decodeAuthorization(fields(...head, ...rules));
}

function allowed({ value }: { value: Authorization }, given: Partial<PolicyConnection> = {}): boolean {
  return decide([value], connection(given)).allowed;
}

const shop = message(1, text(1, 'shop'));
/** A field that no version of this agent knows, of every kind. */
const news = [text(90, 'x'), varint(91, 1), message(92, text(1, 'x'))];
const plaintext = { sourceIdentity: null };

t.test('a condition from the future is one that does not hold where it would allow', async t => {
  t.equal(allowed(read(allow, shop)), true);
  for (const field of news) {
    const policy = read(allow, shop, field);
    t.equal(allowed(policy), false);
    t.match(policy.problem, 'conditions that this agent does not know');
    t.equal(allowed(read(allow, field)), false);
    t.equal(allowed(readRules(allow, message(5, message(1, message(2, shop)), field))), false);
    t.equal(allowed(readRules(allow, message(5, field))), false);
    t.equal(allowed(readRules(allow, message(5, message(1, field)))), false);
  }
});

t.test('an alternative from the future leaves those that are known', async t => {
  for (const field of news) {
    t.equal(allowed(readRules(allow, message(5, message(1, message(2, shop), field)))), true);
    t.equal(
      allowed(readRules(allow, message(5, message(1, message(2, shop, field), message(2, shop))))),
      true,
      'the other match is whole',
    );
  }
});

t.test('what denies denies without a condition from the future', async t => {
  for (const field of news) {
    t.equal(allowed(read(deny, shop, field)), false);
    t.equal(allowed(read(deny, message(1, text(1, 'other')), field)), true, 'the known condition holds');
    t.equal(allowed(read(deny, field)), false);
    t.equal(allowed(read(deny, field), plaintext), false);
    t.equal(allowed(read(deny, field), { sourceIp: 'fd00::1', destinationIp: 'fd00::2' }), false);
    t.equal(allowed(readRules(deny, message(5, message(1, message(2), field)))), false);
    t.equal(allowed(readRules(deny, message(5, field))), false);
  }
});

t.test('a condition inside a condition counts as much', async t => {
  const account = message(11, text(1, 'shop'), text(2, 'web'));
  const stricter = message(11, text(1, 'shop'), text(2, 'web'), text(3, 'other.domain'));
  t.equal(allowed(read(allow, account)), true);
  t.equal(allowed(read(allow, stricter)), false);
  t.equal(allowed(read(deny, stricter)), false);
});

t.test('fields from the future beside the rules change nothing, nor do extensions', async t => {
  const known = message(5, message(1, message(2, shop, message(13, text(1, 'x'), message(2, text(1, 'u'))))));
  const policy = readRules(allow, known, text(90, 'x'), message(7, text(1, 'x')));
  t.equal(policy.problem, null);
  t.equal(allowed(policy), true);
  t.equal(allowed(policy, { sourceIdentity: 'spiffe://cluster.local/ns/other/sa/web' }), false);
});

t.test('a pattern that cannot be read allows nobody and denies everybody with an identity', async t => {
  const odd = [Buffer.alloc(0), text(9, 'x'), fields(text(1, 'shop'), text(2, 'sh'))];
  for (const pattern of odd) {
    for (const field of [1, 3]) {
      const not = field + 1;
      t.equal(allowed(read(allow, bytes(field, pattern))), false);
      t.equal(allowed(read(allow, shop, bytes(not, pattern))), false);
      t.equal(allowed(read(deny, bytes(field, pattern))), false);
      t.equal(allowed(read(deny, shop, bytes(not, pattern))), false);
      t.match(read(deny, bytes(field, pattern)).problem, / things instead of 1/);
    }
  }
  t.equal(allowed(read(allow, message(1), shop)), true, 'one that can be read still allows');
});

t.test('a prefix that cannot be read allows nobody and denies more', async t => {
  const ten = Buffer.from([10, 0, 0, 1]);
  const odd = [
    fields(bytes(1, ten), varint(2, 33)),
    fields(bytes(1, Buffer.from([10])), varint(2, 8)),
    varint(2, 8),
    fields(bytes(1, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1])), varint(2, 90)),
  ];
  for (const prefix of odd) {
    for (const field of [5, 7]) {
      const not = field + 1;
      t.equal(allowed(read(allow, shop, bytes(field, prefix))), false);
      t.equal(allowed(read(allow, shop, bytes(not, prefix))), false);
      t.equal(allowed(read(deny, shop, bytes(field, prefix))), false);
      t.equal(allowed(read(deny, shop, bytes(not, prefix))), false);
      t.match(read(deny, bytes(field, prefix)).problem, /a prefix of \d+ bits of an address of \d+ bytes/);
    }
  }
});

t.test('the length of a prefix counts the bits of the address as it is written', async t => {
  const mapped = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 0]);
  const policy = read(allow, message(5, bytes(1, mapped), varint(2, 104)));
  t.equal(allowed(policy, { sourceIp: '10.9.9.9' }), true);
  t.equal(allowed(policy, { sourceIp: '11.0.0.1' }), false);
  const all = read(allow, message(5, bytes(1, Buffer.from([10, 0, 0, 0]))));
  t.equal(allowed(all, { sourceIp: '11.0.0.1' }), true);
  t.equal(all.problem, null);
});

t.test('ports are not cut to 16 bits', async t => {
  t.equal(allowed(read(allow, packed(9, 65_536 + 8080))), false);
});

t.test('an unknown action or scope denies all', async t => {
  const head = [text(1, 'p'), text(2, 'shop'), message(5, message(1, message(2, shop)))];
  const action = decodeAuthorization(fields(...head, varint(3, 1), varint(4, 2)));
  t.match(action, { value: { action: 'DENY', scope: 'NAMESPACE', dryRun: false }, problem: /^action 2, / });
  t.equal(allowed(action, plaintext), false);
  const scope = decodeAuthorization(fields(...head, varint(3, 7)));
  t.match(scope, { value: { action: 'DENY', scope: 'WORKLOAD_SELECTOR' }, problem: /^scope 7, / });
  const dry = decodeAuthorization(fields(...head, varint(4, 2), varint(6, 1)));
  t.equal(dry.value.dryRun, true);
});

t.test('a policy of which only the name is known denies all to those that name it', async t => {
  const policy = undecodablePolicy('shop/p');
  t.match(policy, { name: 'p', namespace: 'shop', scope: 'WORKLOAD_SELECTOR' });
  t.equal(policy !== null && decide([policy], connection()).allowed, false);
  t.equal(undecodablePolicy('p'), null);
});
