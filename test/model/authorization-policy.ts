import t from 'tap';
import { emptyMatch } from '../../model/authorization-attributes.ts';
import { translateAuthorizationPolicy } from '../../model/authorization-policy.ts';
import type { AuthorizationPolicyInput, AuthorizationPolicySpec } from '../../model/authorization-policy.ts';
import type {
  AuthorizationRuleSpec,
  ConditionSpec,
  OperationSpec,
  SourceSpec,
} from '../../model/authorization-rule.ts';
import { decide } from '../../model/policy.ts';
import type { Match, PolicyConnection } from '../../model/policy.ts';
import { connection, match } from './objects.ts';

function translate(spec: AuthorizationPolicySpec, given: Partial<AuthorizationPolicyInput> = {}) {
  const input = {
    name: 'p',
    namespace: 'shop',
    rootNamespace: 'culvert-system',
    annotations: {},
    spec,
    ...given,
  };
  return translateAuthorizationPolicy(input);
}

/** The matches of each clause of the first rule, without empty fields. */
function clauses(rule: AuthorizationRuleSpec): Partial<Match>[][] {
  const { policy, findings } = translate({ rules: [rule] });
  t.strictSame(findings, [], 'nothing to complain about');
  return (policy?.rules[0]?.clauses ?? []).map(({ matches }) => matches.map(withoutEmpty));
}

function withoutEmpty(match: Match): Partial<Match> {
  return Object.fromEntries(Object.entries(match).filter(([, list]) => list.length > 0));
}

function findings(spec: AuthorizationPolicySpec): string[] {
  return translate(spec).findings.map(({ severity, code, field }) => `${severity} ${code} ${field}`);
}

function allowed(spec: AuthorizationPolicySpec, c: PolicyConnection = connection()): boolean {
  const { policy } = translate(spec);
  return decide(policy === null ? [] : [policy], c).allowed;
}

t.test('scope: namespace, mesh in the root namespace, workloads with a selector', async t => {
  t.match(translate({}), { policy: { scope: 'NAMESPACE' }, selector: null });
  t.match(translate({}, { namespace: 'culvert-system' }), { policy: { scope: 'GLOBAL' }, selector: null });
  const selector = { matchLabels: { app: 'web' } };
  t.match(translate({ selector }), { policy: { scope: 'WORKLOAD_SELECTOR' }, selector: { app: 'web' } });
  t.match(translate({ selector }, { namespace: 'culvert-system' }), {
    policy: { scope: 'WORKLOAD_SELECTOR' },
  });
  t.match(
    translate({ selector: {} }),
    { policy: { scope: 'NAMESPACE' }, selector: null },
    'no labels is no selector',
  );
});

t.test('absent and empty differ', async t => {
  t.equal(allowed({}), false, 'an empty spec allows nothing');
  t.equal(allowed({ rules: [] }), false);
  t.equal(allowed({ rules: [{}] }), true, 'an empty rule allows everything');
  t.equal(allowed({ action: 'DENY', rules: [{}] }), false);
  t.strictSame(findings({ rules: [{}] }), []);
  t.strictSame(findings({ action: 'DENY' }), ['error never-matches spec.rules']);
  t.strictSame(findings({ action: 'DENY', rules: [] }), ['error never-matches spec.rules']);
  const empties: readonly (readonly [AuthorizationRuleSpec, string])[] = [
    [{ from: [] }, 'spec.rules[0].from'],
    [{ to: [] }, 'spec.rules[0].to'],
    [{ from: [{}] }, 'spec.rules[0].from[0].source'],
    [{ from: [{ source: {} }] }, 'spec.rules[0].from[0].source'],
    [{ from: [{ source: { principals: [] } }] }, 'spec.rules[0].from[0].source'],
    [{ to: [{ operation: {} }] }, 'spec.rules[0].to[0].operation'],
    [{ when: [{ key: 'source.ip' }] }, 'spec.rules[0].when[0]'],
    [{ when: [{ key: 'source.ip', values: [], notValues: [] }] }, 'spec.rules[0].when[0]'],
  ];
  for (const [rule, field] of empties) {
    t.strictSame(findings({ rules: [rule] }), [`error empty-match ${field}`], JSON.stringify(rule));
    t.equal(allowed({ rules: [rule] }), false, 'it allows nothing');
    t.equal(allowed({ action: 'DENY', rules: [rule] }), false, 'and denies rather too much');
  }
  t.strictSame(clauses({ when: [] }), [], 'no conditions are no conditions');
});

