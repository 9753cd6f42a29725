/**
 * Which rule a request hits: every match of every route of a service in its order of precedence (Gateway API), and the
 * first that fits. Can say why for each one before it.
 */
import { headerOf, type HttpHead } from './http-head.ts';
import { ruleName, type HttpMatch, type HttpRoute, type HttpRule, type ValueMatch } from './http-route.ts';

/** The rule that a request hits. */
export interface RouteHit {
  readonly route: HttpRoute;
  readonly rule: HttpRule;
  /** Position of the rule in its route, from 0. */
  readonly index: number;
  readonly match: HttpMatch;
}

/** What became of one match, for people. */
export interface MatchStep {
  /** `HTTPRoute shop/canary rule 1` */
  readonly rule: string;
  readonly hit: boolean;
  readonly reason: string;
}

export interface MatchExplanation {
  readonly hit: RouteHit | null;
  readonly steps: readonly MatchStep[];
}

/** Of exact paths, then prefixes, then regular expressions; then longer paths, a method, more headers, more parameters. */
export function httpPrecedence(match: Omit<HttpMatch, 'precedence'>): readonly number[] {
  const { path, method, headers, query } = match;
  const type = { exact: 2, prefix: 1, start: 1, regex: 0 }[path.type];
  return [type, path.value.length, method === null ? 0 : 1, headers.length, query.length];
}

/** Of longer services, then longer methods, then more headers. */
export function grpcPrecedence(service: string, method: string, headers: number): readonly number[] {
  return [service.length, method.length, headers];
}

/** Who asks, as far as matches look at it. */
export interface Asker {
  readonly namespace: string;
  /** Of the service. */
  readonly port: number;
  /** Uid of the client; null or left out: it is not known. */
  readonly workload?: string | null;
}

const nobody: Asker = { namespace: '', port: 0 };

interface Entry extends RouteHit {
  readonly fits: (subject: Subject) => boolean;
}

/** A request while it is looked at: its query is read at most once. */
class Subject {
  readonly head: HttpHead;
  readonly asker: Asker;
  #parameters: URLSearchParams | null = null;

  constructor(head: HttpHead, asker: Asker) {
    this.head = head;
    this.asker = asker;
  }

  header(name: string): string | null {
    const { head } = this;
    if (!name.startsWith(':')) return headerOf(head.headers, name);
    return name === ':method' ? head.method : name === ':scheme' ? head.scheme : head.authority;
  }

  /** The first value counts. */
  parameter(name: string): string | null {
    this.#parameters ??= new URLSearchParams(this.head.query ?? '');
    return this.#parameters.get(name);
  }
}

/** The routes of one service, port and client, ready to be asked. */
export class RouteTable {
  readonly #entries: readonly Entry[];

  constructor(routes: readonly HttpRoute[]) {
    this.#entries = routes
      .flatMap(route =>
        route.rules.flatMap((rule, index) =>
          rule.matches.map(match => ({ route, rule, index, match, fits: compile(match) })),
        ),
      )
      .sort(compareEntries);
  }

  /** Every match in its order, with its rule. */
  hits(): readonly RouteHit[] {
    return this.#entries;
  }

