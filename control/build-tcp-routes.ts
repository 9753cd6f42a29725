/**
 * From TCPRoute and TLSRoute to the routes of connections a waypoint follows. Pure, and per object: whether a backend exists
 * is seen by the waypoint for each connection, since backends come and go.
 */
import type { TcpRoute, TcpRule } from '../model/tcp-route.ts';
import type { TcpRouteRule } from '../model/kinds/tcp-route.ts';
import { type RouteContext, RouteScope } from './build-route-scope.ts';
import type { Located, Report } from './located.ts';

/** The route an object describes; null where it is bound to no Service. */
export function tcpRouteOf(
  object: Located<'TCPRoute' | 'TLSRoute'>,
  context: RouteContext,
  report: Report,
): TcpRoute | null {
  const scope = new RouteScope(object, context, report);
  const parents = scope.parents();
  if (parents.length === 0) return null;
  const names = namesOf(object);
  return {
    kind: object.kind,
    namespace: object.namespace,
    name: object.name,
    createdAt: scope.createdAt,
    parents,
    rules: object.value.spec.rules.map((rule: TcpRouteRule, index) => {
      const field = `spec.rules[${index}]`;
      // Rules have no conditions of their own: the first is for whatever the route is for.
      const isReached = index === 0;
      if (!isReached)
        scope.say('error', 'unsupported-route', field, 'never reached: the first rule is in force');
      return ruleOf(scope, rule, field, isReached ? [{ names }] : []);
    }),
  };
}

/** Null: they are not looked at. */
function namesOf(object: Located<'TCPRoute' | 'TLSRoute'>): readonly string[] | null {
  const { spec } = object.value;
  if (!('hostnames' in spec)) return null;
  return spec.hostnames.length === 0 ? ['*'] : spec.hostnames;
}

function ruleOf(scope: RouteScope, rule: TcpRouteRule, field: string, matches: TcpRule['matches']): TcpRule {
  const backends = rule.backendRefs.map((ref, at) => ({
    ...scope.backend(ref, `${field}.backendRefs[${at}]`),
    weight: ref.weight,
  }));
  if (backends.every(({ weight }) => weight === 0)) {
    const message = 'no backend has a weight: every connection is refused';
    scope.say('warning', 'unused-backend', `${field}.backendRefs`, message);
  }
  return { name: rule.name ?? null, matches, backends };
}
