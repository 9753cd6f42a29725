/**
 * What the status of a route says about each Service that it is bound to: whether it is in force there, and whether what
 * it refers to exists. Pure; status.ts writes it.
 *
 * Rules that can not be done answer with 500 while the others are in force: that is `PartiallyInvalid`, as Gateway API has
 * it. A Service whose requests pass no waypoint has nobody who would follow the route, so there it is not accepted.
 */
import type { Finding } from '../finding.ts';
import type { Verdict } from './conditions.ts';
import { type OwnObject, record } from './own-object.ts';
import { renewedEntries } from './status-entries.ts';

/** Findings about one of the parents, not about what the route says. */
const ofParents: ReadonlySet<string> = new Set(['unknown-parent', 'route-conflict']);

/** What there is to know beside the route itself. */
export interface RouteKnowledge {
  /** What the builder says about the version that is in force. */
  readonly built: readonly Finding[];
  /** Whether requests to a Service pass a waypoint. */
  readonly hasWaypoint: (namespace: string, name: string) => boolean;
}

/** Gateway API takes no more. */
const maxParents = 32;
const maxMessage = 2_000;
/** Findings about a backend, and what a route's status calls them. */
const unresolved: ReadonlyMap<string, string> = new Map([
  ['unknown-backend', 'BackendNotFound'],
  ['invalid-backend', 'InvalidKind'],
]);

/** `status.parents` as it should be; null when it is so already. */
export function routeParents(
  object: OwnObject,
  knowledge: RouteKnowledge,
  now: string,
): readonly unknown[] | null {
  const wanted = object.parentRefs.flatMap((ref, index) =>
    record(ref)['kind'] === 'Service' ? [{ ref, verdicts: verdictsOf(object, index, knowledge) }] : [],
  );
  const { generation, status } = object;
  return renewedEntries(
    { member: 'parentRef', present: status['parents'], most: maxParents, generation },
    wanted,
    now,
  );
}

function verdictsOf(object: OwnObject, index: number, knowledge: RouteKnowledge): Verdict[] {
  const refused = object.findings.filter(({ severity }) => severity === 'error');
  if (refused.length > 0) {
    const message = `this version is not in force: ${messageOf(refused)}`;
    return [
      { type: 'Accepted', status: 'False', reason: 'UnsupportedValue', message },
      { type: 'ResolvedRefs', status: 'Unknown', reason: 'Pending', message: 'this version is not read' },
    ];
  }
  return [...acceptedAt(object, index, knowledge), resolved(knowledge.built)];
}

/** Whether the route is in force at a parent, and with all its rules. */
function acceptedAt(object: OwnObject, index: number, { built, hasWaypoint }: RouteKnowledge): Verdict[] {
  const refuse = (reason: string, message: string): Verdict[] => [
    { type: 'Accepted', status: 'False', reason, message },
  ];
  const unknown = built.filter(
    ({ code, field }) =>
      code === 'unknown-parent' && field?.startsWith(`spec.parentRefs[${index}].`) === true,
  );
  if (unknown.length > 0) return refuse('NoMatchingParent', messageOf(unknown));
  const conflicts = built.filter(
    ({ code, severity, field }) =>
      code === 'route-conflict' && severity === 'error' && field === `spec.parentRefs[${index}]`,
  );
  if (conflicts.length > 0) return refuse('Conflicted', messageOf(conflicts));
  const { name, namespace = object.namespace } = record(object.parentRefs[index]);
  if (!hasWaypoint(String(namespace), String(name))) {
    const fix = 'label it or its namespace culvert.dev/use-waypoint';
    return refuse('NoWaypoint', `Service ${String(namespace)}/${String(name)} has no waypoint: ${fix}`);
  }
  const faults = built.filter(
    ({ severity, code }) => severity === 'error' && !ofParents.has(code) && !unresolved.has(code),
  );
  const accepted = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'in force' } as const;
  if (faults.length === 0) return [accepted];
  const rules = new Set(faults.map(({ field }) => /^spec\.rules\[\d+\]/.exec(field ?? '')?.[0] ?? null));
  // What is said of the route as a whole, and a route of which no rule is left, is in force nowhere.
  if (rules.has(null) || rules.size >= Math.max(1, object.rules))
    return refuse('UnsupportedValue', messageOf(faults));
  const message = `Dropped Rule: ${messageOf(faults)}`;
  return [accepted, { type: 'PartiallyInvalid', status: 'True', reason: 'UnsupportedValue', message }];
}

function resolved(built: readonly Finding[]): Verdict {
  const against = built.filter(({ code }) => unresolved.has(code));
  const [first] = against;
  if (first === undefined) {
    const message = 'every backend is there';
    return { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message };
  }
  const reason = unresolved.get(first.code) ?? 'BackendNotFound';
  return { type: 'ResolvedRefs', status: 'False', reason, message: messageOf(against) };
}

/** What findings say, in one text. */
export function messageOf(findings: readonly Finding[]): string {
  const message = findings
    .map(({ field, message }) => (field === null ? message : `${field}: ${message}`))
    .join('; ');
  return message.length > maxMessage ? `${message.slice(0, maxMessage)}…` : message;
}
