/**
 * What the status of a BackendTLSPolicy says about each Service that it targets: whether it is in force there, and whether
 * what it refers to exists. Pure; status.ts writes it.
 *
 * The ancestor is the Service itself, since no Gateway stands between it and its clients. A Service whose requests pass no
 * waypoint is none of ours: some Gateway may follow the policy.
 */
import type { Finding } from '../finding.ts';
import type { Verdict } from './conditions.ts';
import { type OwnObject, record } from './own-object.ts';
import { messageOf, type RouteKnowledge } from './route-status.ts';
import { renewedEntries } from './status-entries.ts';

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
  const wanted = object.targetRefs.flatMap((target, index) => {
    const { group = '', kind, name, sectionName } = record(target);
    if (kind !== 'ServiceEntry' && !knowledge.hasWaypoint(object.namespace, String(name))) return [];
    const section = sectionName === undefined ? {} : { sectionName };
    const ref = { group, kind, namespace: object.namespace, name, ...section };
    return [{ ref, verdicts: [accepted(object, index, knowledge.built), resolved(knowledge.built)] }];
  });
  const { generation, status } = object;
  return renewedEntries(
    { member: 'ancestorRef', present: status['ancestors'], most: maxAncestors, generation },
    wanted,
    now,
  );
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
