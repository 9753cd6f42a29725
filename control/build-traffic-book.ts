/**
 * Which DestinationRules are in force for which services and clients, as they, the services and their endpoints come and go.
 *
 * For the clients of a namespace its own rule, else that of the service's namespace, else that of the root namespace, each
 * as far as it is exported to them; within a namespace the one with the most exact host. Of several with one host the
 * policy of the first is in force, and the subsets of all are.
 */
import { isDeepStrictEqual } from 'node:util';
import type { TrafficPolicySpec } from '../model/kinds/destination-rule.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { L7Change } from '../model/l7.ts';
import { type Service, serviceKey } from '../model/service.ts';
import {
  type ServiceTraffic,
  type TrafficRule,
  type TrafficSubset,
  trafficWithoutRule,
} from '../model/traffic-policy.ts';
import { selects } from '../model/workload.ts';
import type { BackendTlsBook } from './build-backend-tls-book.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import type { TlsAuthor } from './build-endpoint-tls.ts';
import { settingsOf, subsetSettings } from './build-traffic.ts';
import { type Rule, fits, groupsOf, hostOf } from './build-traffic-scope.ts';
import { compareLocated, objectName } from './located.ts';

/** Who the endpoints of services are, for subsets. */
export interface EndpointLabels {
  /** Uids of the endpoints of a service. */
  readonly membersOf: (key: string) => Iterable<string>;
  /** Keys of the services that a workload is an endpoint of. */
  readonly keysOf: (uid: string) => Iterable<string>;
  readonly labelsOf: (uid: string) => Readonly<Record<string, string>> | null;
}

export interface TrafficBookOptions extends EndpointLabels {
  /** TLS that is in force where no rule says anything about it. */
  readonly backendTls: Pick<BackendTlsBook, 'of' | 'size'>;
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
  readonly services: ReadonlyMap<string, Service>;
}

export class TrafficBook {
  readonly #options: TrafficBookOptions;
  readonly #traffic = new Map<string, ServiceTraffic>();
  /** Rules by name, with the host they are about. */
  readonly #rules = new Map<string, { readonly rule: Rule; readonly host: string }>();
  /** Names of rules by host. */
  readonly #byHost = new Map<string, Set<string>>();
  /** Keys of the services that a rule is in force for. */
  readonly #inForce = new Map<string, Set<string>>();
  /** Services whose subsets an endpoint is in, by its uid. */
  readonly #chosen = new Map<string, Set<string>>();
  readonly #withSubsets = new Set<string>();

  constructor(options: TrafficBookOptions) {
    this.#options = options;
  }

