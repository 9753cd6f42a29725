import t from 'tap';
import { decide, decideDryRun, policyKey } from '../../model/policy.ts';
import type { Authorization, Match, PolicyConnection, Rule } from '../../model/policy.ts';
import { connection, match, policy, rule, web } from './objects.ts';

const everything: Rule = { clauses: [] };
const plaintext = connection({ sourceIdentity: null });

function matches(rule: Rule, given: PolicyConnection): boolean {
  return decide([policy('ALLOW', [rule])], given).allowed;
}

t.test('without a policy everything is allowed', async t => {
  const decision = { allowed: true, policy: null, rule: null, reason: 'no policy selects this workload' };
  t.strictSame(decide([], connection()), decision);
});

t.test('DENY is decided before ALLOW, whatever the order', async t => {
  const allow = policy('ALLOW', [everything]);
  const deny = policy('DENY', [rule({ destinationPorts: [1] }), rule({ destinationPorts: [8080] })]);
  const expected = {
    allowed: false,
    policy: 'shop/deny-x',
    rule: 1,
    reason: 'explicitly denied by shop/deny-x rule 1',
  };
  t.strictSame(decide([allow, deny], connection()), expected);
  t.strictSame(decide([deny, allow], connection()), expected);
});

t.test('a DENY that does not match leaves the rest allowed', async t => {
  t.strictSame(decide([policy('DENY', [rule({ destinationPorts: [1] })])], connection()), {
    allowed: true,
    policy: null,
    rule: null,
    reason: 'no deny policy matches (1 considered) and no allow policy selects this workload',
  });
});

t.test('one ALLOW policy makes the rest denied', async t => {
  const one = policy('ALLOW', [rule({ destinationPorts: [1] })]);
  const two = policy('ALLOW', [rule({ destinationPorts: [2] }), everything], { name: 'allow-y' });
  t.strictSame(decide([one], connection()), {
    allowed: false,
    policy: null,
    rule: null,
    reason: 'no allow policy matches (1 considered)',
  });
  t.strictSame(decide([one, two], connection()), {
    allowed: true,
    policy: 'shop/allow-y',
    rule: 1,
    reason: 'allowed by shop/allow-y rule 1',
  });
});

t.test('a policy without rules never matches: ALLOW denies everything, DENY nothing', async t => {
  t.match(decide([policy('ALLOW', [])], connection()), { allowed: false, reason: /1 considered/ });
  t.equal(decide([policy('DENY', [])], connection()).allowed, true);
});

t.test('empty parts', async t => {
  t.equal(matches({ clauses: [] }, connection()), true, 'a rule without clauses matches');
  t.equal(matches({ clauses: [{ matches: [] }] }, connection()), true, 'a clause without matches matches');
  t.equal(matches(rule({}), connection()), false, 'a match without any field never matches');
  t.equal(
    matches(rule({}, { destinationPorts: [8080] }), connection()),
    true,
    'beside another it does no harm',
  );
  t.equal(decide([policy('DENY', [rule({})])], connection()).allowed, true, 'also in DENY');
});

t.test('clauses are ANDed, matches ORed, fields ANDed, values ORed', async t => {
  const here = match({ destinationPorts: [8080] });
  const there = match({ destinationPorts: [1] });
  t.equal(matches({ clauses: [{ matches: [here] }, { matches: [there] }] }, connection()), false);
  t.equal(matches({ clauses: [{ matches: [here] }, { matches: [there, here] }] }, connection()), true);
  t.equal(matches(rule({ destinationPorts: [1, 8080] }), connection()), true);
  const both = { destinationPorts: [8080], namespaces: [{ kind: 'exact', value: 'other' }] } as const;
  t.equal(matches(rule(both), connection()), false);
});

