/** Which requests L7 policies let pass, and what they say about it. */
import t from 'tap';
import { HttpPolicies } from '../../model/http-policies.ts';
import { HttpPolicySet } from '../../model/http-policy.ts';
import type { AuthorizationRuleSpec, OperationSpec, SourceSpec } from '../../model/authorization-rule.ts';
import { translateHttpPolicy } from '../../model/http-policy-translation.ts';
import { head } from './http-help.ts';
import { asked, decided, outcomes, policy, tcp } from './http-policy-help.ts';

const matches = { denies: true, allows: true };
const misses = { denies: false, allows: false };
/** What can not be told never becomes an allow. */
const unclear = { denies: true, allows: false };

const to = (operation: OperationSpec): AuthorizationRuleSpec => ({ to: [{ operation }] });
const from = (source: SourceSpec): AuthorizationRuleSpec => ({ from: [{ source }] });
const when = (key: string, values?: string[], notValues?: string[]): AuthorizationRuleSpec => ({
  when: [{ key, values, notValues }],
});

t.test('deny before allow, and what no allow policy matches is denied', async t => {
  const allow = policy('ALLOW', [to({ methods: ['GET'] }), to({ paths: ['/open'] })]);
  const deny = policy('DENY', [to({ paths: ['/admin*'] })]);
  t.same(decided([], asked()), {
    allowed: true,
    policy: null,
    rule: null,
    reason: 'no policy is about this destination',
  });
  t.match(decided([allow, deny], asked('/admin')), {
    allowed: false,
    policy: 'shop/deny',
    rule: 0,
    reason: 'explicitly denied by shop/deny rule 0',
  });
  const post = (path: string) => asked(path, { head: head(path, { method: 'POST' }) });
  t.match(decided([deny, allow], post('/open')), { allowed: true, policy: 'shop/allow', rule: 1 });
  t.match(decided([deny, allow], post('/')), {
    allowed: false,
    reason: 'no allow policy matches (1 considered)',
  });
  t.match(decided([deny], post('/')), { allowed: true, reason: /^no deny policy matches \(1 considered\)/ });
  t.equal(
    decided([policy('AUDIT', [{}]), policy('CUSTOM', [{}])], asked()).allowed,
    true,
    'not theirs to decide',
  );
});

t.test('absent and empty', async t => {
  t.equal(decided([policy('ALLOW', [])], asked()).allowed, false, 'no rules: nothing is allowed');
  t.equal(decided([policy('ALLOW', [{}])], asked()).allowed, true, 'an empty rule matches everything');
  t.same(outcomes({ from: [] }, asked()), unclear);
  t.same(outcomes({ to: [{ operation: {} }] }, asked()), unclear);
  t.same(outcomes(to({ methods: [], paths: ['/'] }), asked()), matches, 'an empty list beside another');
  t.same(outcomes({ when: [] }, asked()), matches);
});

t.test('sources', async t => {
  const cases: readonly [SourceSpec, typeof matches][] = [
    [{ principals: ['cluster.local/ns/shop/sa/front'] }, matches],
    [{ principals: ['*/sa/front'] }, matches],
    [{ principals: ['cluster.local/ns/bank/*'] }, misses],
    [{ notPrincipals: ['*'] }, misses],
    [{ namespaces: ['sh*'], notNamespaces: ['bank'] }, matches],
    [{ serviceAccounts: ['front'] }, matches],
    [{ serviceAccounts: ['bank/front'] }, misses],
    [{ trustDomains: ['cluster.local'] }, matches],
    [{ notTrustDomains: ['cluster.local'] }, misses],
    [{ ipBlocks: ['10.0.0.0/24'] }, matches],
    [{ notIpBlocks: ['10.0.0.7'] }, misses],
    [{ remoteIpBlocks: ['192.0.2.0/24'] }, matches],
    [{ notRemoteIpBlocks: ['192.0.2.1'] }, misses],
    [{ requestPrincipals: ['*'] }, misses],
    [{ notRequestPrincipals: ['*'] }, matches],
  ];
  for (const [source, expected] of cases)
    t.same(outcomes(from(source), asked()), expected, JSON.stringify(source));
  const nowhere = asked('/', { remoteIp: null });
  t.same(
    outcomes(from({ notRemoteIpBlocks: ['192.0.2.1'] }), nowhere),
    unclear,
    'an address that nobody knows',
  );
});

