/**
 * The endpoints of one port of a service as one traffic policy treats them: who there is, who is left out, who is busy,
 * and the choice of one.
 */
import { isDeepStrictEqual } from 'node:util';
import { fitEndpoints, type EndpointSet, type FitEndpoint } from '../model/balance.ts';
import type { Mesh } from '../model/mesh.ts';
import { Outliers, type Outcome } from '../model/outliers.ts';
import { serviceKey, type Service } from '../model/service.ts';
import {
  defaultTraffic,
  noLimits,
  type TrafficLimits,
  type TrafficPolicy,
  type Warmup,
} from '../model/traffic-policy.ts';
import type { Workload } from '../model/workload.ts';
import { Chooser } from './choose.ts';
import { Load, type Overflow } from './load.ts';
import { levelIn, Member, wished } from './member.ts';

export interface UpstreamOptions {
  readonly key: string;
  readonly port: number;
  readonly family: 4 | 6;
  readonly mesh: Mesh;
  /** Milliseconds, from anywhere. */
  readonly now: () => number;
  readonly random: () => number;
  readonly onOverflow: (limit: Overflow) => void;
}

/** What the choice depends on. */
export interface Choice {
  /** Never chosen: what was tried. */
  readonly exclude: EndpointSet;
  /** Chosen only where there is nothing else: what could not be dialled a moment ago. */
  readonly avoid: EndpointSet;
  /** Of the key that leads to one endpoint; null: none. */
  readonly hash: number | null;
  /** The endpoint of a session, which comes first while it is fit. */
  readonly session: string | null;
  /** Endpoints of its locality come last, as one was tried there; null: any. */
  readonly elsewhere: Workload | null;
}

export interface UpstreamState {
  readonly name: string;
  readonly requests: number;
  readonly retries: number;
  readonly pending: number;
  readonly endpoints: readonly {
    readonly workload: string;
    readonly address: string;
    readonly level: number;
    readonly active: number;
    readonly ejected: boolean;
  }[];
}

/** What the members were made of. */
interface Made {
  readonly list: readonly Workload[];
  readonly service: Service;
  readonly from: Workload | null;
  readonly policy: TrafficPolicy;
  readonly subset: readonly string[] | null;
}

export class Upstream {
  readonly key: string;
  readonly load: Load;
  readonly #options: UpstreamOptions;
  readonly #outliers: Outliers;
  readonly #chooser: Chooser;
  #policy: TrafficPolicy = defaultTraffic;
  #subset: readonly string[] | null = null;
  #connectionsKey = '';
  #made: Made | null = null;
  #members: readonly Member[] = [];
  #byUid = new Map<string, Member>();
  usedAt: number;

  constructor(options: UpstreamOptions) {
    this.key = options.key;
    this.#options = options;
    this.#outliers = new Outliers(options.now);
    this.#chooser = new Chooser(options.random);
    this.load = new Load(defaultTraffic.limits, options.onOverflow);
    this.usedAt = options.now();
  }

  get policy(): TrafficPolicy {
    return this.#policy;
  }

  /** What tells its connections from those of others: empty where they are made and kept like anybody's. */
  get connectionsKey(): string {
    return this.#connectionsKey;
  }

