/** What the status of routes says, from what is known about them. */
import t from 'tap';
import type { OwnObject } from '../../../control/cluster/own-object.ts';
import { routeParents } from '../../../control/cluster/route-status.ts';
import type { Finding } from '../../../control/finding.ts';

const now = '2026-01-02T03:04:05Z';
const earlier = '2026-01-01T00:00:00Z';
const parentRef = { group: '', kind: 'Service', name: 'web' };

function route(more: Partial<OwnObject> = {}): OwnObject {
  return {
    served: {
      kind: 'HTTPRoute',
      group: 'gateway.networking.k8s.io',
      apiVersion: 'gateway.networking.k8s.io/v1',
      plural: 'httproutes',
      namespaced: true,
      hasStatus: true,
    },
    namespace: 'shop',
    name: 'r',
    uid: 'uid-1',
    generation: 2,
    resourceVersion: '7',
    status: {},
    parentRefs: [parentRef],
    targetRefs: [],
    rules: 2,
    findings: [],
    ...more,
  };
}

function finding(code: string, field: string | null, severity: Finding['severity'] = 'error'): Finding {
  return { severity, code, field, file: null, line: null, object: 'HTTPRoute shop/r', message: 'why' };
}

interface Entry {
  readonly conditions: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
    readonly lastTransitionTime: string;
    readonly observedGeneration: number;
  }[];
}

/** The conditions of the only parent. */
function said(object: OwnObject, built: readonly Finding[], hasWaypoint = true): string[] {
  const [entry] = (routeParents(object, { built, hasWaypoint: () => hasWaypoint }, now) ?? []) as Entry[];
  return (entry?.conditions ?? []).map(({ type, status, reason }) => `${type}=${status} ${reason}`);
}

const resolved = 'ResolvedRefs=True ResolvedRefs';
const accepted = 'Accepted=True Accepted';

t.test('one rule that can not be done is named, and the others are in force', async t => {
  const built = [finding('unsupported-route', 'spec.rules[1].filters[0]')];
  t.strictSame(said(route(), built), [accepted, 'PartiallyInvalid=True UnsupportedValue', resolved]);
  const [entry] = routeParents(route(), { built, hasWaypoint: () => true }, now) as Entry[];
  t.match(entry?.conditions[1]?.message, /^Dropped Rule/);
});

t.test('a route of which no rule is left, or of which something is wrong as a whole, is refused', async t => {
  const rules = ['spec.rules[0]', 'spec.rules[1].matches[0]'].map(field => finding('bad-pattern', field));
  t.strictSame(said(route(), rules), ['Accepted=False UnsupportedValue', resolved]);
  t.strictSame(said(route(), [finding('duplicate-object', null)]), [
    'Accepted=False UnsupportedValue',
    resolved,
  ]);
});

t.test('what is wrong with this version itself', async t => {
  t.strictSame(said(route({ findings: [finding('invalid-value', 'spec.rules[0]')] }), []), [
    'Accepted=False UnsupportedValue',
    'ResolvedRefs=Unknown Pending',
  ]);
});

t.test('backends that are none', async t => {
  const field = 'spec.rules[0].backendRefs[0]';
  t.strictSame(said(route(), [finding('invalid-backend', field, 'warning')]), [
    accepted,
    'ResolvedRefs=False InvalidKind',
  ]);
  t.strictSame(said(route(), [finding('unknown-backend', field, 'warning')]), [
    accepted,
    'ResolvedRefs=False BackendNotFound',
  ]);
});

t.test('what has no effect at a parent', async t => {
  t.strictSame(said(route(), [], false), ['Accepted=False NoWaypoint', resolved]);
  t.strictSame(said(route(), [finding('unknown-parent', 'spec.parentRefs[0].name', 'warning')]), [
    'Accepted=False NoMatchingParent',
    resolved,
  ]);
  t.strictSame(said(route(), [finding('unknown-parent', 'spec.parentRefs[1].name', 'warning')]), [
    accepted,
    resolved,
  ]);
});

t.test(
  'what says so already is not written again; a new generation keeps the time of the last transition',
  async t => {
    const knowledge = { built: [], hasWaypoint: () => true };
    const parents = routeParents(route(), knowledge, earlier);
    t.equal(routeParents(route({ status: { parents } }), knowledge, now), null);
    const next = routeParents(route({ status: { parents }, generation: 3 }), knowledge, now) as Entry[];
    t.match(next, [{ conditions: [{ observedGeneration: 3, lastTransitionTime: earlier }, {}] }]);
  },
);

t.test('a route of others is none of ours, unless we have said something of it before', async t => {
  const knowledge = { built: [], hasWaypoint: () => true };
  const parentRefs = [{ name: 'edge' }];
  t.equal(routeParents(route({ parentRefs }), knowledge, now), null);
  const parents = routeParents(route(), knowledge, now);
  t.strictSame(routeParents(route({ parentRefs, status: { parents } }), knowledge, now), []);
});

t.test('a kind that comes before is in force instead', async t => {
  const field = 'spec.parentRefs[0]';
  t.strictSame(said(route(), [finding('route-conflict', field)]), ['Accepted=False Conflicted', resolved]);
  t.strictSame(
    said(route(), [finding('route-conflict', field, 'warning')]),
    [accepted, resolved],
    'at one port',
  );
  t.strictSame(said(route(), [finding('route-conflict', 'spec.parentRefs[1]')]), [accepted, resolved]);
});