t.test('operations', async t => {
  const cases: readonly [OperationSpec, string, typeof matches][] = [
    [{ methods: ['GET'] }, '/', matches],
    [{ methods: ['get'] }, '/', misses],
    [{ notMethods: ['G*'] }, '/', misses],
    [{ ports: ['80'] }, '/', matches],
    [{ notPorts: ['80'] }, '/', misses],
    [{ hosts: ['WEB'] }, '/', matches],
    [{ hosts: ['web:80', 'other'] }, '/', matches],
    [{ hosts: ['web:81'] }, '/', misses],
    [{ paths: ['/a'] }, '/a', matches],
    [{ paths: ['/a'] }, '/a/', misses],
    [{ paths: ['/a*'] }, '/ab/c', matches],
    [{ paths: ['*.js'] }, '/x/y.js', matches],
    [{ paths: ['*'] }, '/', matches],
    [{ paths: ['/a'] }, '/a?b', matches],
    [{ notPaths: ['/a'] }, '/a', misses],
    [{ paths: ['/a/{*}'] }, '/a/b', matches],
    [{ paths: ['/a/{*}'] }, '/a/b/c', misses],
    [{ paths: ['/a/{*}'] }, '/a/', misses],
    [{ paths: ['/a/{*}/c/{**}'] }, '/a/b/c', matches],
    [{ paths: ['/a/{*}/c/{**}'] }, '/a/b/c/d/e', matches],
    [{ paths: ['/a/{*}/c/{**}'] }, '/a/b/x/d', misses],
    [{ paths: ['/{**}/end'] }, '/end', matches],
    [{ paths: ['/{**}/end'] }, '/x/y/end', matches],
    [{ paths: ['/{**}/end'] }, '/x/end/y', misses],
    [{ paths: ['/a'], methods: ['POST'] }, '/a', misses],
  ];
  for (const [operation, path, expected] of cases)
    t.same(outcomes(to(operation), asked(path)), expected, `${JSON.stringify(operation)} ${path}`);
});

t.test('hosts are one name however they are written', async t => {
  const cases: readonly [string, string, typeof matches][] = [
    ['example.com', 'Example.COM', matches],
    ['example.com', 'example.com.', matches],
    ['example.com', 'example.com:8080', matches],
    ['example.com', 'example.com.:8080', matches],
    ['example.com:*', 'example.com', matches],
    ['*.example.com', 'a.example.com:1', matches],
    ['[fd00::1]', '[FD00::1]:80', matches],
    ['*', '', misses],
  ];
  for (const [host, authority, expected] of cases)
    t.same(
      outcomes(to({ hosts: [host] }), asked('/', { head: head('/', { authority }) })),
      expected,
      authority,
    );
});

t.test('conditions of headers', async t => {
  const having = (...headers: string[]) => asked('/', { head: head('/', { headers }) });
  const admin = when('request.headers[X-Role]', ['admin']);
  t.same(outcomes(admin, having('x-role', 'admin')), matches);
  t.same(outcomes(admin, having('X-ROLE', 'guest')), misses);
  t.same(outcomes(admin, having()), misses);
  t.same(outcomes(when('request.headers[x-role]', ['*']), having('x-role', '')), misses, 'there, and empty');
  t.same(
    outcomes(when('request.headers[x-role]', undefined, ['admin']), having()),
    matches,
    'absent is none of them',
  );
  t.same(outcomes(admin, having('x-role', 'guest', 'x-role', 'admin')), unclear, 'which one counts?');
  t.same(outcomes(admin, having('x_role', 'admin')), unclear, 'some take it for x-role');
  t.same(outcomes(admin, having('x_role', 'guest')), misses);
  t.same(outcomes(admin, having('x-role', 'admin', 'x_role', 'admin')), matches);
  t.same(outcomes(when('request.headers[:method]', ['GET']), having()), matches);
  t.same(outcomes(when('request.headers[host]', ['WEB']), having()), matches);
  t.same(outcomes(when('request.headers[:path]', ['/']), having()), matches);
});

