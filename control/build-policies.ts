/**
 * Policies: which there are, which workloads each is about, and what somebody should know about one that is not in force
 * where they may think it is. What a policy means is model/authorization-policy.ts and model/peer-authentication.ts.
 */
import { translateAuthorizationPolicy } from '../model/authorization-policy.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import {
  type PeerAuthenticationInput,
  type PeerAuthenticationResult,
  peerAuthenticationPolicies,
} from '../model/peer-authentication.ts';
import { type Authorization, policyKey } from '../model/policy.ts';
import type { FindingStore } from './build-findings.ts';
import { type LabelIndex, SelectorIndex } from './build-labels.ts';
import type { Objects } from './build-objects.ts';
import type { PodChange, PodEntry } from './build-pods.ts';
import { PolicyReach } from './build-policy-reach.ts';
import { type Located, compareLocated, objectName } from './located.ts';

type Labels = Readonly<Record<string, string>>;

/** Names an AuthorizationPolicy or PeerAuthentication. */
export interface PolicyRef {
  readonly kind: 'AuthorizationPolicy' | 'PeerAuthentication';
  readonly namespace: string;
  readonly name: string;
}

export interface PolicyBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
  readonly podsByLabel: LabelIndex<PodEntry>;
}

/** What changed: policies by key, and pods by uid that policies name them differently for. */
export interface PolicyChanges {
  readonly policies: ReadonlySet<string>;
  readonly pods: ReadonlySet<string>;
}

export class PolicyBook {
  readonly #options: PolicyBookOptions;
  readonly #policies = new Map<string, Authorization>();
  /** Those of pods, by `A` or `P` and their name. */
  readonly #selectors = new SelectorIndex();
  readonly #reach: PolicyReach;
  /** By namespace, of those that have PeerAuthentications. */
  readonly #peers = new Map<string, PeerAuthenticationResult>();
  /** What holds in all other namespaces. */
  #peersElsewhere: PeerAuthenticationResult;
  readonly #changed = new Set<string>();
  readonly #pods = new Set<string>();

  constructor(options: PolicyBookOptions) {
    this.#options = options;
    this.#reach = new PolicyReach({ ...options, selectors: this.#selectors });
    this.#peersElsewhere = peerAuthenticationPolicies([], options.config.rootNamespace);
  }

  get(key: string): Authorization | null {
    return this.#policies.get(key) ?? null;
  }

