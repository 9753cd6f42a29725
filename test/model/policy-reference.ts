/**
 * The policy engine against an independent evaluator: the semantics written down once more, the slow and obvious way.
 */
import * as fc from 'fast-check';
import t from 'tap';
import { decide, decideDryRun } from '../../model/policy.ts';
import type { Authorization, Match, PolicyConnection, Rule, StringMatch } from '../../model/policy.ts';
import { emptyMatch } from '../../model/authorization-attributes.ts';

// Few values, so that matches are as likely as misses.
const trustDomains = ['td', 'cluster.local'];
const namespaces = ['shop', 'bank', 's'];
const accounts = ['web', 'db'];
const ips = ['10.0.0.1', '10.0.0.2', '10.9.0.1', '192.168.1.1', 'fd00::1', 'fd00::2'];
const ports = [80, 81, 8080];

function bitsOf(ip: string): string {
  if (!ip.includes(':'))
    return ip
      .split('.')
      .map(o => Number(o).toString(2).padStart(8, '0'))
      .join('');
  const [head = '', tail = ''] = ip.split('::');
  return (
    head
      .split(':')
      .map(g => Number.parseInt(g, 16).toString(2).padStart(16, '0'))
      .join('')
      .padEnd(112, '0') + Number.parseInt(tail, 16).toString(2).padStart(16, '0')
  );
}

function referenceMatch(m: Match, c: PolicyConnection): boolean {
  const [td = '', , ns = '', , sa = ''] = c.sourceIdentity?.slice('spiffe://'.length).split('/') ?? [];
  const text =
    (value: string) =>
    (p: StringMatch): boolean => {
      if (c.sourceIdentity === null) return false;
      if (p.kind === 'presence') return true;
      if (p.kind === 'prefix') return value.indexOf(p.value) === 0;
      return p.kind === 'exact' ? value === p.value : value.slice(-p.value.length) === p.value;
    };
  const inside =
    (ip: string) =>
    (cidr: { address: string; length: number }): boolean =>
      ip.includes(':') === cidr.address.includes(':') &&
      bitsOf(ip).slice(0, cidr.length) === bitsOf(cidr.address).slice(0, cidr.length);
  const account = (a: { namespace: string; serviceAccount: string }): boolean =>
    c.sourceIdentity !== null && a.namespace === ns && a.serviceAccount === sa;
  const fields: { readonly size: number; readonly holds: boolean }[] = [];
  const field = <T>(positive: readonly T[], negative: readonly T[], test: (value: T) => boolean): void => {
    fields.push({ size: positive.length, holds: positive.some(value => test(value)) });
    fields.push({ size: negative.length, holds: !negative.some(value => test(value)) });
  };
  field(m.principals, m.notPrincipals, text(`${td}/ns/${ns}/sa/${sa}`));
  field(m.namespaces, m.notNamespaces, text(ns));
  field(m.serviceAccounts, m.notServiceAccounts, account);
  field(m.sourceIps, m.notSourceIps, inside(c.sourceIp));
  field(m.destinationIps, m.notDestinationIps, inside(c.destinationIp));
  field(m.destinationPorts, m.notDestinationPorts, port => port === c.destinationPort);
  const given = fields.filter(({ size }) => size > 0);
  return given.length > 0 && given.every(({ holds }) => holds);
}

function referenceRule(rule: Rule, c: PolicyConnection): boolean {
  return rule.clauses.every(({ matches }) => matches.length === 0 || matches.some(m => referenceMatch(m, c)));
}

interface Verdict {
  readonly allowed: boolean;
  readonly policy: string | null;
  readonly rule: number | null;
}

function reference(policies: readonly Authorization[], c: PolicyConnection): Verdict {
  for (const action of ['DENY', 'ALLOW'] as const) {
    for (const policy of policies.filter(p => p.action === action)) {
      const rule = policy.rules.findIndex(r => referenceRule(r, c));
      if (rule >= 0)
        return { allowed: action === 'ALLOW', policy: `${policy.namespace}/${policy.name}`, rule };
    }
  }
  return { allowed: !policies.some(p => p.action === 'ALLOW'), policy: null, rule: null };
}

const some = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(values, { minLength: 1, maxLength: 3 });
const principal = fc
  .tuple(fc.constantFrom(...trustDomains), fc.constantFrom(...namespaces), fc.constantFrom(...accounts))
  .map(([td, ns, sa]) => `${td}/ns/${ns}/sa/${sa}`);