/** Each row: a field, whether it matches `web` of namespace shop from 10.0.0.1, and whether it matches plaintext. */
const rows: readonly (readonly [string, Partial<Match>, boolean, boolean])[] = [
  [
    'principal exact',
    { principals: [{ kind: 'exact', value: 'cluster.local/ns/shop/sa/web' }] },
    true,
    false,
  ],
  ['principal exact with scheme', { principals: [{ kind: 'exact', value: web }] }, true, false],
  [
    'principal exact, other',
    { principals: [{ kind: 'exact', value: 'cluster.local/ns/shop/sa/we' }] },
    false,
    false,
  ],
  ['principal prefix', { principals: [{ kind: 'prefix', value: 'cluster.local/ns/shop/' }] }, true, false],
  [
    'principal prefix with scheme',
    { principals: [{ kind: 'prefix', value: 'spiffe://cluster' }] },
    true,
    false,
  ],
  ['principal prefix, other', { principals: [{ kind: 'prefix', value: '/ns/shop/' }] }, false, false],
  ['principal suffix', { principals: [{ kind: 'suffix', value: '/sa/web' }] }, true, false],
  ['principal suffix, other', { principals: [{ kind: 'suffix', value: 'cluster.local' }] }, false, false],
  ['principal presence', { principals: [{ kind: 'presence' }] }, true, false],
  [
    'not principal exact',
    { notPrincipals: [{ kind: 'exact', value: 'cluster.local/ns/shop/sa/web' }] },
    false,
    true,
  ],
  ['not principal, other', { notPrincipals: [{ kind: 'suffix', value: '/sa/db' }] }, true, true],
  ['not principal presence: plaintext', { notPrincipals: [{ kind: 'presence' }] }, false, true],
  ['namespace exact', { namespaces: [{ kind: 'exact', value: 'shop' }] }, true, false],
  ['namespace prefix', { namespaces: [{ kind: 'prefix', value: 'sh' }] }, true, false],
  ['namespace suffix', { namespaces: [{ kind: 'suffix', value: 'op' }] }, true, false],
  ['namespace presence', { namespaces: [{ kind: 'presence' }] }, true, false],
  ['namespace, other', { namespaces: [{ kind: 'exact', value: 'sho' }] }, false, false],
  ['not namespace', { notNamespaces: [{ kind: 'exact', value: 'shop' }] }, false, true],
  ['not namespace, other', { notNamespaces: [{ kind: 'exact', value: 'bank' }] }, true, true],
  ['service account', { serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] }, true, false],
  [
    'service account, other namespace',
    { serviceAccounts: [{ namespace: 'bank', serviceAccount: 'web' }] },
    false,
    false,
  ],
  [
    'not service account',
    { notServiceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] },
    false,
    true,
  ],
  [
    'not service account, other',
    { notServiceAccounts: [{ namespace: 'shop', serviceAccount: 'db' }] },
    true,
    true,
  ],
  ['source ip', { sourceIps: [{ address: '10.0.0.0', length: 24 }] }, true, true],
  ['source ip, host', { sourceIps: [{ address: '10.0.0.1', length: 32 }] }, true, true],
  ['source ip, other', { sourceIps: [{ address: '10.0.1.0', length: 24 }] }, false, false],
  ['not source ip', { notSourceIps: [{ address: '10.0.0.0', length: 24 }] }, false, false],
  ['not source ip, other', { notSourceIps: [{ address: '10.0.1.0', length: 24 }] }, true, true],
  ['destination ip', { destinationIps: [{ address: '10.0.0.2', length: 32 }] }, true, true],
  ['destination ip, other', { destinationIps: [{ address: '10.0.0.1', length: 32 }] }, false, false],
  ['not destination ip', { notDestinationIps: [{ address: '10.0.0.2', length: 32 }] }, false, false],
  ['destination port', { destinationPorts: [80, 8080] }, true, true],
  ['destination port, other', { destinationPorts: [80] }, false, false],
  ['destination port is not cut to 16 bits', { destinationPorts: [8080 + 65536] }, false, false],
  ['not destination port', { notDestinationPorts: [8080] }, false, false],
  ['not destination port, other', { notDestinationPorts: [80] }, true, true],
];

for (const [name, fields, tunnelled, plain] of rows) {
  t.test(name, async t => {
    for (const action of ['ALLOW', 'DENY'] as const) {
      const policies = [policy(action, [rule(fields)])];
      const verdict = (matched: boolean): boolean => matched === (action === 'ALLOW');
      t.equal(decide(policies, connection()).allowed, verdict(tunnelled), `${action}, with identity`);
      t.equal(decide(policies, plaintext).allowed, verdict(plain), `${action}, plaintext`);
    }
  });
}

t.test('a service account counts in every trust domain, a principal in its own', async t => {
  const foreign = connection({ sourceIdentity: 'spiffe://other/ns/shop/sa/web' });
  t.equal(matches(rule({ serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] }), foreign), true);
  t.equal(
    matches(rule({ principals: [{ kind: 'exact', value: 'cluster.local/ns/shop/sa/web' }] }), foreign),
    false,
  );
});

t.test('IPv4 in IPv6 spelling is IPv4; IPv6 matches by bits', async t => {
  const ten = rule({ sourceIps: [{ address: '10.0.0.0', length: 8 }] });
  t.equal(matches(ten, connection({ sourceIp: '::ffff:10.1.2.3' })), true);
  const host = rule({ sourceIps: [{ address: '10.0.0.1', length: 32 }] });
  t.equal(matches(host, connection({ sourceIp: '::ffff:a00:1' })), true);
  const six = rule({ sourceIps: [{ address: 'fd00::', length: 9 }] });
  t.equal(matches(six, connection({ sourceIp: 'fd7f::1' })), true);
  t.equal(matches(six, connection({ sourceIp: 'fd80::1' })), false);
  const spelled = rule({ sourceIps: [{ address: 'FD00:0::1', length: 128 }] });
  t.equal(matches(spelled, connection({ sourceIp: 'fd00::1' })), true, 'a host prefix in another spelling');
});