  /** @param subset uids of the endpoints it is about; null: all of the service */
  configure(policy: TrafficPolicy, subset: readonly string[] | null): void {
    if (policy === this.#policy && subset === this.#subset) return;
    this.#policy = policy;
    this.#subset = subset;
    this.load.limits = policy.limits;
    this.#connectionsKey = isPlain(policy.limits) ? '' : ` ${this.key} ${JSON.stringify(policy.limits)}`;
    this.load.budget = policy.retryBudget;
    this.#outliers.rule = policy.outliers;
  }

  /** The endpoint for one try, null where none is fit. */
  pick(service: Service, from: Workload | null, choice: Choice): FitEndpoint | null {
    this.#renew(service, from);
    if (this.#policy.warmup !== null) this.#warm(this.#policy.warmup);
    const { exclude, avoid, session } = choice;
    const ignoresEjection = this.#isPanic();
    const isIn = (member: Member): boolean =>
      !exclude.has(member.uid) && (ignoresEjection || !this.#outliers.has(member.uid));
    if (session !== null) {
      const kept = this.#byUid.get(session);
      if (kept !== undefined && isIn(kept)) return kept.endpoint;
    }
    const all = this.#members.filter(isIn);
    const first = all.filter(({ uid }) => !avoid.has(uid));
    const fit = first.length === 0 ? all : first;
    const wanted = wished(fit, choice.elsewhere);
    return this.#chooser.choose(this.#policy, wanted, from, choice.hash)?.endpoint ?? null;
  }

  /** The endpoint for which `is` is true; null where there is none, or it is left out at the moment. */
  find(service: Service, from: Workload | null, is: (uid: string) => boolean): FitEndpoint | null {
    this.#renew(service, from);
    const found = this.#members.find(({ uid }) => is(uid));
    return found === undefined || this.#outliers.has(found.uid) ? null : found.endpoint;
  }

  /** A try at an endpoint has begun; the returned says that it is over. */
  begin(uid: string): () => void {
    const standing = this.#byUid.get(uid)?.standing;
    if (standing === undefined) return () => {};
    standing.active += 1;
    let running = true;
    return () => {
      if (running) standing.active -= 1;
      running = false;
    };
  }

  /** What a try came to; true where the endpoint is left out for that from now on. */
  report(uid: string, outcome: Outcome): boolean {
    return this.#policy.outliers !== null && this.#outliers.report(uid, outcome, this.#byUid.keys());
  }

  /** How many endpoints there are, and how many of them are left out at the moment. */
  count(): { endpoints: number; ejected: number } {
    const ejected = this.#members.filter(({ uid }) => this.#outliers.has(uid)).length;
    return { endpoints: this.#members.length, ejected };
  }

  /** For people: what is under way, and who is left out. */
  state(): UpstreamState {
    const { requests, retries, pending } = this.load;
    const endpoints = this.#members.map(({ uid, active, level, endpoint }) => ({
      workload: uid,
      address: endpoint.address,
      level,
      active,
      ejected: this.#outliers.has(uid),
    }));
    return { name: this.key, requests, retries, pending, endpoints };
  }

  #renew(service: Service, from: Workload | null): void {
    const { mesh, port, family, now } = this.#options;
    const list = mesh.endpoints(serviceKey(service));
    const made = this.#made;
    const [policy, subset] = [this.#policy, this.#subset];
    if (
      made?.list === list &&
      made.service === service &&
      made.from === from &&
      made.policy === policy &&
      made.subset === subset
    )
      return;
    this.#made = { list, service, from, policy, subset };
    const wanted = subset === null ? null : new Set(subset);
    const before = this.#byUid;
    const members = fitEndpoints(mesh, service, port, { from, family })
      .filter(({ workload }) => wanted?.has(workload.uid) ?? true)
      .filter(({ workload }) => !policy.tunnelOnly || workload.tunnelProtocol === 'HBONE')
      .map(endpoint => {
        // Those that were there before the waypoint looked are nothing new.
        const since = made === null ? Number.NEGATIVE_INFINITY : now();
        const standing = before.get(endpoint.workload.uid)?.standing ?? { since, active: 0 };
        return new Member(endpoint, levelIn(policy, from, endpoint), standing);
      });
    this.#members = members;
    this.#byUid = new Map(members.map(member => [member.uid, member]));
    const uids = new Set(this.#byUid.keys());
    this.#outliers.keep(uids);
    this.#chooser.renew(members, uids);
  }

  #isPanic(): boolean {
    const least = this.#policy.outliers?.minHealthPercent ?? 0;
    if (least === 0) return false;
    const { endpoints, ejected } = this.count();
    return ((endpoints - ejected) * 100) / endpoints < least;
  }

  /** The share of those that are new, as it is now. */
  #warm({ durationMs, minimumPercent, aggression }: Warmup): void {
    const now = this.#options.now();
    for (const member of this.#members) {
      const part = Math.min(1, (now - member.standing.since) / durationMs);
      const share = Math.max(minimumPercent / 100, part ** (1 / aggression));
      member.weight = member.endpoint.workload.capacity * share;
    }
  }
}

/** Nothing in them is about how connections are made and kept. */
function isPlain(limits: TrafficLimits): boolean {
  const others: TrafficLimits = {
    ...limits,
    requests: null,
    pending: null,
    retries: null,
    tcpIdleMs: null,
    version: noLimits.version,
  };
  return isDeepStrictEqual(others, noLimits);
}
