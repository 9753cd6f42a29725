/**
 * Which BackendTLSPolicy is in force for which service and port, as they, what they target and the ConfigMaps they name come
 * and go.
 *
 * One that names a port comes before one that names the whole Service. Of two with one target the oldest is in force, then
 * the first by name (GEP-713); the other says so.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { FindingStore } from './build-findings.ts';
import type { NamedObject } from './build-credentials.ts';
import { type PolicyTls, policyTls, type TlsPolicy } from './build-backend-tls.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { objectName, type Report } from './located.ts';

export interface BackendTlsBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
}

/** What is in force for a service: for the whole of it (null), or for one of its ports. */
export interface ServiceTls {
  readonly name: string;
  readonly port: number | null;
  readonly result: PolicyTls;
}

type Target = TlsPolicy['value']['spec']['targetRefs'][number];

interface Claim {
  readonly policy: TlsPolicy;
  readonly port: number | null;
}

export class BackendTlsBook {
  readonly #options: BackendTlsBookOptions;
  /** By key of a service; only where a policy is in force. */
  readonly #inForce = new Map<string, readonly ServiceTls[]>();
  readonly #policies = new Map<string, TlsPolicy>();

  constructor(options: BackendTlsBookOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#inForce.size;
  }

  of(service: string): readonly ServiceTls[] {
    return this.#inForce.get(service) ?? [];
  }

  /** Every ConfigMap that a policy names. */
  wanted(): NamedObject[] {
    const named = new Map<string, NamedObject>();
    for (const { namespace, value } of this.#policies.values())
      for (const { kind, name } of value.spec.validation.caCertificateRefs)
        if (kind === 'ConfigMap') named.set(`${namespace}/${name}`, { kind, namespace, name });
    return [...named.values()];
  }

  /** Returns the keys of the services for which another one is in force than before. */
  apply(changes: readonly ObjectChange[]): string[] {
    const namespaces = new Set<string>();
    for (const change of changes) {
      const { kind, namespace, name } = change;
      if (kind === 'BackendTLSPolicy') {
        namespaces.add(namespace);
        const key = `${namespace}/${name}`;
        if (change.after?.kind === kind) this.#policies.set(key, change.after);
        else {
          this.#policies.delete(key);
          this.#options.findings.put('backend-tls', objectName(change), []);
        }
      } else if (kind === 'ConfigMap' || kind === 'Service' || kind === 'ServiceEntry') {
        // A policy is of the namespace of all that it names.
        if (this.#isAbout(namespace)) namespaces.add(namespace);
      }
    }
    const touched = new Set<string>();
    for (const namespace of namespaces) for (const key of this.#renew(namespace)) touched.add(key);
    return [...touched];
  }

  #isAbout(namespace: string): boolean {
    if (this.#policies.size === 0) return false;
    for (const policy of this.#policies.values()) if (policy.namespace === namespace) return true;
    return false;
  }

  /** All of a namespace anew: there are few in one. */
  #renew(namespace: string): string[] {
    const { findings } = this.#options;
    const policies = [...this.#policies.values()].filter(policy => policy.namespace === namespace);
    const claims = new Map<string, Claim[]>();
    const results = new Map<TlsPolicy, PolicyTls>();
    const reports = new Map<TlsPolicy, Parameters<Report>[]>();
    for (const policy of policies.sort(byAge)) {
      const said: Parameters<Report>[] = [];
      reports.set(policy, said);
      const say = (severity: Parameters<Report>[1], code: string, field: string, message: string): void => {
        said.push([policy, severity, code, field, message]);
      };
      const configMap = (of: string, name: string) => this.#options.objects.get('ConfigMap', of, name);
      results.set(policy, policyTls(policy, { configMap, say }));
      for (const [at, target] of policy.value.spec.targetRefs.entries()) {
        for (const { key, port } of this.#targetsOf(policy, target, `spec.targetRefs[${at}]`, say)) {
          const known = claims.get(key) ?? [];
          const holder = known.find(other => other.port === port)?.policy;
          if (holder === policy) continue;
          if (holder === undefined) claims.set(key, [...known, { policy, port }]);
          else {
            const message = `not in force: ${objectName(holder)} is older and says it already`;
            say('error', 'conflicting-policy', `spec.targetRefs[${at}]`, message);
          }
        }
      }
    }
    for (const [policy, said] of reports)
      findings.about('backend-tls', policy, report => {
        for (const each of said) report(...each);
      });
    const before = [...this.#inForce.keys()].filter(key => key.startsWith(`${namespace}/`));
    for (const key of before) this.#inForce.delete(key);
    for (const [key, all] of claims) {
      const inForce = all.flatMap(({ policy, port }) => {
        const result = results.get(policy);
        return result === undefined ? [] : [{ name: objectName(policy), port, result }];
      });
      this.#inForce.set(key, inForce);
    }
    return [...new Set([...before, ...claims.keys()])];
  }

  /** Keys of services, each with the port that is meant; says what there is not. */
  #targetsOf(
    { namespace }: TlsPolicy,
    { group, kind, name, sectionName }: Target,
    field: string,
    say: (severity: 'warning', code: string, field: string, message: string) => void,
  ): { key: string; port: number | null }[] {
    const { objects, config } = this.#options;
    const none = (why: string): [] => {
      say('warning', 'unknown-target', field, `not in force: ${why}`);
      return [];
    };
    const portOf = (
      ports: readonly { name?: string | undefined; number: number }[],
    ): number | null | undefined =>
      sectionName === undefined ? null : ports.find(port => port.name === sectionName)?.number;
    if (kind === 'Service' && (group === '' || group === 'core')) {
      const service = objects.get('Service', namespace, name);
      if (service === null) return none(`there is no Service ${namespace}/${name}`);
      const port = portOf(service.value.spec.ports.map(each => ({ ...each, number: each.port })));
      if (port === undefined) return none(`Service ${namespace}/${name} has no port ${sectionName}`);
      return [{ key: `${namespace}/${name}.${namespace}.svc.${config.clusterDomain}`, port }];
    }
    if (kind === 'ServiceEntry') {
      const entry = objects.get('ServiceEntry', namespace, name);
      if (entry === null) return none(`there is no ServiceEntry ${namespace}/${name}`);
      const port = portOf(entry.value.spec.ports ?? []);
      if (port === undefined) return none(`ServiceEntry ${namespace}/${name} has no port ${sectionName}`);
      return entry.value.spec.hosts.map(host => ({ key: `${namespace}/${host}`, port }));
    }
    return none(`${kind} is neither a Service nor a ServiceEntry`);
  }
}

/** The oldest first, then by name. */
function byAge(a: TlsPolicy, b: TlsPolicy): number {
  const [first, second] = [a, b].map(({ value }) => Date.parse(value.metadata.creationTimestamp ?? '') || 0);
  return (first ?? 0) - (second ?? 0) || (a.name < b.name ? -1 : 1);
}
