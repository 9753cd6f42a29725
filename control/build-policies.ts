/**
 * Policies: which there are, which workloads each is about, and what somebody should know about one that is not in force
 * where they may think it is. What a policy means is model/authorization-policy.ts and model/peer-authentication.ts.
 */
import { translateAuthorizationPolicy } from '../model/authorization-policy.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import { peerAuthenticationPolicies } from '../model/peer-authentication.ts';
import { type Authorization, policyKey } from '../model/policy.ts';
import type { LabelIndex } from './build-endpoints.ts';
import type { Objects, Report } from './build-objects.ts';
import type { PodEntry } from './build-pods.ts';
import { type Located, type LocatedObject, compareLocated } from './located.ts';

export interface Policies {
  /** Sorted by key. */
  readonly policies: readonly Authorization[];
  /** Sorted keys of the policies whose selector chose the workload of a uid. */
  readonly namesOf: (uid: string) => readonly string[];
}

export interface PoliciesInput {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly pods: readonly PodEntry[];
  readonly index: LabelIndex;
}

export function policiesOf(input: PoliciesInput, report: Report): Policies {
  const { pods } = input;
  const names = new Map<string, Set<string>>();
  const attach = (pod: PodEntry, key: string): void => {
    const all = names.get(pod.uid);
    if (all === undefined) names.set(pod.uid, new Set([key]));
    else all.add(key);
  };

  const authorizations = authorizationPolicies(input, attach, report);
  const peer = peerAuthentications(input, report);
  for (const pod of pods) {
    if (pod.hostNetwork) continue;
    for (const key of peer.namesFor({ namespace: pod.pod.namespace, labels: pod.labels })) attach(pod, key);
  }
  const policies = [...authorizations, ...peer.policies];
  return {
    policies: policies.toSorted((a, b) => (policyKey(a) < policyKey(b) ? -1 : 1)),
    namesOf: uid => [...(names.get(uid) ?? [])].toSorted(),
  };
}

function authorizationPolicies(
  input: PoliciesInput,
  attach: (pod: PodEntry, key: string) => void,
  report: Report,
): Authorization[] {
  const { objects, config } = input;
  const policies: Authorization[] = [];
  for (const object of objects.all('AuthorizationPolicy')) {
    const { name, namespace, value } = object;
    const { policy, selector, findings } = translateAuthorizationPolicy({
      name,
      namespace,
      rootNamespace: config.rootNamespace,
      annotations: value.metadata.annotations,
      spec: value.spec,
    });
    for (const { severity, code, field, message } of findings) report(object, severity, code, field, message);
    if (policy === null) continue;
    policies.push(policy);
    const chosen = chosenBy(object, selector, input);
    if (selector !== null) for (const pod of chosen) attach(pod, policyKey(policy));
    reportReach(object, selector, chosen, input, report);
  }
  return policies;
}

function peerAuthentications({ objects, config, pods, index }: PoliciesInput, report: Report) {
  const all = objects.all('PeerAuthentication');
  const inputs = all.map(({ name, namespace, value }) => ({
    name,
    namespace,
    creationTimestamp: value.metadata.creationTimestamp ?? null,
    spec: value.spec,
  }));
  const result = peerAuthenticationPolicies(inputs, config.rootNamespace);
  for (const { object: key, severity, code, field, message } of result.findings) {
    const object = all.find(({ namespace, name }) => `${namespace}/${name}` === key);
    if (object !== undefined) report(object, severity, code, field, message);
  }
  const choosing = new Map<PodEntry, Located<'PeerAuthentication'>[]>();
  for (const object of all) {
    const selector = nonEmpty(object.value.spec.selector?.matchLabels);
    // Those of the root namespace with a selector are in force nowhere, which is reported above.
    if (selector !== null && object.namespace === config.rootNamespace) continue;
    const chosen = chosenBy(object, selector, { objects, config, pods, index });
    reportReach(object, selector, chosen, { objects, config, pods, index }, report);
    if (selector === null) continue;
    for (const pod of chosen) choosing.set(pod, [...(choosing.get(pod) ?? []), object]);
  }
  reportOverlaps(choosing, report);
  return result;
}

/** The pods a policy is about. In the root namespace a selector reaches all namespaces, and no selector the whole mesh. */
function chosenBy(
  object: LocatedObject,
  selector: Readonly<Record<string, string>> | null,
  { objects, config, pods, index }: PoliciesInput,
): readonly PodEntry[] {
  if (object.namespace !== config.rootNamespace)
    return index.select(object.namespace, selector ?? {}).filter(inOwnNetwork);
  if (selector === null) return pods.filter(inOwnNetwork);
  const namespaces = new Set(objects.all('Pod').map(({ namespace }) => namespace));
  return [...namespaces].flatMap(namespace => index.select(namespace, selector)).filter(inOwnNetwork);
}

function inOwnNetwork(pod: PodEntry): boolean {
  return !pod.hostNetwork;
}

/** A policy that is about nobody, or about pods at which nobody enforces it. */
function reportReach(
  object: LocatedObject,
  selector: Readonly<Record<string, string>> | null,
  chosen: readonly PodEntry[],
  { config }: PoliciesInput,
  report: Report,
): void {
  const field = selector === null ? '' : 'spec.selector';
  if (chosen.length === 0) {
    if (selector === null && object.namespace === config.rootNamespace) return;
    const where =
      selector === null ? `there is no pod in namespace ${object.namespace}` : 'its selector chooses no pod';
    report(object, 'warning', 'policy-without-workloads', field, `is in force nowhere: ${where}`);
    return;
  }
  const open = chosen.filter(pod => !pod.tunnelled);
  const [first] = open;
  if (first === undefined || (selector === null && open.length < chosen.length)) return;
  const who =
    open.length === 1 ? `pod ${nameOf(first)} is` : `${open.length} pods, among them ${nameOf(first)}, are`;
  report(
    object,
    'warning',
    'policy-not-enforced',
    field,
    `is not enforced everywhere: ${who} not in the mesh`,
  );
}

/** Several PeerAuthentications that choose one pod: only one of them counts, which is easily not the one that was meant. */
function reportOverlaps(
  choosing: ReadonlyMap<PodEntry, readonly Located<'PeerAuthentication'>[]>,
  report: Report,
): void {
  const overlapping = new Map<
    Located<'PeerAuthentication'>,
    { pod: PodEntry; other: Located<'PeerAuthentication'> }
  >();
  for (const [pod, objects] of choosing) {
    for (const object of objects) {
      const other = objects.find(candidate => candidate !== object);
      if (other !== undefined && !overlapping.has(object)) overlapping.set(object, { pod, other });
    }
  }
  for (const [object, { pod, other }] of [...overlapping].toSorted(([a], [b]) => compareLocated(a, b))) {
    const message = `chooses pod ${nameOf(pod)} like PeerAuthentication ${other.namespace}/${other.name}: only the older one counts`;
    report(object, 'warning', 'overlapping-selectors', 'spec.selector', message);
  }
}

function nonEmpty(
  selector: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> | null {
  return selector === undefined || Object.keys(selector).length === 0 ? null : selector;
}

function nameOf({ pod }: PodEntry): string {
  return `${pod.namespace}/${pod.name}`;
}
