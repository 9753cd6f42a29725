/**
 * Which rule a connection hits that is carried as it is: every match of every route in force in its order of precedence, and
 * the first that fits. Can say why for each one before it.
 *
 * Of TLSRoutes the most exact name is in force: whole names before wildcards, longer wildcards before shorter; then the older route, then
 * the name of the route (Gateway API). VirtualServices keep their order: the first that fits.
 */
import { CidrSet, ipValue, parseCidr, type IpValue } from './address.ts';
import { tcpRuleName, type TcpMatch, type TcpRoute, type TcpRule } from './tcp-route.ts';
import type { AppProtocol } from './workload.ts';

/** The rule that a connection hits. */
export interface TcpHit {
  readonly route: TcpRoute;
  readonly rule: TcpRule;
  /** Position of the rule in its route, from 0. */
  readonly index: number;
  /** Of the names of its match the one that fits; null where no name was looked at. */
  readonly name: string | null;
}

/** Who comes, and for what. */
export interface TcpAsker {
  /** Of the client. */
  readonly namespace: string;
  /** Uid of the client; null: it is not known. */
  readonly workload: string | null;
  /** What was dialled. */
  readonly address: string;
  readonly port: number;
  /** What the port is said to speak. */
  readonly protocol: AppProtocol;
  /** The name that its TLS asks for, '' for none; null: it is no TLS, or was not looked at. */
  readonly sni: string | null;
}

/** `none`: it is refused. `direct`: it goes to the service itself. */
export type TcpMatched =
  | { readonly kind: 'rule'; readonly hit: TcpHit }
  | { readonly kind: 'none'; readonly why: string }
  | { readonly kind: 'direct' };

export interface TcpStep {
  /** `TLSRoute shop/mail rule 1` */
  readonly rule: string;
  readonly hit: boolean;
  readonly reason: string;
}

interface Entry extends TcpHit {
  readonly match: TcpMatch;
  readonly fits: (asker: TcpAsker, address: IpValue | null) => boolean;
}

/** The routes in force for one port of a service and one client, ready to be asked. */
export class TcpTable {
  /** What becomes of what fits no rule: routes of Gateway API stand in place of the service, VirtualServices before it. */
  readonly #isWhole: boolean;
  readonly #entries: readonly Entry[];

  constructor(routes: readonly TcpRoute[]) {
    this.#isWhole = routes.some(({ kind }) => kind !== 'VirtualService' && kind !== 'TrafficSplit');
    this.#entries = routes.flatMap(entriesOf).sort(compareEntries);
  }

  /** Whether the name that a client asks for may decide where it goes. */
  looksAtNames(asker: Omit<TcpAsker, 'sni'>): boolean {
    return this.#fitting({ ...asker, sni: null }).some(({ name }) => name !== null);
  }

  find(asker: TcpAsker): TcpMatched {
    const hit = this.#order(asker).find(entry => isNamed(entry, asker));
    if (hit !== undefined) return { kind: 'rule', hit };
    if (!this.#isNameMissed(asker) && !this.#isWhole) return { kind: 'direct' };
    return { kind: 'none', why: whyNone(asker) };
  }

  /** Every match in its order, with what it is for. */
  rules(): { readonly hit: TcpHit; readonly matches: string }[] {
    return this.#entries.map(entry => ({ hit: entry, matches: describe(entry) }));
  }

  /** Every match that was looked at and why it did not fit. */
  explain(asker: TcpAsker): TcpStep[] {
    const order = new Set(this.#order(asker));
    const steps: TcpStep[] = [];
    for (const entry of this.#entries) {
      const hit = order.has(entry) && isNamed(entry, asker);
      const reason = hit ? `matches ${describe(entry)}` : obstacleOf(entry, asker, order.has(entry));
      steps.push({ rule: tcpRuleName(entry.route, entry.index), hit, reason });
      if (hit) break;
    }
    return steps;
  }

  #fitting(asker: TcpAsker): Entry[] {
    const address = ipValue(asker.address);
    return this.#entries.filter(({ fits }) => fits(asker, address));
  }

  /** TLS is for the rules that know names, where there are any; else, and for all else, those that do not. */
  #order(asker: TcpAsker): readonly Entry[] {
    const fitting = this.#fitting(asker);
    const named = fitting.filter(({ name }) => name !== null);
    const others = fitting.filter(({ name }) => name === null);
    if (named.length === 0) return asker.protocol === 'TLS' && !this.#isWhole ? [] : others;
    return asker.sni !== null || asker.protocol === 'TLS' ? named : others;
  }

