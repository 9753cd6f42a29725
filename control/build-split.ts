/**
 * From TrafficSplit (SMI) to the routes a waypoint follows: requests, and connections where nothing but the service decides.
 * Pure, and per object.
 *
 * Calls that none of its HTTPRouteGroups matches go to the service itself. Of the ports of the service a backend takes part in
 * those that it has under the same number. A backend is not split again.
 */
import type { HttpBackend, HttpMatch, HttpRoute, HttpRule, ValueMatch } from '../model/http-route.ts';
import type { HttpRouteGroup } from '../model/kinds/traffic-split.ts';
import type { TcpRoute } from '../model/tcp-route.ts';
import { anyRequest } from './build-virtual-match.ts';
import type { Say } from './finding.ts';
import type { Located, Report } from './located.ts';
import { patternProblem } from './pattern.ts';

export interface SplitContext {
  /** The Service of a namespace by a name of it: its key, and its ports; null ports where there is no such Service. */
  readonly service: (
    name: string,
    namespace: string,
  ) => { readonly key: string; readonly ports: readonly number[] | null };
  readonly group: (namespace: string, name: string) => Located<'HTTPRouteGroup'> | null;
}

export interface SplitRoutes {
  readonly routes: HttpRoute | null;
  readonly tcpRoutes: TcpRoute | null;
}

type Split = Located<'TrafficSplit'>;
type GroupMatch = HttpRouteGroup['spec']['matches'][number];

/** The routes an object describes; null where its service is not there. */
export function splitRoutesOf(split: Split, context: SplitContext, report: Report): SplitRoutes | null {
  const say: Say = (severity, code, field, message) => report(split, severity, code, field, message);
  const { spec, metadata } = split.value;
  const { key, ports } = context.service(spec.service, split.namespace);
  if (ports === null) {
    say(
      'warning',
      'unknown-parent',
      'spec.service',
      `not bound: there is no Service ${key} of its namespace`,
    );
    return null;
  }
  const shares = backendsOf(split, context, say);
  if (shares.every(({ backend }) => backend.weight === 0))
    say('warning', 'unsupported-route', 'spec.backends', 'all weights are zero: it is answered with 500');
  const matches = matchesOf(split, context, say);
  const created = Date.parse(metadata.creationTimestamp ?? '');
  const base = {
    kind: 'TrafficSplit',
    namespace: split.namespace,
    name: split.name,
    createdAt: Number.isNaN(created) ? 0 : created,
    parents: [{ service: key, port: null }],
  } as const;
  const sets = portSets(shares, ports, say);
  const rules = sets.map(({ port, backends }) =>
    ruleOf(
      (matches ?? [anyRequest]).map(match => (port === null ? match : { ...match, port })),
      backends,
    ),
  );
  const rest = ruleOf([anyRequest], [backend(key, 1)]);
  return {
    routes: { ...base, rules: matches === null ? rules : [...rules, rest] },
    tcpRoutes:
      matches === null
        ? {
            ...base,
            rules: sets.map(({ port, backends }) => ({
              name: null,
              matches: [{ names: null, ...(port === null ? {} : { port }) }],
              backends,
            })),
          }
        : null,
  };
}

interface Share {
  readonly backend: HttpBackend;
  /** Null where there is no such Service, which the waypoint sees for itself. */
  readonly ports: readonly number[] | null;
  readonly field: string;
}

function backendsOf({ value, namespace }: Split, context: SplitContext, say: Say): Share[] {
  const { backends } = value.spec;
  const inThousandths = backends.some(({ weight }) => !Number.isInteger(units(weight)));
  return backends.map(({ service, weight }, at) => {
    const { key, ports } = context.service(service, namespace);
    const field = `spec.backends[${at}].service`;
    const amount = inThousandths ? Math.round(units(weight) * 1_000) : units(weight);
    if (ports === null && amount > 0) {
      const message = `there is no Service ${key} of its namespace: its share is answered with 500`;
      say('warning', 'unknown-backend', field, message);
    }
    return { backend: backend(key, amount), ports, field };
  });
}

