/**
 * Which waypoint may have what of which Secret, as rules, Secrets and Gateways come and go.
 *
 * A rule names Secrets of its own namespace only, and they are told to the waypoints of that namespace only: whoever can
 * write there could read them anyway. Of a Secret a waypoint gets what the rules need, so no key where only authorities are
 * asked for.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Credential, credentialKey } from '../model/credential.ts';
import type { PolicyParts } from '../model/kinds/destination-rule.ts';
import { waypointClasses } from '../model/kinds/gateway.ts';
import { type Secret, secretKeys as keys, secretText } from '../model/kinds/secret.ts';
import type { L7Change } from '../model/l7.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { type Located, objectName } from './located.ts';

export interface CredentialBookOptions {
  readonly objects: Objects;
  readonly findings: FindingStore;
}

/** An object that somebody names. */
export interface NamedObject {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly namespace: string;
  readonly name: string;
  /** Whether it does as well without it. */
  readonly isOptional?: true;
}

/** What the rules of a namespace need of one Secret. */
interface Need {
  key: boolean;
}

/** Istio's users know a second Secret of this name with the authorities alone. */
const authoritiesSuffix = '-cacert';

export class CredentialBook {
  readonly #options: CredentialBookOptions;
  /** By namespace, what its rules need, by name of the Secret. */
  readonly #needs = new Map<string, ReadonlyMap<string, Need>>();
  readonly #credentials = new Map<string, Credential>();

  constructor(options: CredentialBookOptions) {
    this.#options = options;
  }

