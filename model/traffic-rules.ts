/** All traffic policies a waypoint knows, and for a service and client the rule in force. */
import { type ServiceTraffic, trafficKey, type TrafficRule } from './traffic-policy.ts';

export class TrafficRules {
  readonly #byService = new Map<string, ServiceTraffic>();

  /** Replaces everything. */
  replace(traffic: readonly ServiceTraffic[]): void {
    this.#byService.clear();
    for (const one of traffic) this.#byService.set(trafficKey(one), one);
  }

  all(): readonly ServiceTraffic[] {
    return [...this.#byService.values()];
  }

  /**
   * The rule for what clients of a namespace send to a service; null where nobody says anything.
   * @param service `namespace/hostname`
   */
  ruleFor(service: string, clientNamespace: string): TrafficRule | null {
    const rules = this.#byService.get(service)?.rules ?? [];
    return rules.find(({ clients }) => clients?.includes(clientNamespace) ?? true) ?? null;
  }
}
