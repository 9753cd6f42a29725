/** The loadBalancer of a DestinationRule: how endpoints are chosen, and which come first by where they are. */
import { goDurationMs } from '../model/kinds/durations.ts';
import type { PolicyParts } from '../model/kinds/destination-rule.ts';
import { region, subzone, zone } from '../model/kinds/marks.ts';
import type {
  Balancing,
  HashKey,
  HashTable,
  LocalityPlace,
  LocalityRule,
  Warmup,
} from '../model/traffic-policy.ts';
import type { Say } from './finding.ts';

type LoadBalancer = NonNullable<PolicyParts['loadBalancer']>;
type ConsistentHash = NonNullable<LoadBalancer['consistentHash']>;

/** Points of a ring, whatever the rule asks for: more make the shares hardly more even. */
const maxRing = 65_536;

export function balancingOf(spec: LoadBalancer, field: string, say: Say): Balancing {
  const { simple = 'UNSPECIFIED', consistentHash: hash } = spec;
  if (hash !== undefined) {
    const key = hashKey(hash);
    if (key !== null) return { type: 'hash', key, table: tableOf(hash, `${field}.consistentHash`, say) };
    say('warning', 'unsupported-value', `${field}.consistentHash`, 'nothing is hashed: it names no key');
  }
  if (simple === 'PASSTHROUGH') {
    const message = 'a waypoint always chooses an endpoint: LEAST_REQUEST';
    say('warning', 'unsupported-value', `${field}.simple`, message);
  }
  if (simple === 'RANDOM') return { type: 'random' };
  return { type: simple === 'ROUND_ROBIN' ? 'round-robin' : 'least-request' };
}

function hashKey({
  httpHeaderName,
  httpCookie,
  useSourceIp,
  httpQueryParameterName,
}: ConsistentHash): HashKey | null {
  if (httpHeaderName !== undefined) return { type: 'header', name: httpHeaderName.toLowerCase() };
  if (httpQueryParameterName !== undefined) return { type: 'query', name: httpQueryParameterName };
  if (httpCookie !== undefined) {
    const { name, path = '/', ttl, attributes = [] } = httpCookie;
    return {
      type: 'cookie',
      name,
      path,
      ttlMs: ttl === undefined ? null : goDurationMs(ttl),
      attributes: attributes.map(({ name: key, value }) => (value === undefined ? key : `${key}=${value}`)),
    };
  }
  return useSourceIp === true ? { type: 'source' } : null;
}

function tableOf({ ringHash, maglev, minimumRingSize }: ConsistentHash, field: string, say: Say): HashTable {
  if (maglev !== undefined) return { type: 'maglev', size: primeFrom(maglev.tableSize) };
  const asked = ringHash?.minimumRingSize ?? minimumRingSize ?? 0;
  if (asked > maxRing)
    say('info', 'unsupported-value', field, `the ring has ${maxRing} points: more add nothing`);
  return { type: 'ring', minimumSize: Math.min(maxRing, asked === 0 ? 1_024 : asked) };
}

/** The least prime that is not below a number: only a prime size fills a table evenly. */
export function primeFrom(least: number): number {
  let candidate = Math.max(2, least);
  while (!isPrime(candidate)) candidate += 1;
  return candidate;
}

function isPrime(number: number): boolean {
  for (let factor = 2; factor * factor <= number; factor += 1) if (number % factor === 0) return false;
  return true;
}

export function localityOf(
  { localityLbSetting, zoneAwareLbSetting }: LoadBalancer,
  hasOutliers: boolean,
  field: string,
  say: Say,
): LocalityRule | null {
  if (zoneAwareLbSetting !== undefined) {
    const message = 'not supported: use localityLbSetting';
    say('warning', 'unsupported-value', `${field}.zoneAwareLbSetting`, message);
  }
  if (localityLbSetting?.enabled === false) return { type: 'none' };
  const { distribute = [], failover = [], failoverPriority = [] } = localityLbSetting ?? {};
  if (distribute.length > 0) {
    return {
      type: 'distribute',
      shares: distribute.map(({ from, to }) => ({
        from,
        to: Object.entries(to).map(([locality, weight]) => ({ locality, weight })),
      })),
    };
  }
  // Without ejection nothing would ever fail over (Istio): nearness then is what the service says itself.
  const place = `${field}.localityLbSetting`;
  if (!hasOutliers) {
    if (failover.length + failoverPriority.length > 0)
      say('warning', 'unsupported-value', place, 'not in force: failover needs outlierDetection');
    return null;
  }
  if (failoverPriority.length === 0) return { type: 'failover', regions: failover };
  const places: LocalityPlace[] = [];
  for (const [index, label] of failoverPriority.entries()) {
    const [key = '', value = null] = label.split('=');
    const known = placeOf[key];
    if (known === undefined) {
      const message = `${key} is no label of a place: this and what follows is not looked at`;
      say('warning', 'unsupported-value', `${place}.failoverPriority[${index}]`, message);
      break;
    }
    places.push({ place: known, value });
  }
  return { type: 'priority', places };
}

const placeOf: Readonly<Record<string, LocalityPlace['place']>> = {
  [region]: 'region',
  [zone]: 'zone',
  [subzone]: 'subzone',
  'kubernetes.io/hostname': 'node',
  'topology.istio.io/network': 'network',
  'topology.istio.io/cluster': 'cluster',
};

export function warmupOf(
  { warmup, warmupDurationSecs }: LoadBalancer,
  balancing: Balancing,
  field: string,
  say: Say,
): Warmup | null {
  const duration = warmup?.duration ?? warmupDurationSecs;
  if (duration === undefined) return null;
  if (balancing.type === 'hash' || balancing.type === 'random') {
    const message = 'without effect: it needs ROUND_ROBIN or LEAST_REQUEST';
    say('warning', 'unsupported-value', `${field}.warmup`, message);
    return null;
  }
  const { minimumPercent = 10, aggression = 1 } = warmup ?? {};
  return { durationMs: goDurationMs(duration), minimumPercent, aggression };
}
