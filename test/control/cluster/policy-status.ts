/** What the status of a BackendTLSPolicy says, from what is known about it. */
import t from 'tap';
import type { OwnObject } from '../../../control/cluster/own-object.ts';
import { policyAncestors } from '../../../control/cluster/policy-status.ts';
import type { Finding } from '../../../control/finding.ts';

const now = '2026-01-02T03:04:05Z';
const target = { group: '', kind: 'Service', name: 'web' };

function policy(more: Partial<OwnObject> = {}): OwnObject {
  return {
    served: {
      kind: 'BackendTLSPolicy',
      group: 'gateway.networking.k8s.io',
      apiVersion: 'gateway.networking.k8s.io/v1',
      plural: 'backendtlspolicies',
      namespaced: true,
      hasStatus: true,
    },
    namespace: 'shop',
    name: 'p',
    uid: 'uid-1',
    generation: 2,
    resourceVersion: '7',
    status: {},
    parentRefs: [],
    targetRefs: [target],
    rules: 0,
    findings: [],
    ...more,
  };
}

function finding(code: string, field: string): Finding {
  const place = { file: null, line: null, object: 'BackendTLSPolicy shop/p' };
  return { severity: 'error', code, field, ...place, message: 'why' };
}

interface Entry {
  readonly ancestorRef: unknown;
  readonly controllerName: string;
  readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
}

function said(object: OwnObject, built: readonly Finding[]): string[] {
  const all = (policyAncestors(object, { built, hasWaypoint: () => true }, now) ?? []) as Entry[];
  return all.flatMap(({ conditions }) =>
    conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`),
  );
}

const accepted = 'Accepted=True Accepted';
const resolved = 'ResolvedRefs=True ResolvedRefs';

t.test('each reason that Gateway API has', async t => {
  t.strictSame(said(policy(), []), [accepted, resolved]);
  for (const [code, field, expected] of [
    ['conflicting-policy', 'spec.targetRefs[0]', ['Accepted=False Conflicted', resolved]],
    ['unknown-target', 'spec.targetRefs[0]', ['Accepted=False TargetNotFound', resolved]],
    ['invalid-tls-policy', 'spec.validation.hostname', ['Accepted=False Invalid', resolved]],
    [
      'invalid-ca-ref',
      'spec.validation.caCertificateRefs[0]',
      [accepted, 'ResolvedRefs=False InvalidCACertificateRef'],
    ],
    ['invalid-ca-kind', 'spec.validation.caCertificateRefs[0]', [accepted, 'ResolvedRefs=False InvalidKind']],
  ] as const)
    t.strictSame(said(policy(), [finding(code, field)]), expected, code);
  t.strictSame(
    said(policy(), [finding('invalid-ca-ref', 'a'), finding('no-ca-certificate', 'spec.validation')]),
    ['Accepted=False NoValidCACertificate', 'ResolvedRefs=False InvalidCACertificateRef'],
  );
  t.strictSame(said(policy({ findings: [finding('wrong-type', 'spec')] }), []), [
    'Accepted=False Invalid',
    resolved,
  ]);
});

t.test('a target is judged by itself', async t => {
  const object = policy({ targetRefs: [target, { ...target, name: 'bank' }] });
  t.strictSame(said(object, [finding('conflicting-policy', 'spec.targetRefs[1]')]), [
    accepted,
    resolved,
    'Accepted=False Conflicted',
    resolved,
  ]);
});

t.test('what others write stays, and ours goes with its target', async t => {
  const others = {
    ancestorRef: { kind: 'Gateway', name: 'edge' },
    controllerName: 'example.org/x',
    conditions: [],
  };
  const built = policyAncestors(policy(), { built: [], hasWaypoint: () => true }, now) ?? [];
  const object = policy({ status: { ancestors: [others, ...built] } });
  t.equal(policyAncestors(object, { built: [], hasWaypoint: () => true }, now), null, 'nothing is news');
  t.strictSame(policyAncestors(object, { built: [], hasWaypoint: () => false }, now), [others]);
  t.strictSame(policyAncestors({ ...object, targetRefs: [] }, { built: [], hasWaypoint: () => true }, now), [
    others,
  ]);
  t.equal(
    policyAncestors(policy(), { built: [], hasWaypoint: () => false }, now),
    null,
    'a Service without a waypoint is none of ours',
  );
});
