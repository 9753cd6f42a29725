/** An endpoint as its upstream keeps it: how near it is, how much it has to do, and since when it is there. */
import type { FitEndpoint } from '../model/balance.ts';
import type { Candidate } from '../model/balancers.ts';
import { levelOf } from '../model/nearness.ts';
import type { TrafficPolicy } from '../model/traffic-policy.ts';
import type { Workload } from '../model/workload.ts';

/** What stays of an endpoint while it is made anew. */
export interface Standing {
  readonly since: number;
  active: number;
}

export class Member implements Candidate {
  readonly endpoint: FitEndpoint;
  readonly uid: string;
  readonly level: number;
  readonly standing: Standing;
  weight: number;

  constructor(endpoint: FitEndpoint, level: number, standing: Standing) {
    this.endpoint = endpoint;
    this.uid = endpoint.workload.uid;
    this.level = level;
    this.standing = standing;
    this.weight = endpoint.workload.capacity;
  }

  get active(): number {
    return this.standing.active;
  }
}

/** Levels are from 0 to the most places that a rule names. */
export const farthest = 16;

/** How far it is, from 0. */
export function levelIn(policy: TrafficPolicy, from: Workload | null, endpoint: FitEndpoint): number {
  const { locality } = policy;
  if (locality === null) return farthest - endpoint.nearness;
  return locality.type === 'distribute' ? 0 : levelOf(locality, from, endpoint.workload);
}

/** Those of other localities than that of a try before, as far as there are any. */
export function wished(fit: readonly Member[], tried: Workload | null): readonly Member[] {
  if (tried === null) return fit;
  const others = fit.filter(({ endpoint }) => !sameLocality(endpoint.workload, tried));
  return others.length > 0 ? others : fit;
}

function sameLocality({ locality: a }: Workload, { locality: b }: Workload): boolean {
  return a?.region === b?.region && a?.zone === b?.zone && a?.subzone === b?.subzone;
}