const sourceRows: readonly (readonly [SourceSpec, Partial<Match>])[] = [
  [{ principals: ['td/ns/a/sa/b'] }, { principals: [{ kind: 'exact', value: 'td/ns/a/sa/b' }] }],
  [{ principals: ['td/ns/a/*'] }, { principals: [{ kind: 'prefix', value: 'td/ns/a/' }] }],
  [{ principals: ['*/sa/b'] }, { principals: [{ kind: 'suffix', value: '/sa/b' }] }],
  [{ principals: ['*'] }, { principals: [{ kind: 'presence' }] }],
  [{ notPrincipals: ['*'] }, { notPrincipals: [{ kind: 'presence' }] }],
  [
    { namespaces: ['a', 'b*'] },
    {
      namespaces: [
        { kind: 'exact', value: 'a' },
        { kind: 'prefix', value: 'b' },
      ],
    },
  ],
  [{ notNamespaces: ['*a'] }, { notNamespaces: [{ kind: 'suffix', value: 'a' }] }],
  [{ serviceAccounts: ['a/b'] }, { serviceAccounts: [{ namespace: 'a', serviceAccount: 'b' }] }],
  [{ serviceAccounts: ['b'] }, { serviceAccounts: [{ namespace: 'shop', serviceAccount: 'b' }] }],
  [{ notServiceAccounts: ['a/b'] }, { notServiceAccounts: [{ namespace: 'a', serviceAccount: 'b' }] }],
  [{ trustDomains: ['td'] }, { principals: [{ kind: 'prefix', value: 'td/' }] }],
  [{ trustDomains: ['td*'] }, { principals: [{ kind: 'prefix', value: 'td' }] }],
  [{ trustDomains: ['*'] }, { principals: [{ kind: 'presence' }] }],
  [{ notTrustDomains: ['td'] }, { notPrincipals: [{ kind: 'prefix', value: 'td/' }] }],
  [
    { ipBlocks: ['10.0.0.0/8', '10.1.1.1'] },
    {
      sourceIps: [
        { address: '10.0.0.0', length: 8 },
        { address: '10.1.1.1', length: 32 },
      ],
    },
  ],
  [{ ipBlocks: ['::ffff:10.0.0.0/104'] }, { sourceIps: [{ address: '10.0.0.0', length: 8 }] }],
  [{ notIpBlocks: ['fd00::/8'] }, { notSourceIps: [{ address: 'fd00::', length: 8 }] }],
  [
    { namespaces: ['a'], notPrincipals: ['*/sa/b'], notTrustDomains: ['td'] },
    {
      namespaces: [{ kind: 'exact', value: 'a' }],
      notPrincipals: [
        { kind: 'suffix', value: '/sa/b' },
        { kind: 'prefix', value: 'td/' },
      ],
    },
  ],
];

const operationRows: readonly (readonly [OperationSpec, Partial<Match>])[] = [
  [{ ports: ['80', '8080'] }, { destinationPorts: [80, 8080] }],
  [{ notPorts: ['80'] }, { notDestinationPorts: [80] }],
];

