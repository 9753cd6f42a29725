import t from 'tap';
import { conditionsOf } from '../../../control/cluster/conditions.ts';
import type { OwnObject } from '../../../control/cluster/objects.ts';
import type { Finding } from '../../../control/finding.ts';

const now = '2026-01-02T03:04:05Z';
const earlier = '2026-01-01T00:00:00Z';

function object(more: Partial<OwnObject> = {}): OwnObject {
  return {
    served: {
      kind: 'AuthorizationPolicy',
      group: 'culvert.dev',
      apiVersion: 'culvert.dev/v1',
      plural: 'authorizationpolicies',
      namespaced: true,
      hasStatus: true,
    },
    namespace: 'shop',
    name: 'deny',
    uid: 'uid-1',
    generation: 3,
    resourceVersion: '7',
    status: {},
    parentRefs: [],
    targetRefs: [],
    rules: 0,
    findings: [],
    ...more,
  };
}

function finding(code: string, message: string, more: Partial<Finding> = {}): Finding {
  return {
    severity: 'warning',
    code,
    file: null,
    line: null,
    field: null,
    object: 'AuthorizationPolicy shop/deny',
    message,
    ...more,
  };
}

const accepted = {
  type: 'Accepted',
  status: 'True',
  reason: 'Accepted',
  message: 'in force',
  observedGeneration: 3,
  lastTransitionTime: now,
};
const enforced = {
  ...accepted,
  type: 'Enforced',
  reason: 'Enforced',
  message: 'enforced at every workload that it is about',
};

t.test('a policy that is in force everywhere', async t => {
  t.strictSame(conditionsOf(object(), [], now), [accepted, enforced]);
});

t.test('what says so already is not written again', async t => {
  const conditions = [accepted, enforced].map(condition => ({ ...condition, lastTransitionTime: earlier }));
  t.equal(conditionsOf(object({ status: { conditions } }), [], now), null);
  t.equal(
    conditionsOf(object({ status: { conditions } }), [finding('unknown-namespace', 'there is none')], now),
    null,
  );
});

t.test('a new generation is written, and the time of the last transition stays', async t => {
  const conditions = [accepted, enforced].map(condition => ({ ...condition, lastTransitionTime: earlier }));
  t.match(conditionsOf(object({ status: { conditions }, generation: 4 }), [], now), [
    { observedGeneration: 4, lastTransitionTime: earlier },
    { observedGeneration: 4, lastTransitionTime: earlier },
  ]);
});

t.test('a version that is refused', async t => {
  const findings = [
    finding('unknown-field', 'unknown field spec.rulse, did you mean rules?', {
      severity: 'error',
      field: 'spec.rulse',
    }),
  ];
  const conditions = [{ ...accepted, lastTransitionTime: earlier }];
  t.match(conditionsOf(object({ findings, status: { conditions } }), [], now), [
    {
      type: 'Accepted',
      status: 'False',
      reason: 'UnknownField',
      message: /^unknown field spec.rulse, did you mean rules\?$/,
      lastTransitionTime: now,
    },
    { type: 'Enforced', status: 'False', reason: 'NotAccepted' },
  ]);
});

t.test('what a node can not enforce, by name', async t => {
  const built = [
    finding('l7-rule-ignored', 'needs HTTP: it never allows', { field: 'spec.rules[0]' }),
    finding('policy-not-enforced', 'is not enforced everywhere: pod shop/web is not in the mesh'),
  ];
  t.match(conditionsOf(object(), built, now), [
    { type: 'Accepted', status: 'True' },
    {
      type: 'Enforced',
      status: 'False',
      reason: 'NotEnforced',
      message:
        'spec.rules[0]: needs HTTP: it never allows; is not enforced everywhere: pod shop/web is not in the mesh',
    },
  ]);
  t.match(conditionsOf(object(), built.slice(1), now), [{}, { reason: 'PolicyNotEnforced' }]);
});

t.test('one whose name is taken is not accepted', async t => {
  const built = [finding('duplicate-object', 'exists already: the first is in force', { severity: 'error' })];
  t.match(conditionsOf(object(), built, now), [{ status: 'False', reason: 'DuplicateObject' }, {}]);
});

t.test('conditions of others stay as they are, and those of another mesh have other names', async t => {
  const theirs = { type: 'ZtunnelAccepted', status: 'True', reason: 'Accepted', message: '' };
  const served = { ...object().served, group: 'security.istio.io', apiVersion: 'security.istio.io/v1' };
  t.match(conditionsOf(object({ served, status: { conditions: [theirs, 'garbage'] } }), [], now), [
    theirs,
    'garbage',
    { type: 'culvert.dev/Accepted' },
    { type: 'culvert.dev/Enforced' },
  ]);
});

t.test('other kinds are only accepted, and messages have an end', async t => {
  const served = { ...object().served, kind: 'MeshConfig' } as const;
  const findings = [finding('invalid-value', 'x'.repeat(10_000), { severity: 'error' })];
  const conditions = conditionsOf(object({ served, findings }), [], now) as { message: string }[];
  t.equal(conditions.length, 1);
  t.ok((conditions[0]?.message.length ?? 0) < 2_100);
});
