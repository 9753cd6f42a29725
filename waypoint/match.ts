/**
 * The rule that a request hits. A service no route is about gets its requests itself, as do workloads that are addressed
 * by their own IP: routes are bound to services.
 */
import type { RouteHit } from '../model/http-match.ts';
import { serviceKey } from '../model/service.ts';
import type { WaypointContext } from './context.ts';
import type { Incoming } from './incoming.ts';

/** `direct`: no route is about the destination. `none`: there are routes, and no rule fits. `barred`: nobody may be served. */
export type Match =
  | { readonly kind: 'direct' }
  | { readonly kind: 'none' }
  | { readonly kind: 'barred'; readonly reason: string }
  | { readonly kind: 'rule'; readonly hit: RouteHit };

const direct: Match = { kind: 'direct' };
const none: Match = { kind: 'none' };

export function matchOf(
  { routes, barred }: Pick<WaypointContext, 'routes' | 'barred'>,
  { destination, client, head }: Pick<Incoming, 'destination' | 'client' | 'head'>,
): Match {
  const reason = barred.why(destination);
  if (reason !== null) return { kind: 'barred', reason };
  if (destination.kind === 'workload') return direct;
  const table = routes.tableFor(serviceKey(destination.service), destination.port, client.namespace);
  if (table === null) return direct;
  const hit = table.find(head, {
    namespace: client.namespace,
    port: destination.port,
    workload: client.workload?.uid ?? null,
  });
  return hit === null ? none : { kind: 'rule', hit };
}
