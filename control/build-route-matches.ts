/**
 * The matches of routes: paths, methods, headers and parameters, in the form in which a waypoint compares them.
 *
 * A match that can not be evaluated is left out and said to be: what it was for hits another rule, or none.
 */
import { grpcPrecedence, httpPrecedence } from '../model/http-match.ts';
import type { HttpMatch, PathMatch, ValueMatch } from '../model/http-route.ts';
import type { GrpcRouteMatch } from '../model/kinds/grpc-route.ts';
import type { HttpRouteMatch } from '../model/kinds/http-route.ts';
import { patternProblem } from './pattern.ts';
import type { RouteScope } from './build-route-scope.ts';

/** The match of an HTTPRoute, or null. */
export function httpMatch(scope: RouteScope, match: HttpRouteMatch, field: string): HttpMatch | null {
  const path = httpPath(scope, match, field);
  const headers = valueMatches(scope, match.headers, `${field}.headers`);
  const query = valueMatches(scope, match.queryParams, `${field}.queryParams`);
  if (path === null || headers === null || query === null) return null;
  const parts = { path, method: match.method ?? null, headers, query };
  return { ...parts, precedence: httpPrecedence(parts) };
}

function httpPath(scope: RouteScope, match: HttpRouteMatch, field: string): PathMatch | null {
  const { type = 'PathPrefix', value = '/' } = match.path ?? {};
  if (type === 'Exact') return { type: 'exact', value };
  if (type === 'PathPrefix') return { type: 'prefix', value: value.replace(/\/$/, '') };
  return isPattern(scope, value, `${field}.path.value`) ? { type: 'regex', value } : null;
}

/** The match of a GRPCRoute, or null. */
export function grpcMatch(scope: RouteScope, match: GrpcRouteMatch, field: string): HttpMatch | null {
  const { type = 'Exact', service, method } = match.method ?? {};
  if (type === 'RegularExpression') {
    for (const pattern of [service, method])
      if (pattern !== undefined && !isPattern(scope, pattern, `${field}.method`)) return null;
  }
  const headers = valueMatches(scope, match.headers, `${field}.headers`);
  if (headers === null) return null;
  const precedence = grpcPrecedence(service ?? '', method ?? '', headers.length);
  return { path: grpcPath(type, service, method), method: null, headers, query: [], precedence };
}

/** The path of a call is `/service/method`. */
function grpcPath(type: string, service: string | undefined, method: string | undefined): PathMatch {
  if (service === undefined && method === undefined) return { type: 'prefix', value: '' };
  if (type === 'RegularExpression')
    return { type: 'regex', value: `/(?:${service ?? '[^/]+'})/(?:${method ?? '[^/]+'})` };
  if (service === undefined) return { type: 'regex', value: `/[^/]+/${method}` };
  return method === undefined
    ? { type: 'prefix', value: `/${service}` }
    : { type: 'exact', value: `/${service}/${method}` };
}

/** The first of several conditions on one name counts (Gateway API). Null where one can not be evaluated. */
function valueMatches(
  scope: RouteScope,
  values: readonly { readonly type: string; readonly name: string; readonly value: string }[],
  field: string,
): ValueMatch[] | null {
  const conditions = new Map<string, ValueMatch>();
  for (const [index, { type, name, value }] of values.entries()) {
    const isRegex = type === 'RegularExpression';
    if (isRegex && !isPattern(scope, value, `${field}[${index}].value`)) return null;
    if (!conditions.has(name)) conditions.set(name, { name, type: isRegex ? 'regex' : 'exact', value });
  }
  return [...conditions.values()];
}

function isPattern(scope: RouteScope, text: string, field: string): boolean {
  const problem = patternProblem(text);
  if (problem === null) return true;
  scope.say('error', 'bad-pattern', field, `the match is not in force: ${problem}`);
  return false;
}