const pattern = (values: fc.Arbitrary<string>): fc.Arbitrary<StringMatch> =>
  fc.oneof(
    { weight: 4, arbitrary: values.map(value => ({ kind: 'exact', value }) as const) },
    values.map(value => ({ kind: 'prefix', value: value.slice(0, Math.ceil(value.length / 2)) }) as const),
    values.map(value => ({ kind: 'suffix', value: value.slice(Math.floor(value.length / 2)) }) as const),
    fc.constant({ kind: 'presence' } as const),
  );
/** Also the ends at which people cut principals: after the namespace, and before it. */
const principalPattern = fc.oneof(
  pattern(principal),
  principal.map(value => ({ kind: 'prefix', value: value.slice(0, value.indexOf('/sa/') + 1) }) as const),
  principal.map(value => ({ kind: 'suffix', value: value.slice(value.indexOf('/ns/')) }) as const),
);
const cidr = fc
  .constantFrom(...ips)
  .chain(address =>
    fc
      .oneof(fc.constant(address.includes(':') ? 128 : 32), fc.nat(address.includes(':') ? 128 : 32))
      .map(length => ({ address, length })),
  );
const account = fc.record({
  namespace: fc.constantFrom(...namespaces),
  serviceAccount: fc.constantFrom(...accounts),
});
const port = fc.constantFrom(...ports);
const field = fc.oneof<fc.Arbitrary<Partial<Match>>[]>(
  some(principalPattern).map(principals => ({ principals })),
  some(principalPattern).map(notPrincipals => ({ notPrincipals })),
  some(pattern(fc.constantFrom(...namespaces))).map(namespaces => ({ namespaces })),
  some(pattern(fc.constantFrom(...namespaces))).map(notNamespaces => ({ notNamespaces })),
  some(account).map(serviceAccounts => ({ serviceAccounts })),
  some(account).map(notServiceAccounts => ({ notServiceAccounts })),
  some(cidr).map(sourceIps => ({ sourceIps })),
  some(cidr).map(notSourceIps => ({ notSourceIps })),
  some(cidr).map(destinationIps => ({ destinationIps })),
  some(cidr).map(notDestinationIps => ({ notDestinationIps })),
  some(port).map(destinationPorts => ({ destinationPorts })),
  some(port).map(notDestinationPorts => ({ notDestinationPorts })),
);
const match = fc
  .array(field, { maxLength: 3 })
  .map(fields => Object.assign(emptyMatch(), ...fields) as Match);
const rule = fc.record({
  clauses: fc.array(fc.record({ matches: fc.array(match, { maxLength: 3 }) }), { maxLength: 3 }),
});
const policies = fc
  .array(
    fc.record({
      action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
      rules: fc.array(rule, { maxLength: 3 }),
      dryRun: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
    }),
    { maxLength: 6 },
  )
  .map(all =>
    all.map((given, i): Authorization => ({
      ...given,
      name: `p${i}`,
      namespace: 'shop',
      scope: 'NAMESPACE',
    })),
  );
const connection = fc.record({
  sourceIdentity: fc.option(principal.map(text => `spiffe://${text}`)),
  sourceIp: fc.constantFrom(...ips),
  destinationIp: fc.constantFrom(...ips),
  destinationPort: port,
});

t.test('the engine decides as the reference does, naming the same policy and rule', async t => {
  let allowed = 0;
  let named = 0;
  fc.assert(
    fc.property(policies, connection, (policies, c) => {
      const expected = reference(
        policies.filter(p => !p.dryRun),
        c,
      );
      const { reason, ...verdict } = decide(policies, c);
      if (expected.allowed) allowed++;
      if (expected.policy !== null) named++;
      const trial = decideDryRun(policies, c);
      const sameTrial = policies.some(p => p.dryRun)
        ? trial !== null && trial.allowed === reference(policies, c).allowed
        : trial === null;
      return sameTrial && reason !== '' && JSON.stringify(verdict) === JSON.stringify(expected);
    }),
    { numRuns: 10_000 },
  );
  t.ok(allowed > 2000 && allowed < 8000, `the cases are mixed: ${allowed} of 10000 allowed`);
  t.ok(named > 2000, `${named} decided by a rule`);
});
