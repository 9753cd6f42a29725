/**
 * What this waypoint must not serve, since something about it can not be read: a control plane of a newer version means by
 * it what nobody here would enforce or follow.
 */
import { serviceKey } from '../model/service.ts';
import { type Barred, everything } from '../xds/codec-l7.ts';
import type { WaypointConfig } from './config.ts';
import type { Destination } from './context.ts';

export class BarredList {
  readonly #own: string;
  readonly #reasons = new Map<string, string>();

  /** @param gateway this waypoint: what is about it is about all that passes */
  constructor({ namespace, name }: WaypointConfig['gateway']) {
    this.#own = `Gateway/${namespace}/${name}`;
  }

  replace(list: readonly Barred[]): void {
    this.#reasons.clear();
    for (const { name, about, reason } of list)
      for (const key of about) this.#reasons.set(key, `${name}: ${reason}`);
  }

  get size(): number {
    return this.#reasons.size;
  }

  /** Why a destination is not served; null where it is. */
  why(destination: Destination): string | null {
    if (this.#reasons.size === 0) return null;
    const keys = [everything, this.#own, ...keysOf(destination)];
    return keys.map(key => this.#reasons.get(key)).find(reason => reason !== undefined) ?? null;
  }
}

/** What is about a service is about its pods, too, where these are dialled by their own addresses. */
function keysOf(destination: Destination): string[] {
  if (destination.kind === 'service') return [serviceKey(destination.service)];
  const { uid, services } = destination.workload;
  return [uid, ...Object.keys(services)];
}
