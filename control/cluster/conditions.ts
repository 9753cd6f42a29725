/**
 * What the status of an object of the mesh says about it: whether it is accepted, and for policies whether all of it is
 * enforced, with what is not by name. Pure; status.ts writes it.
 */
import type { Finding } from '../finding.ts';
import type { OwnObject } from './objects.ts';

/** A condition of Kubernetes (metav1.Condition). */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}

export type Verdict = Omit<Condition, 'lastTransitionTime' | 'observedGeneration'>;

/** Findings about a policy that mean that some of what it says is in force nowhere, or not everywhere. */
const notEnforced: ReadonlySet<string> = new Set([
  'l7-rule-denies-all',
  'l7-rule-ignored',
  'l7-rule-widened',
  'never-matches',
  'not-applied',
  'overlapping-selectors',
  'policy-not-enforced',
  'policy-without-workloads',
  'unsupported-value',
]);
/** Findings that leave an object out as a whole. */
const notAccepted: ReadonlySet<string> = new Set([
  'duplicate-object',
  'invalid-value',
  'telemetry-conflict',
  'route-conflict',
]);
const policies: ReadonlySet<string> = new Set([
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
]);
/** Findings that Gateway API has a word for (GEP-713: another policy is in force in its place). */
const reasons: ReadonlyMap<string, string> = new Map([
  ['telemetry-conflict', 'Conflicted'],
  ['route-conflict', 'Conflicted'],
]);
/** Kubernetes takes 32 768; a person takes less. */
const maxMessage = 2_000;
const maxReason = 100;

/**
 * The conditions an object of our own kinds should have: those of others as they are, ours as they follow from what is
 * known about it. Null when it has them already.
 * @param built what the builder says about the version that is in force
 * @param now RFC 3339
 */
export function conditionsOf(
  object: OwnObject,
  built: readonly Finding[],
  now: string,
): readonly unknown[] | null {
  const prefix = object.served.group === 'culvert.dev' ? '' : 'culvert.dev/';
  const verdicts = verdictsOf(object, built).map(verdict => ({ ...verdict, type: prefix + verdict.type }));
  const { conditions } = object.status;
  const present: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
  const { conditions: ours, isNews } = renewed(present, verdicts, object.generation, now);
  if (!isNews) return null;
  const types = new Set(verdicts.map(({ type }) => type));
  return [...present.filter(condition => !types.has(typeOf(condition) ?? '')), ...ours];
}

/**
 * Verdicts as conditions, each with the time of its last transition by what is there.
 * @param present conditions that are there, of whatever type
 */
export function renewed(
  present: readonly unknown[],
  verdicts: readonly Verdict[],
  generation: number,
  now: string,
): { readonly conditions: readonly Condition[]; readonly isNews: boolean } {
  const known = new Map(present.map(condition => [typeOf(condition), condition]));
  let isNews = false;
  const conditions = verdicts.map(verdict => {
    const before = known.get(verdict.type) as Partial<Condition> | undefined;
    const next = { ...verdict, observedGeneration: generation };
    const isSame = Object.entries(next).every(([key, value]) => before?.[key as keyof Condition] === value);
    isNews ||= !isSame;
    const isTransition = before?.status !== verdict.status || typeof before.lastTransitionTime !== 'string';
    return { ...next, lastTransitionTime: isTransition ? now : before.lastTransitionTime };
  });
  return { conditions, isNews };
}

function verdictsOf({ served, findings }: OwnObject, built: readonly Finding[]): Verdict[] {
  const refusals = findings.filter(({ severity }) => severity === 'error');
  const left = built.filter(({ severity, code }) => severity === 'error' && notAccepted.has(code));
  const accepted: Verdict[] = [verdict('Accepted', [...refusals, ...left], 'Invalid', 'in force')];
  if (!policies.has(served.kind)) return accepted;
  const gaps = built.filter(({ severity, code }) => severity !== 'info' && notEnforced.has(code));
  const everywhere = 'enforced at every workload that it is about';
  // Of a version that was refused nothing is enforced, and the one before is not what status is about.
  if (refusals.length > 0) {
    const message = 'this version is not in force';
    return [...accepted, { type: 'Enforced', status: 'False', reason: 'NotAccepted', message }];
  }
  return [...accepted, verdict('Enforced', gaps, 'NotEnforced', everywhere)];
}

/** One verdict from what speaks against it. */
function verdict(type: string, against: readonly Finding[], reason: string, good: string): Verdict {
  const [first] = against;
  if (first === undefined) return { type, status: 'True', reason: type, message: good };
  const codes = new Set(against.map(({ code }) => code).filter(code => code !== 'object-refused'));
  const message = against.map(({ field, message }) => withField(field, message)).join('; ');
  return {
    type,
    status: 'False',
    // One word where there is one reason.
    reason:
      codes.size === 1 ? (reasons.get(first.code) ?? camelCase(first.code)).slice(0, maxReason) : reason,
    message: message.length > maxMessage ? `${message.slice(0, maxMessage)}…` : message,
  };
}

/** The field in front of a message that does not begin with it anyway. */
function withField(field: string | null, message: string): string {
  return field === null || message.includes(field) ? message : `${field}: ${message}`;
}

function camelCase(code: string): string {
  return code.replaceAll(/(?:^|-)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function typeOf(condition: unknown): string | null {
  if (typeof condition !== 'object' || condition === null || !('type' in condition)) return null;
  return typeof condition.type === 'string' ? condition.type : null;
}
