/**
 * Which endpoints come first by where they are: levels from near to far, and how much of the load each level gets as
 * endpoints of the nearer ones fall out.
 */
import type { LocalityPlace, LocalityRule, LocalityShare } from './traffic-policy.ts';
import type { Locality, Workload } from './workload.ts';

/** A level keeps all of its load until more than this many times what is missing is gone (as Envoy has it). */
const overprovisioning = 1.4;

/** How far an endpoint is, from 0; for rules that have levels. */
export function levelOf(
  rule: Extract<LocalityRule, { type: 'failover' | 'priority' | 'none' }>,
  from: Workload | null,
  to: Workload,
): number {
  if (rule.type === 'none' || from === null) return 0;
  if (rule.type === 'priority') return rule.places.length - sharedPlaces(rule.places, from, to);
  const [here, there] = [from.locality, to.locality];
  if (here === null || there === null) return here === there ? 0 : 4;
  if (here.region !== there.region)
    return rule.regions.some(each => each.from === here.region && each.to === there.region) ? 3 : 4;
  if (here.zone !== there.zone) return 2;
  return here.subzone === there.subzone ? 0 : 1;
}

function sharedPlaces(places: readonly LocalityPlace[], from: Workload, to: Workload): number {
  const first = places.findIndex(
    ({ place, value }) => placeOf(to, place) !== (value ?? placeOf(from, place)),
  );
  return first < 0 ? places.length : first;
}

function placeOf(workload: Workload, place: LocalityPlace['place']): string {
  const { locality, node, network, clusterId } = workload;
  if (place === 'node') return node;
  if (place === 'network') return network;
  return place === 'cluster' ? clusterId : (locality?.[place] ?? '');
}

export interface LevelHealth {
  readonly all: number;
  readonly fit: number;
}

/**
 * The level for one request.
 * @param levels from near to far
 * @param random in [0, 1)
 */
export function chooseLevel(levels: readonly LevelHealth[], random: number): number {
  const health = levels.map(({ all, fit }) => (all === 0 ? 0 : Math.min(1, (fit / all) * overprovisioning)));
  const sum = health.reduce((total, each) => total + each, 0);
  // Where all of them together are too weak for everything each gets its part of what there is.
  let left = random * Math.min(1, sum);
  for (const [level, each] of health.entries()) if ((left -= each) < 0) return level;
  return health.findLastIndex(each => each > 0);
}

/** The shares for a waypoint of a locality; null where the rule says nothing of it. */
export function sharesFor(
  shares: readonly LocalityShare[],
  from: Locality | null,
): LocalityShare['to'] | null {
  return shares.find(each => isWithin(from, each.from))?.to ?? null;
}

/** Whether a locality is what a pattern says: `region/zone/subzone`, of which the end may be left out or `*`. */
export function isWithin(locality: Locality | null, pattern: string): boolean {
  const { region = '', zone = '', subzone = '' } = locality ?? {};
  const parts = pattern.split('/');
  return [region, zone, subzone].every((part, at) => {
    const wanted = parts[at];
    return wanted === undefined || wanted === '*' || wanted === part;
  });
}