  #isNameMissed(asker: TcpAsker): boolean {
    return this.#order(asker).some(({ name }) => name !== null);
  }
}

function entriesOf(route: TcpRoute): Entry[] {
  return route.rules.flatMap((rule, index) =>
    rule.matches.flatMap(match =>
      (match.names ?? [null]).map(name => ({ route, rule, index, match, name, fits: compile(match) })),
    ),
  );
}

/** What does not hang on the name. */
function compile({ from, port, subnets, workloads }: TcpMatch): Entry['fits'] {
  const clients = workloads === undefined ? null : new Set(workloads);
  const ranges = subnets?.map(parseCidr);
  // What can not be read fits nothing.
  const set =
    ranges === undefined || ranges.includes(null) ? null : CidrSet.from(ranges.filter(r => r !== null));
  return (asker, address) => {
    if ((from ?? asker.namespace) !== asker.namespace || (port ?? asker.port) !== asker.port) return false;
    if (clients?.has(asker.workload ?? '') === false) return false;
    return subnets === undefined || (set !== null && address !== null && set.contains(address));
  };
}

function isNamed({ name }: Entry, { sni }: TcpAsker): boolean {
  return name === null || (sni !== null && fitsName(name, sni));
}

/** A wildcard stands for one label or several. */
function fitsName(pattern: string, sni: string): boolean {
  if (pattern === '*') return true;
  return pattern.startsWith('*.') ? sni.endsWith(pattern.slice(1)) : sni === pattern;
}

function compareEntries(a: Entry, b: Entry): number {
  const [left, right] = [`${a.route.namespace}/${a.route.name}`, `${b.route.namespace}/${b.route.name}`];
  return (
    exactness(b) - exactness(a) ||
    a.route.createdAt - b.route.createdAt ||
    (left < right ? -1 : left > right ? 1 : a.index - b.index)
  );
}

const longestName = 1_024;

function exactness({ route, name }: Entry): number {
  if (route.kind !== 'TLSRoute' || name === null) return 0;
  return name.startsWith('*') ? name.length : name.length + longestName;
}

function whyNone({ sni }: TcpAsker): string {
  if (sni === null) return 'no rule of the routes of this port is for what is no TLS';
  return sni === ''
    ? 'no rule of the routes of this port is for TLS without a name'
    : `no rule of the routes of this port is for the name ${sni}`;
}

function describe({ match, name }: Entry): string {
  const parts = [
    ...(name === null ? [] : [`name ${name}`]),
    ...(match.from === undefined ? [] : [`clients of ${match.from}`]),
    ...(match.workloads === undefined ? [] : ['clients with its labels']),
    ...(match.port === undefined ? [] : [`port ${match.port}`]),
    ...(match.subnets === undefined ? [] : [`addresses of ${match.subnets.join(', ')}`]),
  ];
  return parts.length === 0 ? 'every connection' : parts.join(', ');
}

function obstacleOf({ match, name }: Entry, asker: TcpAsker, isInOrder: boolean): string {
  const { from, port, subnets, workloads } = match;
  if ((from ?? asker.namespace) !== asker.namespace)
    return `the client is of ${asker.namespace}, not ${from}`;
  if ((port ?? asker.port) !== asker.port) return `the port is ${asker.port}, not ${port}`;
  if (workloads?.includes(asker.workload ?? '') === false)
    return 'the client is not known to have the labels';
  if (!compile(match)(asker, ipValue(asker.address)))
    return `the address is ${asker.address}, not of ${(subnets ?? []).join(', ')}`;
  if (name === null) return 'not for TLS, for which other rules are';
  if (asker.sni === null || !isInOrder) return 'for TLS only';
  return `the name is ${asker.sni === '' ? 'absent' : asker.sni}, not ${name}`;
}
