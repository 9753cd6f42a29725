/**
 * What the status of a BackendTLSPolicy says about each Service that it targets: whether it is in force there, and whether
 * what it refers to exists. Pure; status.ts writes it. Entries of other controllers stay as they are.
 *
 * The ancestor is the Service itself, since no Gateway stands between it and its clients. A Service whose requests pass no
 * waypoint is none of ours: some Gateway may follow the policy.
 */
import { gatewayController } from '../../model/kinds/gateway.ts';
import type { Finding } from '../finding.ts';
import { type Condition, type Verdict, renewed } from './conditions.ts';
import { type OwnObject, record } from './own-object.ts';
import { messageOf, type RouteKnowledge } from './route-status.ts';

/** Gateway API takes no more. */
const maxAncestors = 16;

/** Findings by which a policy is not in force, and what its status calls them. */
const refused: ReadonlyMap<string, string> = new Map([
  ['no-ca-certificate', 'NoValidCACertificate'],
  ['invalid-tls-policy', 'Invalid'],
]);
/** The same for one target of it. */
const refusedAt: ReadonlyMap<string, string> = new Map([
  ['conflicting-policy', 'Conflicted'],
  ['unknown-target', 'TargetNotFound'],
]);
const unresolved: ReadonlyMap<string, string> = new Map([
  ['invalid-ca-ref', 'InvalidCACertificateRef'],
  ['invalid-ca-kind', 'InvalidKind'],
]);

/** `status.ancestors` as it should be; null when it is so already. */
export function policyAncestors(
  object: OwnObject,
  knowledge: RouteKnowledge,
  now: string,
): readonly unknown[] | null {
  const { ancestors } = object.status;
  const present: readonly unknown[] = Array.isArray(ancestors) ? ancestors : [];
  const others = present.filter(entry => record(entry)['controllerName'] !== gatewayController);
  const known = new Map(
    present.filter(entry => !others.includes(entry)).map(entry => [identityOf(entry), entry]),
  );
  let isNews = known.size !== present.length - others.length;
  const ours: { ancestorRef: unknown; controllerName: string; conditions: readonly Condition[] }[] = [];
  for (const [index, target] of object.targetRefs.entries()) {
    if (ours.length + others.length >= maxAncestors) break;
    const { group = '', kind, name, sectionName } = record(target);
    if (kind !== 'ServiceEntry' && !knowledge.hasWaypoint(object.namespace, String(name))) continue;
    const section = sectionName === undefined ? {} : { sectionName };
    const ancestorRef = { group, kind, namespace: object.namespace, name, ...section };
    const entry = { ancestorRef, controllerName: gatewayController };
    const { conditions: before } = record(known.get(identityOf(entry)));
    const had: readonly unknown[] = Array.isArray(before) ? before : [];
    const verdicts = [accepted(object, index, knowledge.built), resolved(knowledge.built)];
    const { conditions, isNews: isOther } = renewed(had, verdicts, object.generation, now);
    isNews ||= isOther || had.length !== conditions.length;
    ours.push({ ...entry, conditions });
  }
  isNews ||= ours.length !== known.size;
  return isNews ? [...others, ...ours] : null;
}

/** Whether two entries are about the same ancestor. */
function identityOf(entry: unknown): string {
  const { group, kind, namespace, name, sectionName } = record(record(entry)['ancestorRef']);
  return JSON.stringify([group, kind, namespace, name, sectionName]);
}

function accepted({ findings }: OwnObject, index: number, built: readonly Finding[]): Verdict {
  const wrong = findings.filter(({ severity }) => severity === 'error');
  const here = `spec.targetRefs[${index}]`;
  const against: readonly (readonly [reason: string, findings: readonly Finding[]])[] = [
    ['Invalid', wrong],
    ...[...refusedAt].map(
      ([code, reason]) => [reason, built.filter(each => each.code === code && each.field === here)] as const,
    ),
    ...[...refused].map(([code, reason]) => [reason, built.filter(each => each.code === code)] as const),
  ];
  for (const [reason, said] of against)
    if (said.length > 0) return { type: 'Accepted', status: 'False', reason, message: messageOf(said) };
  return { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'in force' };
}

function resolved(built: readonly Finding[]): Verdict {
  const against = built.filter(({ code }) => unresolved.has(code));
  const [first] = against;
  if (first === undefined) {
    const message = 'every reference leads to certificates';
    return { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message };
  }
  const reason = unresolved.get(first.code) ?? 'InvalidCACertificateRef';
  return { type: 'ResolvedRefs', status: 'False', reason, message: messageOf(against) };
}