  /** The rule in force for a request, or null where none fits: it is answered with 404. */
  find(head: HttpHead, asker: Asker = nobody): RouteHit | null {
    const subject = new Subject(head, asker);
    for (const entry of this.#entries) if (entry.fits(subject)) return entry;
    return null;
  }

  /** The same, with every match that was looked at and why it did not fit. */
  explain(head: HttpHead, asker: Asker = nobody): MatchExplanation {
    const subject = new Subject(head, asker);
    const steps: MatchStep[] = [];
    for (const entry of this.#entries) {
      const obstacle = obstacleOf(entry.match, subject);
      const rule = ruleName(entry.route, entry.index);
      steps.push({
        rule,
        hit: obstacle === null,
        reason: obstacle ?? `matches ${describeMatch(entry.match)}`,
      });
      if (obstacle === null) return { hit: entry, steps };
    }
    return { hit: null, steps };
  }
}

/** Precedence, then the older route, then the name, then the order in the route. */
function compareEntries(a: Entry, b: Entry): number {
  for (const [at, value] of a.match.precedence.entries()) {
    const other = b.match.precedence[at] ?? 0;
    if (value !== other) return other - value;
  }
  const [left, right] = [`${a.route.namespace}/${a.route.name}`, `${b.route.namespace}/${b.route.name}`];
  return a.route.createdAt - b.route.createdAt || (left < right ? -1 : left > right ? 1 : a.index - b.index);
}

function compile(match: HttpMatch): (subject: Subject) => boolean {
  const { method, from, port } = match;
  const workloads = match.workloads === undefined ? null : new Set(match.workloads);
  const path = compilePath(match);
  const headers = match.headers.map(compileValue);
  const query = match.query.map(compileValue);
  return subject => {
    const { head, asker } = subject;
    if (method !== null && head.method !== method) return false;
    if ((from ?? asker.namespace) !== asker.namespace || (port ?? asker.port) !== asker.port) return false;
    if (workloads?.has(asker.workload ?? '') === false) return false;
    if (!path(head.path)) return false;
    for (const { name, fits } of headers) if (!fits(subject.header(name))) return false;
    for (const { name, fits } of query) if (!fits(subject.parameter(name))) return false;
    return true;
  };
}

function compilePath({ path }: HttpMatch): (path: string) => boolean {
  const { type, value } = path;
  if (type === 'exact') return asked => asked === value;
  if (type === 'start') return asked => asked.startsWith(value);
  if (type === 'regex') {
    const pattern = wholeOf(value);
    return asked => pattern.test(asked);
  }
  if (value === '') return () => true;
  return asked => asked.startsWith(value) && (asked.length === value.length || asked[value.length] === '/');
}

interface ValueTest {
  readonly name: string;
  readonly fits: (value: string | null) => boolean;
}

function compileValue({ name, type, value, not }: ValueMatch): ValueTest {
  const fits = valueTest(type, value);
  return {
    name,
    fits: not === true ? given => given === null || !fits(given) : given => given !== null && fits(given),
  };
}

function valueTest(type: ValueMatch['type'], value: string): (given: string) => boolean {
  if (type === 'present') return () => true;
  if (type === 'exact') return given => given === value;
  if (type === 'start') return given => given.startsWith(value);
  const pattern = wholeOf(value);
  return given => pattern.test(given);
}

/** A pattern that has to fit the whole of a text; the builder has checked that it is one. */
function wholeOf(pattern: string): RegExp {
  return new RegExp(`^(?:${pattern})$`);
}

/** What keeps a match from fitting, or null. */
function obstacleOf(match: HttpMatch, subject: Subject): string | null {
  const { head, asker } = subject;
  if ((match.from ?? asker.namespace) !== asker.namespace)
    return `the client is of ${asker.namespace}, not ${match.from}`;
  if ((match.port ?? asker.port) !== asker.port) return `the port is ${asker.port}, not ${match.port}`;
  if (match.workloads?.includes(asker.workload ?? '') === false)
    return 'the client is not known to have the labels';
  if (match.method !== null && head.method !== match.method)
    return `method is ${head.method}, not ${match.method}`;
  if (!compilePath(match)(head.path)) return `path ${head.path} is not ${describePath(match)}`;
  for (const condition of match.headers) {
    const value = subject.header(condition.name);
    if (!compileValue(condition).fits(value)) return describeValue('header', condition, value);
  }
  for (const condition of match.query) {
    const value = subject.parameter(condition.name);
    if (!compileValue(condition).fits(value)) return describeValue('query parameter', condition, value);
  }
  return null;
}

function describePath({ path }: HttpMatch): string {
  if (path.type === 'exact') return path.value;
  if (path.type === 'start') return `${path.value}…`;
  return path.type === 'prefix'
    ? `below ${path.value === '' ? '/' : path.value}`
    : `matched by ${path.value}`;
}

function describeValue(what: string, condition: ValueMatch, value: string | null): string {
  const forms = {
    exact: `"${condition.value}"`,
    start: `"${condition.value}…"`,
    regex: `matched by ${condition.value}`,
    present: 'present',
  };
  const wanted = forms[condition.type];
  if (condition.not === true) return `${what} ${condition.name} is ${wanted}`;
  return value === null
    ? `${what} ${condition.name} is absent`
    : `${what} ${condition.name} is "${value}", not ${wanted}`;
}

/** For people. */
export function describeMatch(match: HttpMatch): string {
  const parts = [
    ...(match.method === null ? [] : [`method ${match.method}`]),
    `path ${describePath(match)}`,
    ...match.headers.map(condition => describeCondition('header', condition)),
    ...match.query.map(condition => describeCondition('query parameter', condition)),
    ...(match.from === undefined ? [] : [`clients of ${match.from}`]),
    ...(match.port === undefined ? [] : [`port ${match.port}`]),
  ];
  return parts.join(', ');
}

function describeCondition(what: string, { name, type, value, not }: ValueMatch): string {
  const forms = { exact: value, start: `${value}…`, regex: `matched by ${value}`, present: 'present' };
  return `${not === true ? 'not ' : ''}${what} ${name} ${forms[type]}`;
}

/** The backend for one request, by weight; null where all weights are zero or there are none. */
export function chooseBackend<B extends { readonly weight: number }>(
  backends: readonly B[],
  random: number,
): B | null {
  let total = 0;
  for (const { weight } of backends) total += weight;
  let left = random * total;
  for (const backend of backends) {
    left -= backend.weight;
    if (backend.weight > 0 && left < 0) return backend;
  }
  return backends.findLast(({ weight }) => weight > 0) ?? null;
}
