/**
 * One Upstream for each port of a service and each traffic policy that is in force for somebody, made when a request
 * needs it and forgotten when none does for a while.
 */
import { CulvertError } from '../base/errors.ts';
import { isIpv6 } from '../model/address.ts';
import type { Mesh } from '../model/mesh.ts';
import { serviceKey } from '../model/service.ts';
import { policyFor, trafficWithoutRule, type TrafficRule } from '../model/traffic-policy.ts';
import type { TrafficRules } from '../model/traffic-rules.ts';
import type { ServiceDestination } from './context.ts';
import type { Overflow } from './load.ts';
import { Upstream } from './upstream.ts';

export interface UpstreamsOptions {
  readonly mesh: Mesh;
  readonly traffic: TrafficRules;
  readonly now: () => number;
  readonly random: () => number;
  readonly onOverflow: (limit: Overflow) => void;
}

/** Unused ones are forgotten after this. */
const unusedMs = 600_000;

export class Upstreams {
  readonly #options: UpstreamsOptions;
  readonly #upstreams = new Map<string, Upstream>();
  #sweptAt: number;

  constructor(options: UpstreamsOptions) {
    this.#options = options;
    this.#sweptAt = options.now();
  }

  /**
   * The one for what clients of a namespace send to a destination. Throws UNKNOWN_SUBSET, or TRAFFIC_REFUSED where the
   * policy asks for what can not be done.
   */
  for({ service, port, address, subset: name }: ServiceDestination, clientNamespace: string): Upstream {
    const service_ = serviceKey(service);
    const rule = this.#options.traffic.ruleFor(service_, clientNamespace);
    const subset = name === null ? null : subsetOf(rule, name, service_);
    const policy = rule === null ? trafficWithoutRule(service) : policyFor((subset ?? rule).settings, port);
    if (policy.refusal !== null) {
      throw new CulvertError('TRAFFIC_REFUSED', `${rule?.name ?? ''}: ${policy.refusal}`, {
        side: 'us',
        fix: 'take it out of the rule, or do not send this traffic through the waypoint',
      });
    }
    const family = isIpv6(address) ? 6 : 4;
    const key = `${service_}:${port}/${name ?? ''} ${rule?.name ?? ''} ${family}`;
    let upstream = this.#upstreams.get(key);
    if (upstream === undefined) {
      upstream = new Upstream({ ...this.#options, key, port, family });
      this.#upstreams.set(key, upstream);
    }
    upstream.configure(policy, subset?.endpoints ?? null);
    const now = this.#options.now();
    upstream.usedAt = now;
    if (now - this.#sweptAt > unusedMs) this.#sweep(now);
    return upstream;
  }

  all(): Iterable<Upstream> {
    return this.#upstreams.values();
  }

  #sweep(now: number): void {
    this.#sweptAt = now;
    for (const [key, { usedAt, load }] of this.#upstreams)
      if (now - usedAt > unusedMs && load.requests === 0) this.#upstreams.delete(key);
  }
}

function subsetOf(rule: TrafficRule | null, name: string, service: string): TrafficRule['subsets'][number] {
  const subset = rule?.subsets.find(one => one.name === name);
  if (subset !== undefined) return subset;
  const where = rule === null ? 'no traffic policy is in force for it' : `${rule.name} has none of this name`;
  throw new CulvertError('UNKNOWN_SUBSET', `there is no subset ${name} of ${service}: ${where}`, {
    side: 'us',
    fix: 'add the subset to the DestinationRule',
  });
}
