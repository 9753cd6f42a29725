/**
 * What objects refer to by name and nobody has described: namespaces and service accounts in policies, service accounts
 * of pods. Nothing here changes what is in force; a name that is misspelt is just easier found here than in a refusal.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import { Claims } from './build-claims.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { serviceAccountOf } from './build-workloads.ts';
import { type Located, type LocatedObject, objectName, type Report } from './located.ts';
import { suggestion } from './spelling.ts';

export interface ReferenceBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
}

export class ReferenceBook {
  readonly #options: ReferenceBookOptions;
  readonly #known = new KnownNames();
  /** Policies, as `namespace/name`, by the names they ask for. */
  readonly #asking = new Claims();
  readonly #asked = new Map<string, ReadonlySet<string>>();
  /** Policies of which a name is unknown: what it may have meant depends on every name there is. */
  readonly #unresolved = new Set<string>();

  constructor(options: ReferenceBookOptions) {
    this.#options = options;
  }

  apply(changes: readonly ObjectChange[]): void {
    const policies = new Set<string>();
    const pods = new Set<Located<'Pod'>>();
    for (const change of changes) {
      const { kind, namespace, name, before, after } = change;
      if (before !== null) this.#known.remove(before);
      if (after !== null) this.#known.add(after);
      if (kind === 'AuthorizationPolicy') policies.add(`${namespace}/${name}`);
      if (after?.kind === 'Pod') pods.add(after);
      else if (kind === 'Pod') this.#options.findings.put('account', objectName(change), []);
      if (kind === 'ServiceAccount' && (before === null || after === null))
        for (const pod of this.#options.objects.in('Pod', namespace)) pods.add(pod);
    }
    for (const name of this.#known.takeNews()) {
      for (const policy of this.#asking.of(name)) policies.add(policy);
      for (const policy of this.#unresolved) policies.add(policy);
    }
    for (const policy of policies) this.#lookAtPolicy(policy);
    for (const pod of pods) this.#lookAtPod(pod);
  }

  #lookAtPolicy(id: string): void {
    const { objects, config, findings } = this.#options;
    const slash = id.indexOf('/');
    const object = objects.get('AuthorizationPolicy', id.slice(0, slash), id.slice(slash + 1));
    for (const name of this.#asked.get(id) ?? []) this.#asking.remove(name, id);
    this.#asked.delete(id);
    this.#unresolved.delete(id);
    if (object === null) {
      findings.put('references', `AuthorizationPolicy ${id}`, []);
      return;
    }
    const asked = new Set<string>();
    findings.about('references', object, report => {
      reportSources(object, new Asking(this.#known, asked), config, (...words) => {
        this.#unresolved.add(id);
        report(...words);
      });
    });
    if (asked.size === 0) return;
    this.#asked.set(id, asked);
    for (const name of asked) this.#asking.add(name, id);
  }

  #lookAtPod(pod: Located<'Pod'>): void {
    const { objects, findings } = this.#options;
    findings.about('account', pod, report => {
      const account = serviceAccountOf(pod.value);
      if (account === 'default' || objects.get('ServiceAccount', pod.namespace, account) !== null) return;
      const described = [...objects.in('ServiceAccount', pod.namespace)].map(({ name }) => name);
      if (described.length === 0) return;
      const hint = suggestion(account, described.sort());
      const message = `there is no ServiceAccount ${pod.namespace}/${account}${hint}`;
      report(pod, 'warning', 'unknown-service-account', 'spec.serviceAccountName', message);
    });
  }
}

/** Namespaces, and service accounts as `namespace/name`, that are described or that pods have; counted. */
class KnownNames {
  readonly namespaces = new Map<string, number>();
  readonly accounts = new Map<string, number>();
  readonly #news = new Set<string>();

  add(object: LocatedObject): void {
    this.#count(object, 1);
  }

  remove(object: LocatedObject): void {
    this.#count(object, -1);
  }

  /** The names that came or went since this was asked last. */
  takeNews(): string[] {
    const news = [...this.#news];
    this.#news.clear();
    return news;
  }

  #count(object: LocatedObject, by: 1 | -1): void {
    const { kind, namespace, name } = object;
    if (kind === 'Namespace') this.#change(this.namespaces, name, by);
    if (kind !== 'Pod' && kind !== 'ServiceAccount') return;
    const account = kind === 'Pod' ? serviceAccountOf(object.value) : name;
    this.#change(this.namespaces, namespace, by);
    this.#change(this.accounts, `${namespace}/${account}`, by);
  }

  #change(counts: Map<string, number>, name: string, by: 1 | -1): void {
    const count = (counts.get(name) ?? 0) + by;
    if (count === 0) counts.delete(name);
    else counts.set(name, count);
    if (count === 0 || (count === 1 && by === 1)) this.#news.add(name);
  }
}

