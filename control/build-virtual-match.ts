/**
 * The matches of a VirtualService, in the form in which a waypoint compares them.
 *
 * One that can not be evaluated is left out and said to be: what it was for hits another rule, or none.
 */
import type { HttpMatch, PathMatch, ValueMatch } from '../model/http-route.ts';
import type { StringMatch, VirtualServiceMatch } from '../model/kinds/virtual-service.ts';
import type { Say } from './finding.ts';
import { patternProblem } from './pattern.ts';

const everything: PathMatch = { type: 'prefix', value: '' };

/** What every request fits. */
export const anyRequest: HttpMatch = {
  path: everything,
  method: null,
  headers: [],
  query: [],
  precedence: [],
};

/** The workloads that carry labels, by uid. */
export type ClientsOf = (labels: Readonly<Record<string, string>>) => readonly string[];

/** The match, or null where it is not in force. */
export function virtualMatch(
  match: VirtualServiceMatch,
  field: string,
  say: Say,
  clientsOf: ClientsOf,
): HttpMatch | null {
  const { gateways, sourceLabels = {}, sourceNamespace, port } = match;
  if (gateways !== undefined && !gateways.includes('mesh')) return null;
  const conditions = new Conditions(field, say);
  const path = conditions.path(match);
  for (const name of ['method', 'authority', 'scheme'] as const)
    if (match[name] !== undefined) conditions.add(`:${name}`, match[name], `${field}.${name}`);
  for (const [name, value] of Object.entries(match.headers ?? {}))
    conditions.add(name === 'host' ? ':authority' : name, value, `${field}.headers.${name}`);
  for (const [name, value] of Object.entries(match.withoutHeaders ?? {}))
    conditions.add(name, value, `${field}.withoutHeaders.${name}`, true);
  const query = new Conditions(field, say);
  for (const [name, value] of Object.entries(match.queryParams ?? {}))
    query.add(name, value, `${field}.queryParams.${name}`);
  if (path === null || conditions.isBroken || query.isBroken) return null;
  return {
    ...anyRequest,
    path,
    headers: conditions.list,
    query: query.list,
    ...(sourceNamespace === undefined ? {} : { from: sourceNamespace }),
    ...(port === undefined ? {} : { port }),
    ...(Object.keys(sourceLabels).length === 0 ? {} : { workloads: clientsOf(sourceLabels) }),
  };
}

/**
 * What fits both: the match of a rule that delegates, and one of the rule that stands there. Null where no request does, or
 * where both say something about the path and the inner one is not within the outer.
 */
export function both(outer: HttpMatch, inner: HttpMatch): HttpMatch | null {
  const path = narrower(outer.path, inner.path);
  const from = outer.from ?? inner.from;
  const port = outer.port ?? inner.port;
  const workloads = common(outer.workloads, inner.workloads);
  const isContrary =
    (inner.from !== undefined && from !== inner.from) || (inner.port !== undefined && port !== inner.port);
  if (path === null || isContrary) return null;
  return {
    ...anyRequest,
    path,
    headers: [...outer.headers, ...inner.headers],
    query: [...outer.query, ...inner.query],
    ...(from === undefined ? {} : { from }),
    ...(port === undefined ? {} : { port }),
    ...(workloads === undefined ? {} : { workloads }),
  };
}

function common(
  outer: readonly string[] | undefined,
  inner: readonly string[] | undefined,
): readonly string[] | undefined {
  if (outer === undefined || inner === undefined) return outer ?? inner;
  const some = new Set(inner);
  return outer.filter(uid => some.has(uid));
}

function narrower(outer: PathMatch, inner: PathMatch): PathMatch | null {
  const isAny = ({ type, value }: PathMatch): boolean => type === 'prefix' && value === '';
  if (isAny(inner)) return outer;
  if (isAny(outer)) return inner;
  const isWithin =
    (outer.type === 'start' && inner.type !== 'regex' && inner.value.startsWith(outer.value)) ||
    (outer.type === inner.type && outer.value === inner.value);
  return isWithin ? inner : null;
}

class Conditions {
  readonly list: ValueMatch[] = [];
  isBroken = false;
  readonly #field: string;
  readonly #say: Say;

  constructor(field: string, say: Say) {
    this.#field = field;
    this.#say = say;
  }

  path({ uri, ignoreUriCase = false }: VirtualServiceMatch): PathMatch | null {
    if (uri === undefined) return everything;
    const field = `${this.#field}.uri`;
    const value = this.#single(uri, field);
    if (value === null) return null;
    if (ignoreUriCase && value.type !== 'present' && value.type !== 'regex') {
      const text = RegExp.escape(value.value);
      return { type: 'regex', value: `(?i:${text})${value.type === 'start' ? '.*' : ''}` };
    }
    if (value.type === 'exact') return { type: 'exact', value: value.value };
    if (value.type === 'start') return { type: 'start', value: value.value };
    return value.type === 'regex' ? { type: 'regex', value: value.value } : everything;
  }

  add(name: string, match: StringMatch, field: string, not = false): void {
    const value = this.#single(match, field);
    if (value !== null) this.list.push({ name, ...value, ...(not ? { not: true } : {}) });
  }

  /** Nothing at all is a value that is there. */
  #single({ exact, prefix, regex }: StringMatch, field: string): Pick<ValueMatch, 'type' | 'value'> | null {
    const said = [exact, prefix, regex].filter(value => value !== undefined).length;
    if (said > 1) return this.#broken(field, 'exact, prefix and regex exclude each other');
    if (exact !== undefined) return { type: 'exact', value: exact };
    if (prefix !== undefined) return { type: 'start', value: prefix };
    if (regex === undefined) return { type: 'present', value: '' };
    const problem = patternProblem(regex);
    return problem === null ? { type: 'regex', value: regex } : this.#broken(field, problem, 'bad-pattern');
  }

  #broken(field: string, why: string, code = 'unsupported-route'): null {
    this.isBroken = true;
    this.#say('error', code, field, `the match is not in force: ${why}`);
    return null;
  }
}