t.test('conditions of tokens', async t => {
  const claims = {
    iss: 'https://id.example',
    sub: 'ann',
    aud: ['a', 'b'],
    azp: 'app',
    groups: ['dev', 'ops'],
    realm: { roles: ['x'], deep: { name: 'y' } },
    admin: true,
  };
  const cases: readonly [AuthorizationRuleSpec, typeof matches][] = [
    [from({ requestPrincipals: ['https://id.example/ann'] }), matches],
    [from({ requestPrincipals: ['https://id.example/*'] }), matches],
    [from({ notRequestPrincipals: ['*'] }), misses],
    [when('request.auth.principal', ['*/ann']), matches],
    [when('request.auth.audiences', ['b']), matches],
    [when('request.auth.presenter', ['app']), matches],
    [when('request.auth.claims[groups]', ['ops']), matches],
    [when('request.auth.claims[groups]', ['none']), misses],
    [when('request.auth.claims[groups]', undefined, ['ops']), misses],
    [when('request.auth.claims[realm][roles]', ['x']), matches],
    [when('request.auth.claims[realm][deep][name]', ['y']), matches],
    [when('request.auth.claims[realm][none]', ['*']), misses],
    [when('request.auth.claims[__proto__]', ['*']), misses],
    [when('request.auth.claims[admin]', ['true']), unclear],
    [when('request.auth.claims[realm]', ['x']), unclear],
  ];
  for (const [rule, expected] of cases)
    t.same(outcomes(rule, asked('/', { claims })), expected, JSON.stringify(rule));
});

t.test('of a connection that is no HTTP, what only requests have is not known', async t => {
  t.same(outcomes(to({ methods: ['GET'] }), tcp), unclear);
  t.same(outcomes(to({ notMethods: ['GET'] }), tcp), unclear);
  t.same(
    outcomes(to({ methods: ['GET'], ports: ['80'] }), tcp),
    unclear,
    'the L4 part of a denial is enforced',
  );
  t.same(outcomes(to({ methods: ['GET'], ports: ['81'] }), tcp), misses);
  t.same(outcomes(from({ notRequestPrincipals: ['*'] }), tcp), unclear);
  t.same(outcomes(from({ principals: ['*'] }), tcp), matches);
  t.same(outcomes(when('connection.sni', ['a.example']), tcp), unclear);
  t.same(outcomes(when('connection.sni', ['A.example']), { ...tcp, sni: 'a.EXAMPLE' }), matches);
  t.same(outcomes(when('connection.sni', ['*']), { ...tcp, sni: '' }), misses, 'TLS without a name');
  t.same(outcomes(when('connection.sni', undefined, ['a.example']), { ...tcp, sni: '' }), matches);
});

t.test('what can not be judged is settled to the side of refusing', async t => {
  const of = (action: 'ALLOW' | 'DENY' | 'CUSTOM', rules: readonly AuthorizationRuleSpec[]) =>
    translateHttpPolicy({
      name: 'p',
      namespace: 'shop',
      annotations: {},
      spec: { action, rules, provider: { name: 'x' } },
      targets: [],
    }).findings.map(({ severity, code, field }) => `${severity} ${code} ${field}`);
  t.same(outcomes(when('experimental.envoy.filters.x', ['a']), asked()), unclear);
  t.same(outcomes(when('nonsense', ['a']), asked()), unclear);
  t.same(outcomes(to({ paths: ['/a*b', '/'] }), asked()), unclear, 'one value is broken');
  t.same(outcomes(to({ notPaths: ['/a*b', '/'] }), asked()), misses, 'of exceptions the rest holds');
  t.same(of('DENY', [when('experimental.envoy.filters.x', ['a'])]), [
    'error unsupported-value spec.rules[0].when[0].key',
  ]);
  t.same(of('ALLOW', [to({ paths: ['/a/../b', '/%61', 'a', '/a/{*}x', '/{**}/{*}', '/a%2Fb'] })]), [
    'error invalid-value spec.rules[0].to[0].operation.paths[0]',
    'error invalid-value spec.rules[0].to[0].operation.paths[1]',
    'error invalid-value spec.rules[0].to[0].operation.paths[2]',
    'error invalid-value spec.rules[0].to[0].operation.paths[3]',
    'error invalid-value spec.rules[0].to[0].operation.paths[4]',
  ]);
  t.same(of('CUSTOM', [from({ requestPrincipals: ['*'] })]), [
    'error unsupported-value spec.rules[0].from[0].source.requestPrincipals',
  ]);
  t.same(of('DENY', []), ['error never-matches spec.rules']);
  const remote = { remoteIpBlocks: ['192.0.2.0/24'] };
  t.same(of('ALLOW', [from(remote)]), [
    'warning forgeable-address spec.rules[0].from[0].source.remoteIpBlocks',
  ]);
  t.same(of('ALLOW', [from({ ...remote, principals: ['*/sa/gateway'] })]), []);
  t.same(of('DENY', [from(remote)]), []);
  const later = { ...policy('ALLOW', [{}]), action: 'PERMIT' as never };
  t.equal(decided([later], asked()).allowed, false, 'an action of a later version');
  const unheard = {
    ...policy('DENY', []),
    rules: [{ clauses: [[[{ attribute: 'x.y', negated: false, values: ['z'] }]]] }],
  };
  t.equal(decided([unheard], asked()).allowed, false, 'an attribute of a later version');
  t.match(decided([policy('DENY', [{}])], asked('/', { identity: 'spiffe://x' })), { allowed: false });
});