const conditionRows: readonly (readonly [ConditionSpec, Partial<Match>])[] = [
  [{ key: 'source.principal', values: ['*'] }, { principals: [{ kind: 'presence' }] }],
  [{ key: 'source.namespace', notValues: ['a'] }, { notNamespaces: [{ kind: 'exact', value: 'a' }] }],
  [
    { key: 'source.serviceAccount', values: ['b'] },
    { serviceAccounts: [{ namespace: 'shop', serviceAccount: 'b' }] },
  ],
  [{ key: 'source.trustDomain', values: ['td'] }, { principals: [{ kind: 'prefix', value: 'td/' }] }],
  [
    { key: 'source.ip', values: ['10.0.0.0/8'], notValues: ['10.1.0.0/16'] },
    { sourceIps: [{ address: '10.0.0.0', length: 8 }], notSourceIps: [{ address: '10.1.0.0', length: 16 }] },
  ],
  [
    { key: 'destination.ip', values: ['10.0.0.2'] },
    { destinationIps: [{ address: '10.0.0.2', length: 32 }] },
  ],
  [
    { key: 'destination.ip', notValues: ['fd00::/8'] },
    { notDestinationIps: [{ address: 'fd00::', length: 8 }] },
  ],
  [
    { key: 'destination.port', values: ['80'], notValues: ['81'] },
    { destinationPorts: [80], notDestinationPorts: [81] },
  ],
];

t.test('every L4 field becomes its match', async t => {
  for (const [source, match] of sourceRows)
    t.strictSame(clauses({ from: [{ source }] }), [[match]], JSON.stringify(source));
  for (const [operation, match] of operationRows) t.strictSame(clauses({ to: [{ operation }] }), [[match]]);
  for (const [when, match] of conditionRows) t.strictSame(clauses({ when: [when] }), [[match]], when.key);
});

t.test('sources are one clause, operations another, each condition its own', async t => {
  const rule = {
    from: [{ source: { namespaces: ['a'] } }, { source: { ipBlocks: ['10.0.0.0/8'] } }],
    to: [{ operation: { ports: ['80'] } }],
    when: [
      { key: 'source.trustDomain', values: ['td'] },
      { key: 'destination.port', notValues: ['81'] },
    ],
  };
  t.strictSame(clauses(rule), [
    [{ namespaces: [{ kind: 'exact', value: 'a' }] }, { sourceIps: [{ address: '10.0.0.0', length: 8 }] }],
    [{ destinationPorts: [80] }],
    [{ principals: [{ kind: 'prefix', value: 'td/' }] }],
    [{ notDestinationPorts: [81] }],
  ]);
});

t.test('principals and trust domains of one source must both hold, also beside other sources', async t => {
  const spec = {
    rules: [
      {
        from: [
          { source: { principals: ['*/sa/web'], trustDomains: ['td'] } },
          { source: { namespaces: ['bank'] } },
        ],
      },
    ],
  };
  t.strictSame(findings(spec), []);
  const from = (sourceIdentity: string): boolean => allowed(spec, connection({ sourceIdentity }));
  t.equal(from('spiffe://td/ns/shop/sa/web'), true);
  t.equal(from('spiffe://other/ns/shop/sa/web'), false);
  t.equal(from('spiffe://td/ns/shop/sa/db'), false);
  t.equal(from('spiffe://other/ns/bank/sa/db'), true);
  const source = { principals: ['*/sa/web'], trustDomains: ['td'] };
  const many = { rules: [{ from: Array.from({ length: 7 }, () => ({ source })) }] };
  t.strictSame(
    findings(many),
    ['error invalid-value spec.rules[0].from'],
    'but not more than can be written out',
  );
  t.equal(allowed(many), false);
});

const l7Rules: readonly AuthorizationRuleSpec[] = [
  { from: [{ source: { requestPrincipals: ['*'] } }] },
  { from: [{ source: { notRequestPrincipals: ['*'] } }] },
  { from: [{ source: { remoteIpBlocks: ['10.0.0.0/8'] } }] },
  { from: [{ source: { notRemoteIpBlocks: ['10.0.0.0/8'] } }] },
  ...(['hosts', 'notHosts', 'methods', 'notMethods', 'paths', 'notPaths'] as const).map(field => ({
    to: [{ operation: { [field]: ['x'] } }],
  })),
  ...[
    'request.headers[x-a]',
    'remote.ip',
    'request.auth.principal',
    'request.auth.audiences',
    'request.auth.presenter',
  ]
    .concat([
      'request.auth.claims[a]',
      'request.auth.claims[a][b]',
      'connection.sni',
      'experimental.envoy.filters.x',
    ])
    .map(key => ({ when: [{ key, values: ['x'] }] })),
];