  /** Sorted by key. */
  all(): ServiceTraffic[] {
    return [...this.#traffic].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, traffic]) => traffic);
  }

  /**
   * Takes changes in, when services and endpoints are what they are now.
   * @param services keys of those that are others than before
   * @param workloads uids of those whose labels or memberships may be others
   */
  apply(
    changes: readonly ObjectChange[],
    services: Iterable<string>,
    workloads: Iterable<string>,
  ): L7Change[] {
    const dirty = new Set<string>(services);
    const looked = new Set<string>();
    for (const { kind, namespace, name } of changes) {
      if (kind !== 'DestinationRule') continue;
      const key = objectName({ kind, namespace, name });
      looked.add(key);
      for (const service of this.#inForce.get(key) ?? []) dirty.add(service);
      this.#forget(key);
      const rule = this.#options.objects.get('DestinationRule', namespace, name);
      if (rule !== null) for (const service of this.#learn(key, rule)) dirty.add(service);
    }
    if (this.#withSubsets.size > 0) {
      for (const uid of workloads) {
        for (const service of this.#options.keysOf(uid))
          if (this.#withSubsets.has(service)) dirty.add(service);
        for (const service of this.#chosen.get(uid) ?? []) dirty.add(service);
      }
    }
    if (this.#rules.size + this.#traffic.size + this.#options.backendTls.size === 0) return [];
    const changed: L7Change[] = [];
    for (const key of dirty) {
      for (const [rule, keys] of this.#inForce) if (keys.delete(key)) looked.add(rule);
      const before = this.#traffic.get(key) ?? null;
      const resource = this.#renew(key, looked);
      if (resource === null) this.#traffic.delete(key);
      else this.#traffic.set(key, resource);
      if (!isDeepStrictEqual(before, resource)) changed.push({ list: 'traffic', key, resource });
    }
    for (const key of looked) this.#reportReach(key);
    return changed;
  }

  #forget(key: string): void {
    const known = this.#rules.get(key);
    if (known !== undefined) this.#byHost.get(known.host)?.delete(key);
    this.#rules.delete(key);
    this.#inForce.delete(key);
    this.#options.findings.put('traffic', key, []);
    this.#options.findings.put('traffic-reach', key, []);
  }

  /** Returns the keys of the services its host stands for. */
  #learn(key: string, rule: Rule): string[] {
    const { config, findings, services } = this.#options;
    findings.about('traffic', rule, report => {
      const say = sayOf(rule, report);
      const { workloadSelector, trafficPolicy = {}, subsets = [] } = rule.value.spec;
      if (workloadSelector !== undefined)
        say(
          'error',
          'unsupported-value',
          'spec.workloadSelector',
          'not in force: clients have no labels here',
        );
      // What a host with `*.` stands for has names of its own.
      const author = authorOf(rule, hostOf(rule, config.clusterDomain).replace(/^\*\.?/, ''));
      settingsOf(trafficPolicy, author, 'spec.trafficPolicy', say);
      for (const [index, subset] of subsets.entries()) {
        const field = `spec.subsets[${index}].trafficPolicy`;
        subsetSettings(trafficPolicy, subset.trafficPolicy, author, field, say);
      }
    });
    if (rule.value.spec.workloadSelector !== undefined) return [];
    const host = hostOf(rule, config.clusterDomain);
    this.#rules.set(key, { rule, host });
    const named = this.#byHost.get(host);
    if (named === undefined) this.#byHost.set(host, new Set([key]));
    else named.add(key);
    return [...services].filter(([, { hostname }]) => fits(host, hostname)).map(([service]) => service);
  }

  #renew(key: string, looked: Set<string>): ServiceTraffic | null {
    for (const keys of this.#chosen.values()) keys.delete(key);
    this.#withSubsets.delete(key);
    const service = this.#options.services.get(key);
    if (service === undefined) return null;
    const all = [...this.#byHost]
      .filter(([host]) => fits(host, service.hostname))
      .flatMap(([host, names]) => [...names].map(name => ({ name, host })));
    const otherwise = this.#options.backendTls.of(key);
    if (all.length === 0 && otherwise.length === 0) return null;
    const groups = groupsOf(
      all.flatMap(({ name }) => this.#rules.get(name) ?? []),
      service.namespace,
      this.#options.config.rootNamespace,
    );
    const rules = groups.map(({ rules: group, clients }) => {
      for (const rule of group) {
        const name = objectName(rule);
        looked.add(name);
        const keys = this.#inForce.get(name);
        if (keys === undefined) this.#inForce.set(name, new Set([key]));
        else keys.add(key);
      }
      return this.#ruleOf(service, group, clients);
    });
    const isForAll = rules.some(({ clients }) => clients === null);
    if (!isForAll && otherwise.length > 0) rules.push(this.#ruleWithout(service));
    return rules.length === 0 ? null : { service: key, rules };
  }

  /** For those whom no rule is about, where there is TLS. */
  #ruleWithout(service: Service): TrafficRule {
    const otherwise = this.#options.backendTls.of(serviceKey(service));
    const author = { source: '', namespace: '', hostname: service.hostname, otherwise };
    const { policy, ports } = settingsOf({}, author, '', () => {});
    const { balancing } = trafficWithoutRule(service);
    return {
      name: otherwise[0]?.name ?? '',
      clients: null,
      settings: {
        policy: { ...policy, balancing },
        ports: ports.map(each => ({ ...each, policy: { ...each.policy, balancing } })),
      },
      subsets: [],
    };
  }

  #ruleOf(service: Service, group: readonly Rule[], clients: readonly string[] | null): TrafficRule {
    const key = serviceKey(service);
    const [first] = group;
    const otherwise = this.#options.backendTls.of(key);
    const author =
      first === undefined
        ? { source: '', namespace: '', hostname: service.hostname, otherwise }
        : authorOf(first, service.hostname, otherwise);
    const whole = policyOf(group);
    const quiet = (): void => {};
    const subsets = new Map<string, TrafficSubset>();
    for (const rule of group) {
      for (const { name, labels = {}, trafficPolicy } of rule.value.spec.subsets ?? []) {
        if (subsets.has(name)) continue;
        const endpoints = this.#choose(key, labels);
        const settings = subsetSettings(whole, trafficPolicy, author, '', quiet);
        subsets.set(name, { name, endpoints, settings });
      }
    }
    return {
      name: author.source,
      clients,
      settings: settingsOf(whole, author, '', quiet),
      subsets: [...subsets.values()],
    };
  }

  #choose(key: string, labels: Readonly<Record<string, string>>): string[] {
    this.#withSubsets.add(key);
    const { membersOf, labelsOf } = this.#options;
    const uids = [...membersOf(key)].filter(uid => selects(labels, labelsOf(uid) ?? {})).sort();
    for (const uid of uids) {
      const keys = this.#chosen.get(uid);
      if (keys === undefined) this.#chosen.set(uid, new Set([key]));
      else keys.add(key);
    }
    return uids;
  }

  /** A rule that is in force for nothing, or only in part. */
  #reportReach(key: string): void {
    const known = this.#rules.get(key);
    if (known === undefined) return;
    const { rule, host } = known;
    const services = this.#inForce.get(key);
    this.#options.findings.about('traffic-reach', rule, report => {
      const say = sayOf(rule, report);
      if (services === undefined || services.size === 0) {
        const isKnown = [...this.#options.services.values()].some(({ hostname }) => fits(host, hostname));
        const why = isKnown
          ? 'it is exported to no client of the service, or another one is more exact'
          : `there is no service ${host}`;
        say('warning', 'unknown-host', 'spec.host', `in force for nothing: ${why}`);
      }
      const displaced = [...(services ?? [])].flatMap(service =>
        rule.value.spec.trafficPolicy?.tls === undefined ? [] : this.#options.backendTls.of(service),
      );
      for (const name of new Set(displaced.map(each => each.name)))
        say('warning', 'shadowed-policy', 'spec.trafficPolicy.tls', `is in force in place of ${name}`);
      const siblings = [...(this.#byHost.get(host) ?? [])]
        .flatMap(name => this.#rules.get(name)?.rule ?? [])
        .filter(({ namespace }) => namespace === rule.namespace)
        .sort(compareLocated);
      const [holder] = siblings.filter(({ value }) => value.spec.trafficPolicy !== undefined);
      if (holder !== undefined && holder !== rule && rule.value.spec.trafficPolicy !== undefined) {
        const message = `not in force: ${objectName(holder)} says it for the same host already`;
        say('warning', 'shadowed-policy', 'spec.trafficPolicy', message);
      }
    });
  }
}

function authorOf(rule: Rule, hostname: string, otherwise: TlsAuthor['otherwise'] = []): TlsAuthor {
  return { source: objectName(rule), namespace: rule.namespace, hostname, otherwise };
}

function sayOf(rule: Rule, report: Parameters<Parameters<FindingStore['about']>[2]>[0]) {
  return (severity: 'error' | 'warning' | 'info', code: string, field: string, message: string): void =>
    report(rule, severity, code, field, message);
}

/** The policy of the first that has one. */
function policyOf(group: readonly Rule[]): TrafficPolicySpec {
  for (const { value } of group) if (value.spec.trafficPolicy !== undefined) return value.spec.trafficPolicy;
  return {};
}