t.test('custom, audit and dry run', async t => {
  const set = new HttpPolicySet([
    policy('CUSTOM', [to({ paths: ['/x'] }), {}]),
    policy('AUDIT', [to({ methods: ['GET'] })]),
    policy('DENY', [to({ paths: ['/x'] })], { dryRun: true }),
  ]);
  t.same(set.customs(asked('/x')), [{ policy: 'shop/custom', rule: 0, provider: 'ext', authorizer: null }]);
  t.same(set.customs(asked('/y')), [{ policy: 'shop/custom', rule: 1, provider: 'ext', authorizer: null }]);
  t.same(set.audits(asked()), [{ policy: 'shop/audit', rule: 0, provider: '', authorizer: null }]);
  t.equal(set.decide(asked('/x')).allowed, true);
  t.match(set.decideDryRun(asked('/x')), { allowed: false, policy: 'shop/deny' });
  t.equal(new HttpPolicySet([policy('DENY', [{}])]).decideDryRun(asked()), null);
});

t.test('what is about a destination', async t => {
  const named = (name: string, targets: ReturnType<typeof policy>['targets']) => ({
    ...policy('DENY', [{}], { name }),
    targets,
  });
  const policies = new HttpPolicies({ namespace: 'shop', name: 'wp' });
  policies.replace([named('a', [{ kind: 'Service', key: 's/a' }])]);
  t.equal(policies.for(['s/a']).isEmpty, false);
  t.equal(policies.for(['s/b', 's/a']).isEmpty, false);
  t.equal(policies.for(['s/b']).isEmpty, true);
  policies.replace([named('a', [{ kind: 'Gateway', namespace: 'shop', name: 'wp' }])]);
  t.equal(policies.for([]).isEmpty, false);
  policies.replace([named('a', [{ kind: 'Gateway', namespace: 'bank', name: 'wp' }])]);
  t.equal(policies.for([]).isEmpty, true);
  policies.replace([named('a', [{ kind: 'GatewayClass' }])]);
  t.equal(policies.for(['s/b']).isEmpty, false);
  policies.replace([named('a', [{ kind: 'Something' } as never])]);
  t.equal(policies.for(['s/b']).isEmpty, false, 'a target of a later version may be this one');
});

t.test('it explains itself', async t => {
  const set = new HttpPolicySet([
    policy('DENY', [to({ paths: ['/admin*'] }), from({ notNamespaces: ['shop'] })]),
    policy('ALLOW', [to({ methods: ['POST'] }), when('request.headers[x]', ['y']), {}]),
  ]);
  t.same(
    set.explain(asked()).map(({ rule, hit, reason }) => `${hit} ${rule}: ${reason}`),
    [
      'false DENY policy shop/deny rule 0: request.path is "/", none of /admin*',
      'false DENY policy shop/deny rule 1: source.namespace is "shop", one of shop',
      'false ALLOW policy shop/allow rule 0: request.method is "GET", none of POST',
      'false ALLOW policy shop/allow rule 1: request.headers[x] is absent, none of y',
      'true ALLOW policy shop/allow rule 2: matches',
    ],
  );
  t.match(set.explain(asked('//admin')).at(0), { hit: true, reason: 'matches what can not be judged' });
});