t.test(
  'what needs a request never becomes an allow, and a DENY of nothing else denies everything, loudly',
  async t => {
    for (const rule of l7Rules) {
      const name = JSON.stringify(rule);
      t.match(
        translate({ rules: [rule] }).findings,
        [{ severity: 'warning', code: 'l7-rule-ignored' }],
        name,
      );
      t.equal(allowed({ rules: [rule] }), false, `ALLOW ${name}`);
      const deny = translate({ action: 'DENY', rules: [rule] });
      t.match(deny.findings, [{ severity: 'warning', code: 'l7-rule-denies-all' }], name);
      t.equal(allowed({ action: 'DENY', rules: [rule] }), false, `DENY ${name}`);
    }
  },
);

t.test('an ALLOW rule with an L7 part is off, its neighbours keep their index', async t => {
  const spec = {
    rules: [
      { from: [{ source: { namespaces: ['shop'] } }], to: [{ operation: { methods: ['GET'] } }] },
      { to: [{ operation: { ports: ['8080'] } }] },
    ],
  };
  t.strictSame(findings(spec), ['warning l7-rule-ignored spec.rules[0].to[0].operation.methods']);
  const { policy } = translate(spec);
  t.match(decide(policy === null ? [] : [policy], connection()), { allowed: true, rule: 1 });
  t.equal(allowed(spec, connection({ destinationPort: 1 })), false);
});

t.test('the L4 part of a DENY rule is enforced', async t => {
  const shop = connection();
  const bank = connection({ sourceIdentity: 'spiffe://cluster.local/ns/bank/sa/web' });
  const denies = (rule: AuthorizationRuleSpec, c: PolicyConnection): boolean =>
    !allowed({ action: 'DENY', rules: [rule] }, c);
  const namespaces = ['shop'];
  const separate = { from: [{ source: { namespaces } }], to: [{ operation: { methods: ['POST'] } }] };
  t.strictSame(findings({ action: 'DENY', rules: [separate] }), [
    'warning l7-rule-widened spec.rules[0].to[0].operation.methods',
  ]);
  t.equal(denies(separate, shop), true, 'the clause that is wholly L7 counts as true');
  t.equal(denies(separate, bank), false);
  const together = { from: [{ source: { namespaces, requestPrincipals: ['*'] } }] };
  t.equal(denies(together, shop), true, 'in one source the rest is judged');
  t.equal(denies(together, bank), false);
  const either = { from: [{ source: { namespaces } }, { source: { requestPrincipals: ['*'] } }] };
  t.equal(denies(either, bank), true, 'as an alternative it may be true for anybody');
  const condition = {
    when: [
      { key: 'source.namespace', values: namespaces },
      { key: 'request.headers[a]', values: ['b'] },
    ],
  };
  t.equal(denies(condition, shop), true);
  t.equal(denies(condition, bank), false);
});