  /** Sorted by key. */
  all(): Credential[] {
    return [...this.#credentials].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, credential]) => credential);
  }

  /** Every Secret that rules name. */
  wanted(): NamedObject[] {
    return [...this.#needs].flatMap(([namespace, needs]) =>
      [...needs.keys()].flatMap((name): NamedObject[] => [
        { kind: 'Secret', namespace, name },
        { kind: 'Secret', namespace, name: name + authoritiesSuffix, isOptional: true },
      ]),
    );
  }

  /** The credentials that are others than before. */
  apply(changes: readonly ObjectChange[]): L7Change[] {
    const dirty = new Set<string>();
    for (const { kind, namespace } of changes) {
      if (kind === 'DestinationRule') dirty.add(namespace);
      else if ((kind === 'Secret' || kind === 'Gateway') && this.#needs.has(namespace)) dirty.add(namespace);
    }
    return [...dirty].flatMap(namespace => this.#renew(namespace));
  }

  #renew(namespace: string): L7Change[] {
    const needs = this.#needsOf(namespace);
    const had = this.#needs.has(namespace);
    if (needs.size > 0) this.#needs.set(namespace, needs);
    else this.#needs.delete(namespace);
    if (needs.size === 0 && !had) return [];
    const now = new Map<string, Credential>();
    for (const { name, value } of this.#options.objects.in('Gateway', namespace)) {
      if (!waypointClasses.includes(value.spec.gatewayClassName)) continue;
      for (const [secret, need] of needs) {
        const credential = this.#credentialOf(`${namespace}/${name}`, namespace, secret, need);
        if (credential !== null) now.set(credentialKey(credential), credential);
      }
    }
    const changed: L7Change[] = [];
    for (const [key, { waypoint }] of this.#credentials) {
      if (!waypoint.startsWith(`${namespace}/`) || now.has(key)) continue;
      this.#credentials.delete(key);
      changed.push({ list: 'credentials', key, resource: null });
    }
    for (const [key, resource] of now) {
      if (isDeepStrictEqual(this.#credentials.get(key), resource)) continue;
      this.#credentials.set(key, resource);
      changed.push({ list: 'credentials', key, resource });
    }
    return changed;
  }

  /** What all rules of a namespace need; says about each which Secret is not there. */
  #needsOf(namespace: string): Map<string, Need> {
    const { objects, findings } = this.#options;
    const needs = new Map<string, Need>();
    for (const rule of objects.in('DestinationRule', namespace)) {
      const named = [...policiesOf(rule)].flatMap(([field, { tls }]) =>
        tls?.credentialName === undefined || (tls.mode !== 'SIMPLE' && tls.mode !== 'MUTUAL')
          ? []
          : [{ field: `${field}.tls.credentialName`, name: tls.credentialName, key: tls.mode === 'MUTUAL' }],
      );
      for (const { name, key } of named) {
        const need = needs.get(name);
        if (need === undefined) needs.set(name, { key });
        else need.key ||= key;
      }
      if (named.length === 0) {
        findings.put('credentials', objectName(rule), []);
        continue;
      }
      findings.about('credentials', rule, report => {
        for (const { field, name, key } of named) {
          const why = this.#lackOf(namespace, name, key);
          if (why !== null)
            report(
              rule,
              'error',
              'unknown-credential',
              field,
              `${why}: what is sent there is answered with 503`,
            );
        }
        const hasWaypoint = [...objects.in('Gateway', namespace)].some(({ value }) =>
          waypointClasses.includes(value.spec.gatewayClassName),
        );
        const [first] = named;
        if (hasWaypoint || first === undefined) return;
        const message = `a Secret is told to waypoints of its own namespace only, and ${namespace} has none: others answer with 503`;
        report(rule, 'warning', 'credential-elsewhere', first.field, message);
      });
    }
    return needs;
  }

  /** What a Secret lacks of what it is named for. Says nothing of what is in it. */
  #lackOf(namespace: string, name: string, needsKey: boolean): string | null {
    const secret = this.#options.objects.get('Secret', namespace, name)?.value ?? null;
    const other = this.#options.objects.get('Secret', namespace, name + authoritiesSuffix)?.value ?? null;
    const authorities = authoritiesOf(secret, other);
    if (!needsKey) {
      if (secret === null && other === null) return `there is no Secret ${namespace}/${name}`;
      return authorities === null ? `Secret ${namespace}/${name} has no ca.crt` : null;
    }
    if (secret === null) return `there is no Secret ${namespace}/${name}`;
    for (const part of ['certificate', 'key'] as const)
      if (secretText(secret, keys[part]) === null)
        return `Secret ${namespace}/${name} has no ${keys[part][0]}`;
    return null;
  }

  #credentialOf(waypoint: string, namespace: string, name: string, need: Need): Credential | null {
    const { objects } = this.#options;
    const secret = objects.get('Secret', namespace, name)?.value ?? null;
    const other = objects.get('Secret', namespace, name + authoritiesSuffix)?.value ?? null;
    if (secret === null && other === null) return null;
    const own = (part: readonly string[]): string | null =>
      secret === null ? null : secretText(secret, part);
    return {
      waypoint,
      name: `${namespace}/${name}`,
      certificate: need.key ? own(keys.certificate) : null,
      key: need.key ? own(keys.key) : null,
      authorities: authoritiesOf(secret, other),
      revoked: own(keys.revoked),
    };
  }
}

function authoritiesOf(secret: Secret | null, other: Secret | null): string | null {
  const ofOther = other === null ? null : secretText(other, [...keys.authorities, ...keys.certificate]);
  return ofOther ?? (secret === null ? null : secretText(secret, keys.authorities));
}

/** Every policy that a rule has, with its place. */
function* policiesOf({ value }: Located<'DestinationRule'>): Generator<readonly [string, PolicyParts]> {
  const { trafficPolicy, subsets = [] } = value.spec;
  const places = [
    ['spec.trafficPolicy', trafficPolicy] as const,
    ...subsets.map((subset, at) => [`spec.subsets[${at}].trafficPolicy`, subset.trafficPolicy] as const),
  ];
  for (const [place, policy] of places) {
    if (policy === undefined) continue;
    yield [place, policy];
    for (const [at, port] of (policy.portLevelSettings ?? []).entries())
      yield [`${place}.portLevelSettings[${at}]`, port];
  }
}
