/**
 * What becomes of a request that may pass, for `culvert explain` and `culvert routes`: filters, where it goes with which
 * share, how often it is tried, and how the endpoints are treated. One line each.
 */
import type { EndpointTls } from '../model/endpoint-tls.ts';
import type { HttpBackend, HttpRule } from '../model/http-route.ts';
import { type Balancing, policyFor, type TrafficPolicy } from '../model/traffic-policy.ts';
import type { TrafficRules } from '../model/traffic-rules.ts';
import type { Workload } from '../model/workload.ts';
import { filterSentence } from './explain-filters.ts';

/** What there is to know beside the rule. */
export interface Surroundings {
  readonly traffic: TrafficRules;
  readonly workloads: readonly Workload[];
  /** Keys of all services, with their ports. */
  readonly ports: ReadonlyMap<string, readonly number[]>;
  /** Namespace of the client. */
  readonly from: string;
  /** The port that the client asked. */
  readonly port: number;
  /** What the nodes of endpoints refuse, in lines; left out: nobody asks. */
  readonly refusals?: (endpoints: readonly Workload[], service: string, port: number) => string[];
  /** Of what is carried as it is: there is no status to answer with. */
  readonly isConnection?: boolean;
}

type Place = Pick<HttpBackend, 'service' | 'port' | 'subset' | 'invalid'>;

export function ruleSentences(rule: HttpRule, around: Surroundings): string[] {
  const { filters, backends, timeouts, retry, session } = rule;
  const lines = filters.map(filterSentence);
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  const isAnswered = filters.some(({ type }) => type === 'redirect' || type === 'answer');
  for (const backend of isAnswered ? [] : backends) {
    const share = total === 0 ? 0 : (100 * backend.weight) / total;
    lines.push(...placeSentences(backend, `${share.toFixed(1)} % to `, around));
    lines.push(...backend.filters.map(filter => `  ${filterSentence(filter)}`));
  }
  if (total === 0 && !isAnswered) lines.push('500: no backend has a weight');
  if (timeouts.requestMs !== null) lines.push(`at most ${timeouts.requestMs} ms`);
  if (timeouts.backendRequestMs !== null) lines.push(`at most ${timeouts.backendRequestMs} ms for each try`);
  if (retry !== null) {
    const codes = retry.codes.join(', ') || 'no status';
    const on = retry.on.length === 0 ? '' : `, for ${retry.on.join(', ')}`;
    lines.push(`tried again up to ${retry.attempts} times, also for ${codes}${on}`);
  }
  if (session !== null) lines.push(`by the ${session.type} ${session.name} always to the same endpoint`);
  return lines;
}

/** Where a request goes, and how the endpoints there are treated. */
export function placeSentences(place: Place, share: string, around: Surroundings): string[] {
  const { service: key, subset, invalid } = place;
  const port = place.port === 0 ? around.port : place.port;
  const ports = around.ports.get(key);
  const what = `${share}${key} port ${port}${subset === null ? '' : `, subset ${subset}`}`;
  const why =
    invalid ??
    (ports === undefined ? 'there is no such service' : ports.includes(port) ? null : 'it has no such port');
  if (why !== null) return [`${what}: ${around.isConnection === true ? 'refused' : '500'}, ${why}`];
  const rule = around.traffic.ruleFor(key, around.from);
  const chosen = subset === null ? null : rule?.subsets.find(({ name }) => name === subset);
  if (chosen === undefined) return [`${what}: 503, no DestinationRule in force has this subset`];
  const endpoints = around.workloads.filter(
    ({ uid, services }) => services[key] !== undefined && (chosen === null || chosen.endpoints.includes(uid)),
  );
  const ready = endpoints.filter(({ status }) => status === 'HEALTHY').length;
  const refused = around.refusals?.(endpoints, key, port) ?? [];
  const lines = [`${what}: ${ready} of ${endpoints.length} endpoints ready`, ...refused];
  if (rule === null) return lines;
  const policy = policyFor((chosen ?? rule).settings, port);
  return [...lines, `  as ${rule.name} has it: ${trafficWords(policy).join('; ')}`];
}

function trafficWords(policy: TrafficPolicy): string[] {
  if (policy.refusal !== null) return [`503, ${policy.refusal}`];
  const { balancing, limits, outliers, retryBudget, tunnelOnly, locality, warmup, tls } = policy;
  const words = [balancingWords(balancing)];
  if (locality !== null) words.push(`by locality (${locality.type})`);
  if (warmup !== null) words.push(`new endpoints warm up for ${warmup.durationMs} ms`);
  if (limits.connections !== null) words.push(`at most ${limits.connections} connections`);
  if (limits.requests !== null) words.push(`at most ${limits.requests} requests at a time`);
  if (limits.pending !== null) words.push(`at most ${limits.pending} that wait`);
  if (limits.connectMs !== null) words.push(`${limits.connectMs} ms to connect`);
  if (outliers !== null) {
    const { serverErrors, ejectionMs, maxEjectionPercent } = outliers;
    words.push(
      `left out for ${ejectionMs} ms after ${serverErrors} errors in a row, ${maxEjectionPercent} % at most`,
    );
  }
  if (retryBudget !== null) words.push(`tries again for ${retryBudget.percent} % of the requests at most`);
  if (tls !== undefined) words.push(tlsWords(tls));
  if (tunnelOnly) words.push('only endpoints with tunnels');
  return words;
}

/** Who has to be proven by which authority; never by what we prove ourselves but its name. */
function tlsWords({ source, names, trust, client }: EndpointTls): string {
  const who =
    trust.type === 'unverified' ? 'not verified' : `as ${names.map(({ value }) => value).join(' or ')}`;
  const by = { system: "the machine's authorities", pem: 'authorities of its own', unverified: null };
  const authority =
    trust.type === 'file'
      ? trust.path
      : trust.type === 'credential'
        ? `Secret ${trust.name}`
        : by[trust.type];
  const own =
    client === null ? '' : `, with ${client.type === 'files' ? client.certificate : `Secret ${client.name}`}`;
  return `TLS by ${source}: ${who}${authority === null ? '' : ` by ${authority}`}${own}`;
}

function balancingWords(balancing: Balancing): string {
  if (balancing.type !== 'hash') return balancing.type;
  const { key } = balancing;
  return `by ${key.type === 'source' ? "the client's address" : `${key.type} ${key.name}`}`;
}
