/**
 * From HTTPRoute and GRPCRoute to the routes a waypoint follows. Pure, and per object: whether a backend exists is seen
 * by the waypoint for each request, since backends come and go.
 *
 * A rule of which a part can not be done answers with 500 instead of doing the rest: what a filter was to keep from a
 * backend must not reach it (Gateway API wants the same of filters that are not known).
 */
import type { HttpMatch, HttpRoute, HttpRule } from '../model/http-route.ts';
import type { GrpcRouteMatch, GrpcRouteRule } from '../model/kinds/grpc-route.ts';
import type { HttpRouteMatch, HttpRouteRule } from '../model/kinds/http-route.ts';
import { routeDurationMs } from '../model/kinds/route-parts.ts';
import { filtersOf } from './build-route-filters.ts';
import { sessionOf } from './build-sessions.ts';
import { grpcMatch, httpMatch } from './build-route-matches.ts';
import type { Located, Report } from './located.ts';
import { type RouteContext, RouteScope } from './build-route-scope.ts';

/** The route an object describes; null where it is bound to no Service. */
export function routeOf(
  object: Located<'HTTPRoute' | 'GRPCRoute'>,
  context: RouteContext,
  report: Report,
): HttpRoute | null {
  const scope = new RouteScope(object, context, report);
  const { spec } = object.value;
  const parents = scope.parents();
  if (parents.length === 0) return null;
  if (spec.hostnames.length > 0) {
    const message = 'not looked at for a Service: match the header host instead';
    scope.say('info', 'hostnames-ignored', 'spec.hostnames', message);
  }
  return {
    kind: object.kind,
    namespace: object.namespace,
    name: object.name,
    createdAt: scope.createdAt,
    parents,
    rules: object.kind === 'HTTPRoute' ? httpRules(scope, object) : grpcRules(scope, object),
  };
}

const anyRequest: HttpRouteMatch = { headers: [], queryParams: [] };
const anyCall: GrpcRouteMatch = { headers: [] };
const noMore = { timeouts: { requestMs: null, backendRequestMs: null }, retry: null };

/** A rule without matches is for everything; one none of whose matches is in force is for nothing. */
function httpRules(scope: RouteScope, { value }: Located<'HTTPRoute'>): HttpRule[] {
  const all = value.spec.rules;
  const rules = all.length === 0 ? [{ matches: [], filters: [], backendRefs: [] }] : all;
  return rules.map((rule: HttpRouteRule, index) => {
    const field = `spec.rules[${index}]`;
    const matches = (rule.matches.length === 0 ? [anyRequest] : rule.matches).flatMap(
      (match, at) => httpMatch(scope, match, `${field}.matches[${at}]`) ?? [],
    );
    const { timeouts, retry } = rule;
    const more = {
      timeouts: {
        requestMs: timeoutMs(timeouts?.request),
        backendRequestMs: timeoutMs(timeouts?.backendRequest),
      },
      retry:
        retry === undefined
          ? null
          : {
              attempts: retry.attempts,
              on: ['connect-failure', 'refused-stream', 'reset', 'timeout'] as const,
              codes: retry.codes,
              backoffMs: routeDurationMs(retry.backoff ?? '0s'),
              remoteLocalities: null,
            },
    };
    return ruleOf(scope, rule, field, matches, more);
  });
}

function grpcRules(scope: RouteScope, { value }: Located<'GRPCRoute'>): HttpRule[] {
  const all = value.spec.rules;
  const rules = all.length === 0 ? [{ matches: [], filters: [], backendRefs: [] }] : all;
  return rules.map((rule: GrpcRouteRule, index) => {
    const field = `spec.rules[${index}]`;
    const matches = (rule.matches.length === 0 ? [anyCall] : rule.matches).flatMap(
      (match, at) => grpcMatch(scope, match, `${field}.matches[${at}]`) ?? [],
    );
    return ruleOf(scope, rule, field, matches, noMore);
  });
}

function ruleOf(
  scope: RouteScope,
  rule: HttpRouteRule | GrpcRouteRule,
  field: string,
  matches: readonly HttpMatch[],
  more: Pick<HttpRule, 'timeouts' | 'retry'>,
): HttpRule {
  const own = filtersOf(scope, rule.filters, `${field}.filters`, matches);
  const { problem } = own;
  const redirects = own.filters.some(({ type }) => type === 'redirect');
  if (redirects && rule.backendRefs.length > 0) {
    const message = 'never reached: the rule redirects';
    scope.say('warning', 'unused-backend', `${field}.backendRefs`, message);
  }
  const backends = rule.backendRefs.map((ref, at) => {
    const place = `${field}.backendRefs[${at}]`;
    const backend = scope.backend(ref, place);
    const extra = filtersOf(scope, ref.filters, `${place}.filters`, matches);
    const invalid = problem ?? extra.problem ?? backend.invalid;
    return { ...backend, weight: ref.weight, filters: extra.filters, invalid };
  });
  // A rule that can not be done keeps no filter: a redirect, say, would answer where a 500 is due.
  return {
    name: rule.name ?? null,
    matches,
    filters: problem === null ? own.filters : [],
    backends,
    session: sessionOf(scope, rule, field),
    ...more,
  };
}

/** Zero switches a timeout off. */
function timeoutMs(text: string | undefined): number | null {
  const ms = routeDurationMs(text ?? '0s');
  return ms === 0 ? null : ms;
}