  /** Sorted keys of the policies whose selector chose a pod. */
  namesOf(pod: PodEntry): readonly string[] {
    if (pod.hostNetwork) return noNames;
    const names = new Set(this.#peersOf(pod.namespace).namesFor(pod));
    for (const id of this.#selectors.choosing(pod)) {
      const key = id.slice(2);
      if (id.startsWith('A') && this.#policies.has(key)) names.add(key);
    }
    return names.size === 0 ? noNames : [...names].sort();
  }

  /** Takes in that policies and pods are others than before. Pods are in the label index already. */
  apply(refs: Iterable<PolicyRef>, pods: readonly PodChange[]): PolicyChanges {
    const peers = new Set<string>();
    this.#reach.podsChanged(pods);
    for (const ref of refs) {
      if (ref.kind === 'AuthorizationPolicy') this.#authorizationChanged(ref);
      else {
        peers.add(ref.namespace);
        this.#peerChanged(ref);
      }
    }
    if (peers.has(this.#options.config.rootNamespace)) this.#allPeersChanged();
    else for (const namespace of peers) this.#peersChanged(namespace);
    this.#reportOverlaps(peers, pods);
    this.#reach.report();
    const changes = { policies: new Set(this.#changed), pods: new Set(this.#pods) };
    this.#changed.clear();
    this.#pods.clear();
    return changes;
  }

  #authorizationChanged(ref: PolicyRef): void {
    const { objects, config, findings } = this.#options;
    const { namespace, name } = ref;
    const key = `${namespace}/${name}`;
    const object = objects.get('AuthorizationPolicy', namespace, name);
    this.#changed.add(key);
    const old = this.#selectors.get(`A ${key}`);
    if (old !== null) this.#chosenChanged(old.namespace, old.selector);
    this.#selectors.delete(`A ${key}`);
    this.#policies.delete(key);
    this.#reach.delete(`A ${key}`);
    if (object === null) {
      findings.put('policy', objectName(ref), []);
      return;
    }
    findings.about('policy', object, report => {
      const {
        policy,
        selector,
        findings: all,
      } = translateAuthorizationPolicy({
        name,
        namespace,
        rootNamespace: config.rootNamespace,
        annotations: object.value.metadata.annotations,
        spec: object.value.spec,
      });
      for (const { severity, code, field, message } of all) report(object, severity, code, field, message);
      if (policy === null) return;
      this.#policies.set(key, policy);
      if (selector !== null) {
        const scope = namespace === config.rootNamespace ? null : namespace;
        this.#selectors.set(`A ${key}`, scope, selector);
        this.#chosenChanged(scope, selector);
      }
      this.#reach.set(`A ${key}`, object, selector);
    });
  }

  #peerChanged({ namespace, name }: PolicyRef): void {
    const { objects, config } = this.#options;
    const id = `P ${namespace}/${name}`;
    const object = objects.get('PeerAuthentication', namespace, name);
    const labels = object?.value.spec.selector?.matchLabels ?? {};
    const selector = Object.keys(labels).length === 0 ? null : labels;
    this.#selectors.delete(id);
    this.#reach.delete(id);
    if (object === null) {
      for (const aspect of ['policy', 'overlaps'] as const)
        this.#options.findings.put(aspect, `PeerAuthentication ${namespace}/${name}`, []);
      return;
    }
    if (selector !== null) {
      // Those of the root namespace with a selector are in force nowhere, which is reported where they are read.
      if (namespace === config.rootNamespace) return;
      this.#selectors.set(id, namespace, selector);
    }
    this.#reach.set(id, object, selector);
  }

  #allPeersChanged(): void {
    const { objects, config, podsByLabel } = this.#options;
    const namespaces = new Set([...this.#peers.keys(), config.rootNamespace]);
    for (const { namespace } of objects.all('PeerAuthentication')) namespaces.add(namespace);
    this.#peersElsewhere = peerAuthenticationPolicies(
      [...objects.in('PeerAuthentication', config.rootNamespace)].map(peerInput),
      config.rootNamespace,
    );
    for (const namespace of namespaces) this.#peersChanged(namespace);
    for (const namespace of podsByLabel.namespaces())
      for (const { uid } of podsByLabel.in(namespace)) this.#pods.add(uid);
  }

  #peersChanged(namespace: string): void {
    const { objects, config, findings, podsByLabel } = this.#options;
    const own = [...objects.in('PeerAuthentication', namespace)];
    const root =
      namespace === config.rootNamespace ? [] : [...objects.in('PeerAuthentication', config.rootNamespace)];
    const before = this.#peers.get(namespace)?.policies ?? [];
    const now = peerAuthenticationPolicies([...own, ...root].map(peerInput), config.rootNamespace);
    if (own.length === 0) this.#peers.delete(namespace);
    else this.#peers.set(namespace, now);
    for (const object of own) {
      findings.about('policy', object, report => {
        for (const { object: key, severity, code, field, message } of now.findings)
          if (key === `${namespace}/${object.name}`) report(object, severity, code, field, message);
      });
    }
    for (const policy of before) this.#peerPolicy(policy, false);
    for (const policy of own.length === 0 ? [] : now.policies) this.#peerPolicy(policy, true);
    for (const { uid } of podsByLabel.in(namespace)) this.#pods.add(uid);
  }

  /** One of them, the refusal of all plaintext, is the same for every namespace that has any PeerAuthentication. */
  #peerPolicy(policy: Authorization, isThere: boolean): void {
    const key = policyKey(policy);
    this.#changed.add(key);
    if (isThere) this.#policies.set(key, policy);
    else if (
      ![...this.#peers.values()].some(({ policies }) => policies.some(other => policyKey(other) === key))
    )
      this.#policies.delete(key);
  }

  #peersOf(namespace: string): PeerAuthenticationResult {
    return this.#peers.get(namespace) ?? this.#peersElsewhere;
  }

  #chosenChanged(scope: string | null, selector: Labels): void {
    const { podsByLabel } = this.#options;
    for (const namespace of scope === null ? podsByLabel.namespaces() : [scope])
      for (const { uid } of podsByLabel.select(namespace, selector)) this.#pods.add(uid);
  }

  /** Several PeerAuthentications that choose one pod: only one of them counts, which is easily not the one that was meant. */
  #reportOverlaps(changed: ReadonlySet<string>, pods: readonly PodChange[]): void {
    const { objects, config, findings, podsByLabel } = this.#options;
    const namespaces = new Set(changed);
    for (const { before, after } of pods) {
      const namespace = (before ?? after)?.namespace ?? '';
      if (this.#peers.has(namespace)) namespaces.add(namespace);
    }
    for (const namespace of namespaces) {
      const choosing = [...objects.in('PeerAuthentication', namespace)]
        .filter(object => namespace !== config.rootNamespace && labelsOf(object) !== null)
        .sort(compareLocated);
      for (const object of objects.in('PeerAuthentication', namespace)) {
        findings.about('overlaps', object, report => {
          if (choosing.length < 2 || !choosing.includes(object)) return;
          const chosen = podsByLabel
            .select(namespace, labelsOf(object) ?? {})
            .filter(pod => !pod.hostNetwork);
          for (const pod of chosen.sort((a, b) => (a.uid < b.uid ? -1 : 1))) {
            const ids = new Set(this.#selectors.choosing(pod));
            const other = choosing.find(
              candidate => candidate !== object && ids.has(`P ${namespace}/${candidate.name}`),
            );
            if (other === undefined) continue;
            const message = `chooses pod ${namespace}/${pod.pod.name} like PeerAuthentication ${namespace}/${other.name}: only the older one counts`;
            report(object, 'warning', 'overlapping-selectors', 'spec.selector', message);
            return;
          }
        });
      }
    }
  }
}

const noNames: readonly string[] = [];

function labelsOf({ value }: Located<'PeerAuthentication'>): Labels | null {
  const labels = value.spec.selector?.matchLabels ?? {};
  return Object.keys(labels).length === 0 ? null : labels;
}

function peerInput({ name, namespace, value }: Located<'PeerAuthentication'>): PeerAuthenticationInput {
  const creationTimestamp = value.metadata.creationTimestamp ?? null;
  return { name, namespace, creationTimestamp, spec: value.spec };
}
