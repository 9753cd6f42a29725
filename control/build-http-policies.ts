/**
 * The AuthorizationPolicies of waypoints, as they and what they are attached to come and go. What they mean is
 * model/http-policy-translation.ts.
 */
import { isDeepStrictEqual } from 'node:util';
import { isForWaypoints } from '../model/authorization-policy.ts';
import type { HttpPolicy } from '../model/http-policy.ts';
import { translateHttpPolicy } from '../model/http-policy-translation.ts';
import type { L7Change } from '../model/l7.ts';
import { authorizerOf } from './build-authorizer.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange } from './build-objects.ts';
import { type TargetContext, targetsOf, touchedTargets } from './build-targets.ts';
import type { Located, Report } from './located.ts';

export interface HttpPolicyBookOptions extends TargetContext {
  readonly findings: FindingStore;
}

export class HttpPolicyBook {
  readonly #options: HttpPolicyBookOptions;
  readonly #policies = new Map<string, HttpPolicy>();

  constructor(options: HttpPolicyBookOptions) {
    this.#options = options;
  }

  /** Sorted by key. */
  all(): HttpPolicy[] {
    return [...this.#policies].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, policy]) => policy);
  }

  /** The policies that are others than before. */
  apply(changes: readonly ObjectChange[]): L7Change[] {
    const changed: L7Change[] = [];
    for (const key of this.#touchedBy(changes)) {
      const before = this.#policies.get(key) ?? null;
      const resource = this.#renew(key);
      if (resource === null) this.#policies.delete(key);
      else this.#policies.set(key, resource);
      if (!isDeepStrictEqual(before, resource)) changed.push({ list: 'policies', key, resource });
    }
    return changed;
  }

  #touchedBy(changes: readonly ObjectChange[]): Set<string> {
    const keys = new Set<string>();
    for (const change of changes) {
      if (change.kind === 'AuthorizationPolicy') keys.add(`${change.namespace}/${change.name}`);
      const touched = touchedTargets(change);
      if (touched === undefined) continue;
      for (const [key, { namespace }] of this.#policies)
        if (touched === null || touched === namespace) keys.add(key);
    }
    return keys;
  }

  #renew(key: string): HttpPolicy | null {
    const { objects, findings } = this.#options;
    const slash = key.indexOf('/');
    const object = objects.get('AuthorizationPolicy', key.slice(0, slash), key.slice(slash + 1));
    if (object === null || !isForWaypoints(object.value.spec) || object.value.spec.selector !== undefined) {
      findings.put('http-policy', `AuthorizationPolicy ${key}`, []);
      return null;
    }
    return findings.about('http-policy', object, report => this.#translate(object, report));
  }

  #translate(object: Located<'AuthorizationPolicy'>, report: Report): HttpPolicy {
    const { name, namespace, value } = object;
    const provider = value.spec.action === 'CUSTOM' ? (value.spec.provider?.name ?? '') : null;
    const authorizer = provider === null ? null : authorizerOf(this.#options.config, provider);
    if (provider !== null && authorizer === null) {
      const message = `MeshConfig has no provider ${provider}: what the rules match is refused`;
      report(object, 'error', 'unknown-provider', 'spec.provider.name', message);
    }
    const { policy, findings } = translateHttpPolicy({
      name,
      namespace,
      annotations: value.metadata.annotations,
      spec: value.spec,
      targets: targetsOf(object, this.#options, report),
      authorizer,
    });
    for (const { severity, code, field, message } of findings) report(object, severity, code, field, message);
    return policy;
  }
}