t.test('values that do not parse are named, switch an ALLOW rule off and a DENY field to true', async t => {
  const bad: readonly (readonly [AuthorizationRuleSpec, string])[] = [
    [{ from: [{ source: { ipBlocks: ['192.168.0.0/16', '10.0.0.0/33'] } }] }, 'from[0].source.ipBlocks[1]'],
    [{ from: [{ source: { notIpBlocks: ['nonsense'] } }] }, 'from[0].source.notIpBlocks[0]'],
    [{ from: [{ source: { principals: ['a*b'] } }] }, 'from[0].source.principals[0]'],
    [{ from: [{ source: { principals: ['*a*'] } }] }, 'from[0].source.principals[0]'],
    [{ from: [{ source: { namespaces: [''] } }] }, 'from[0].source.namespaces[0]'],
    [{ from: [{ source: { serviceAccounts: ['a/*'] } }] }, 'from[0].source.serviceAccounts[0]'],
    [{ from: [{ source: { serviceAccounts: ['a/b/c'] } }] }, 'from[0].source.serviceAccounts[0]'],
    [{ from: [{ source: { serviceAccounts: ['/b'] } }] }, 'from[0].source.serviceAccounts[0]'],
    [{ from: [{ source: { trustDomains: ['td/ns'] } }] }, 'from[0].source.trustDomains[0]'],
    [{ from: [{ source: { trustDomains: ['*.example'] } }] }, 'from[0].source.trustDomains[0]'],
    [{ to: [{ operation: { ports: ['http'] } }] }, 'to[0].operation.ports[0]'],
    [{ to: [{ operation: { ports: ['70000'] } }] }, 'to[0].operation.ports[0]'],
    [{ when: [{ key: 'destination.labels[app]', values: ['x'] }] }, 'when[0].key'],
    [{ when: [{ key: 'source.ip', values: ['x'] }] }, 'when[0].values[0]'],
    [{ when: [{ key: 'source.ip', notValues: ['x'] }] }, 'when[0].notValues[0]'],
  ];
  for (const [rule, field] of bad) {
    t.strictSame(findings({ rules: [rule] }), [`error invalid-value spec.rules[0].${field}`]);
    t.equal(allowed({ rules: [rule] }), false, `ALLOW ${JSON.stringify(rule)}`);
    t.equal(allowed({ action: 'DENY', rules: [rule] }), false, `DENY ${JSON.stringify(rule)}`);
  }
  const exempt = { from: [{ source: { notIpBlocks: ['nonsense', '10.0.0.0/8'] } }] };
  t.equal(allowed({ action: 'DENY', rules: [exempt] }), true, 'an exemption that parses stays one');
  const rest = { from: [{ source: { ipBlocks: ['nonsense'], namespaces: ['bank'] } }] };
  t.equal(allowed({ action: 'DENY', rules: [rest] }), true, 'the other fields are judged');
});

t.test('service accounts beside principals are an error, both count', async t => {
  const spec = { rules: [{ from: [{ source: { serviceAccounts: ['web'], namespaces: ['bank'] } }] }] };
  t.strictSame(findings(spec), ['error invalid-value spec.rules[0].from[0].source']);
  t.equal(allowed(spec), false);
});

t.test('what nodes do not enforce is said', async t => {
  t.match(translate({ action: 'CUSTOM', rules: [{}] }), {
    policy: null,
    findings: [{ severity: 'error', code: 'unsupported-value' }],
  });
  t.match(translate({ action: 'AUDIT', rules: [{}] }), {
    policy: null,
    findings: [{ severity: 'warning', code: 'unsupported-value' }],
  });
  const targetRefs = [{ kind: 'Service', name: 'web' }];
  t.match(translate({ action: 'DENY', rules: [{}], targetRefs }), {
    policy: null,
    findings: [],
  });
  t.match(translate({ rules: [{}], targetRef: {} }), { policy: null });
  t.not(translate({ rules: [{}], targetRefs: [] }).policy, null, 'no targets are none');
  const both = translate({ selector: { matchLabels: { app: 'web' } }, targetRefs, rules: [{}] });
  t.match(both, {
    policy: { scope: 'WORKLOAD_SELECTOR' },
    findings: [{ severity: 'error', code: 'invalid-value' }],
  });
});

t.test('only a clear yes is a dry run', async t => {
  const dryRun = (annotations: Record<string, string>) => translate({ rules: [{}] }, { annotations });
  t.equal(dryRun({}).policy?.dryRun, false);
  t.equal(dryRun({ 'istio.io/dry-run': 'true' }).policy?.dryRun, true);
  t.equal(dryRun({ 'culvert.dev/dry-run': 'true' }).policy?.dryRun, true);
  t.equal(dryRun({ 'istio.io/dry-run': 'false' }).policy?.dryRun, false);
  t.match(dryRun({ 'istio.io/dry-run': 'yes' }), {
    policy: { dryRun: false },
    findings: [{ code: 'invalid-value' }],
  });
});

t.test('an unjudgeable ALLOW rule is a match without fields, which never matches', async t => {
  const { policy } = translate({ rules: [{ to: [{ operation: { methods: ['GET'] } }] }] });
  t.strictSame(policy?.rules, [{ clauses: [{ matches: [match({})] }] }]);
  t.strictSame(match({}), emptyMatch());
});
