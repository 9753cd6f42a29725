/**
 * Everything that is attached to destinations of one waypoint, and for a destination what is about it: policies, and who
 * vouches for tokens. (A target that nobody here knows is every destination: better one too many than none.)
 */
import { HttpPolicySet, type HttpPolicy, type PolicyTarget } from './http-policy.ts';
import type { TokenRule, TokenRules } from './token-rule.ts';

/** A Gateway by name. */
export interface GatewayName {
  readonly namespace: string;
  readonly name: string;
}

export interface Attached {
  readonly targets: readonly PolicyTarget[];
}

/** Resources with targets, and those of them that are about a destination. */
class Attachments<T extends Attached, Set> {
  readonly #gateway: GatewayName;
  readonly #make: (resources: readonly T[]) => Set;
  #resources: readonly T[] = [];
  /** By the services of a destination. Emptied at each change. */
  readonly #sets = new Map<string, Set>();

  constructor(gateway: GatewayName, make: (resources: readonly T[]) => Set) {
    this.#gateway = gateway;
    this.#make = make;
  }

  /** Replaces everything. */
  replace(resources: readonly T[]): void {
    this.#resources = resources;
    this.#sets.clear();
  }

  /**
   * Those that are about anything this waypoint serves.
   * @param serves whether it serves the service of a key
   */
  relevant(serves: (service: string) => boolean): readonly T[] {
    return this.#resources.filter(({ targets }) =>
      targets.some(target => (target.kind === 'Service' ? serves(target.key) : this.#isAbout(target, []))),
    );
  }

  all(): readonly T[] {
    return this.#resources;
  }

  /** @param services keys of the service that was dialled, or of those that lead to the port of the pod that was */
  for(services: readonly string[]): Set {
    const key = services.join(' ');
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = this.#make(
        this.#resources.filter(({ targets }) => targets.some(target => this.#isAbout(target, services))),
      );
      this.#sets.set(key, set);
    }
    return set;
  }

  #isAbout(target: PolicyTarget, services: readonly string[]): boolean {
    if (target.kind === 'Service') return services.includes(target.key);
    if (target.kind !== 'Gateway') return true;
    return target.namespace === this.#gateway.namespace && target.name === this.#gateway.name;
  }
}

export class Authentications extends Attachments<TokenRules, readonly TokenRule[]> {
  constructor(gateway: GatewayName) {
    super(gateway, all => all.flatMap(({ rules }) => rules));
  }
}

export class HttpPolicies extends Attachments<HttpPolicy, HttpPolicySet> {
  constructor(gateway: GatewayName) {
    super(gateway, policies => new HttpPolicySet(policies));
  }
}