/** A quantity as a number. */
function units(weight: number | string): number {
  if (typeof weight === 'number') return weight;
  const factors: Readonly<Record<string, number>> = { m: 0.001, k: 1_000 };
  return Number.parseFloat(weight) * (factors[weight.at(-1) ?? ''] ?? 1);
}

function backend(service: string, weight: number): HttpBackend {
  return { service, port: 0, subset: null, weight, filters: [], invalid: null };
}

/** Who takes part in which port; one set for all where everybody has every port. */
function portSets(
  shares: readonly Share[],
  ports: readonly number[],
  say: Say,
): { readonly port: number | null; readonly backends: readonly HttpBackend[] }[] {
  const has = ({ ports: own }: Share, port: number): boolean => own === null || own.includes(port);
  if (ports.every(port => shares.every(share => has(share, port))))
    return [{ port: null, backends: shares.map(share => share.backend) }];
  for (const share of shares) {
    const missing = ports.filter(port => !has(share, port));
    if (missing.length === 0) continue;
    const message = `takes no part in port ${missing.join(', ')}, which it does not have`;
    say('warning', 'split-without-port', share.field, message);
  }
  return ports.map(port => ({
    port,
    backends: shares.filter(share => has(share, port)).map(share => share.backend),
  }));
}

/** Null: everything. */
function matchesOf(split: Split, context: SplitContext, say: Say): HttpMatch[] | null {
  const { matches: refs = [] } = split.value.spec;
  if (refs.length === 0) return null;
  return refs.flatMap(({ kind, name, apiGroup = 'specs.smi-spec.io' }, at) => {
    const field = `spec.matches[${at}]`;
    const refuse = (why: string): [] => {
      say('error', 'unknown-match', field, `${why}: what it was for goes to the service itself`);
      return [];
    };
    if (kind !== 'HTTPRouteGroup' || apiGroup !== 'specs.smi-spec.io')
      return refuse(`calls are matched by an HTTPRouteGroup, not a ${kind}`);
    const group = context.group(split.namespace, name);
    if (group === null) return refuse(`there is no HTTPRouteGroup ${split.namespace}/${name}`);
    return group.value.spec.matches.flatMap(match => groupMatch(match, field, say));
  });
}

/** One for each method. */
function groupMatch(
  { name, pathRegex, methods = [], headers }: GroupMatch,
  field: string,
  say: Say,
): HttpMatch[] {
  const conditions = (Array.isArray(headers) ? headers : [headers ?? {}]).flatMap(each =>
    Object.entries(each),
  );
  for (const pattern of [pathRegex ?? '', ...conditions.map(([, value]) => value)]) {
    const problem = patternProblem(pattern);
    if (problem === null) continue;
    say('warning', 'bad-pattern', field, `match ${name} is not in force: ${problem}`);
    return [];
  }
  const list = conditions.map(([header, value]): ValueMatch => ({
    name: header.toLowerCase() === 'host' ? ':authority' : header.toLowerCase(),
    type: 'regex',
    value,
  }));
  const base: HttpMatch = {
    ...anyRequest,
    // Anchored at its beginning only.
    ...(pathRegex === undefined ? {} : { path: { type: 'regex', value: `(?:${pathRegex})[^]*` } }),
    headers: list,
  };
  if (methods.length === 0 || methods.includes('*')) return [base];
  return methods.map(method => ({ ...base, method: method.toUpperCase() }));
}

function ruleOf(matches: readonly HttpMatch[], backends: readonly HttpBackend[]): HttpRule {
  return {
    name: null,
    matches,
    filters: [],
    backends,
    timeouts: { requestMs: null, backendRequestMs: null },
    retry: null,
    session: null,
  };
}