t.test('a prefix that does not parse never makes a policy weaker', async t => {
  const bad = { address: 'nonsense', length: 8 };
  const good = { address: '10.0.0.0', length: 8 };
  const elsewhere = { address: '192.168.0.0', length: 16 };
  const denied = (fields: Partial<Match>): boolean =>
    !decide([policy('DENY', [rule(fields)])], connection()).allowed;
  t.equal(matches(rule({ sourceIps: [bad, good] }), connection()), false, 'ALLOW: the match is off');
  t.equal(matches(rule({ notSourceIps: [bad, elsewhere] }), connection()), false, 'ALLOW, negated');
  t.equal(denied({ sourceIps: [bad, elsewhere] }), true, 'DENY: the field counts as true');
  t.equal(denied({ sourceIps: [bad], destinationPorts: [8080] }), true, 'DENY: the rest is judged');
  t.equal(denied({ sourceIps: [bad], destinationPorts: [1] }), false, 'DENY: the rest is judged');
  t.equal(denied({ notSourceIps: [bad] }), true, 'DENY, negated: nothing is exempt');
  t.equal(denied({ notSourceIps: [bad, good] }), false, 'DENY, negated: what parses stays exempt');
  t.equal(denied({ destinationIps: [{ address: '10.0.0.0', length: 40 }] }), true, 'a length out of range');
});

t.test('a connection about which nothing can be said is refused', async t => {
  t.match(decide([], connection({ sourceIp: 'nonsense' })), {
    allowed: false,
    reason: /source "nonsense" is not/,
  });
  t.match(decide([], connection({ destinationIp: '' })), { allowed: false, reason: /destination "" is not/ });
  const odd = connection({ sourceIdentity: 'spiffe://cluster.local/web' });
  t.match(decide([], odd), { allowed: false, reason: /identity "spiffe:\/\/cluster.local\/web" is not/ });
});

t.test('dry-run policies are judged apart and never enforced', async t => {
  const trial = policy('DENY', [everything], { dryRun: true });
  t.equal(decide([trial], connection()).allowed, true);
  t.equal(decide([trial], connection()).reason, 'no policy selects this workload');
  t.match(decideDryRun([trial], connection()), { allowed: false, policy: 'shop/deny-x' });
  t.equal(
    decide([policy('ALLOW', [], { dryRun: true })], connection()).allowed,
    true,
    'nor does it count as an ALLOW',
  );
  t.equal(decideDryRun([policy('ALLOW', [])], connection()), null, 'nothing to say without one');
});

t.test('the first matching rule in the order of the policies decides, however it is found', async t => {
  const pinned = (fields: Partial<Match>, name: string): Authorization =>
    policy('ALLOW', [rule(fields)], { name });
  const policies = [
    pinned({ destinationPorts: [8080] }, 'port'),
    pinned({ principals: [{ kind: 'exact', value: 'cluster.local/ns/shop/sa/web' }] }, 'principal'),
    pinned({ namespaces: [{ kind: 'exact', value: 'shop' }] }, 'namespace'),
    pinned({ serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] }, 'account'),
    pinned({ sourceIps: [{ address: '10.0.0.1', length: 32 }] }, 'ip'),
    pinned({ namespaces: [{ kind: 'presence' }] }, 'rest'),
  ];
  for (let i = 0; i < policies.length; i++) {
    const rotated = [...policies.slice(i), ...policies.slice(0, i)];
    t.equal(decide(rotated, connection()).policy, `shop/${rotated[0]?.name}`);
  }
});

t.test('patterns that look as if they pinned a namespace or an account are still patterns', async t => {
  const principal = (kind: 'prefix' | 'suffix', value: string): Rule =>
    rule({ principals: [{ kind, value }] });
  t.equal(matches(principal('prefix', 'cluster.local/ns/shop/sa/we'), connection()), true);
  t.equal(matches(principal('prefix', 'cluster.local/ns/sho'), connection()), true);
  t.equal(matches(principal('suffix', 'op/sa/web'), connection()), true);
  t.equal(matches(principal('suffix', 'local/ns/shop/sa/web'), connection()), true);
  const namespaceCalledNs = connection({ sourceIdentity: 'spiffe://cluster.local/ns/ns/sa/web' });
  t.equal(matches(principal('suffix', 'ns/ns/sa/web'), namespaceCalledNs), true);
  t.equal(matches(principal('prefix', 'cluster.local/ns/ns/'), namespaceCalledNs), true);
});

t.test('of ten thousand policies only the few that concern a connection are judged', async t => {
  const policies = Array.from({ length: 10_000 }, (_, i) =>
    policy('ALLOW', [rule({ principals: [{ kind: 'exact', value: `cluster.local/ns/n${i}/sa/a` }] })], {
      name: `p${i}`,
    }),
  );
  const last = connection({ sourceIdentity: 'spiffe://cluster.local/ns/n9999/sa/a' });
  t.equal(decide(policies, last).policy, 'shop/p9999');
  t.match(decide(policies, connection()), {
    allowed: false,
    reason: 'no allow policy matches (10000 considered)',
  });
  const rounds = 2000;
  const before = process.hrtime.bigint();
  for (let i = 0; i < rounds; i++) decide(policies, last);
  const micros = Number(process.hrtime.bigint() - before) / 1000 / rounds;
  // Judging all of them takes hundreds of microseconds; the bound leaves room for a busy machine.
  t.ok(micros < 50, `${micros.toFixed(2)} µs each`);
});

t.test('the key of a policy', async t => t.equal(policyKey(policy('DENY', [])), 'shop/deny-x'));