/** The known names, for one policy: what it asks for is noted. Names of accounts have a slash, those of namespaces none. */
class Asking {
  readonly #known: KnownNames;
  readonly #asked: Set<string>;

  constructor(known: KnownNames, asked: Set<string>) {
    this.#known = known;
    this.#asked = asked;
  }

  hasNamespace(name: string): boolean {
    this.#asked.add(name);
    return this.#known.namespaces.has(name);
  }

  hasAccount(name: string): boolean {
    this.#asked.add(name);
    return this.#known.accounts.has(name);
  }

  meantNamespace(name: string): string {
    return suggestion(name, [...this.#known.namespaces.keys()].sort());
  }

  meantAccount(name: string): string {
    return suggestion(name, [...this.#known.accounts.keys()].sort());
  }
}

function reportSources(
  policy: Located<'AuthorizationPolicy'>,
  known: Asking,
  config: MeshConfig,
  report: Report,
): void {
  const warn = (code: string, field: string, message: string): void =>
    report(policy, 'warning', code, field, message);
  const namespace = (name: string, field: string): boolean => {
    if (known.hasNamespace(name)) return true;
    warn('unknown-namespace', field, `nothing is in a namespace ${name}${known.meantNamespace(name)}`);
    return false;
  };
  const account = (name: string, field: string): void => {
    const [space = '', plain = ''] = name.split('/');
    if (!namespace(space, field) || plain === 'default' || known.hasAccount(name)) return;
    const message = `no pod runs as service account ${name}${known.meantAccount(name)}`;
    warn('unknown-service-account', field, message);
  };
  const principal = (text: string, field: string): void => {
    const [, trustDomain, space, plain] = /^([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(text) ?? [];
    if (trustDomain === undefined || space === undefined || plain === undefined) {
      warn(
        'malformed-principal',
        field,
        `${text} is no identity: <trust domain>/ns/<namespace>/sa/<service account>`,
      );
    } else if (trustDomain === config.trustDomain) account(`${space}/${plain}`, field);
    else
      warn(
        'unknown-trust-domain',
        field,
        `the trust domain of this mesh is ${config.trustDomain}, not ${trustDomain}`,
      );
  };
  const each = (
    values: readonly string[] | undefined,
    field: string,
    look: (value: string, field: string) => unknown,
  ): void => {
    for (const [index, value] of (values ?? []).entries())
      if (!value.includes('*')) look(value, `${field}[${index}]`);
  };
  const ownAccount = (name: string, field: string): void =>
    account(name.includes('/') ? name : `${policy.namespace}/${name}`, field);

  for (const [index, rule] of (policy.value.spec.rules ?? []).entries()) {
    for (const [position, { source }] of (rule.from ?? []).entries()) {
      const field = `spec.rules[${index}].from[${position}].source`;
      each(source.namespaces, `${field}.namespaces`, namespace);
      each(source.notNamespaces, `${field}.notNamespaces`, namespace);
      each(source.serviceAccounts, `${field}.serviceAccounts`, ownAccount);
      each(source.notServiceAccounts, `${field}.notServiceAccounts`, ownAccount);
      each(source.principals, `${field}.principals`, principal);
      each(source.notPrincipals, `${field}.notPrincipals`, principal);
    }
    for (const [position, condition] of (rule.when ?? []).entries()) {
      const field = `spec.rules[${index}].when[${position}]`;
      const look = { 'source.namespace': namespace, 'source.principal': principal }[condition.key];
      if (look === undefined) continue;
      each(condition.values, `${field}.values`, look);
      each(condition.notValues, `${field}.notValues`, look);
    }
  }
}
