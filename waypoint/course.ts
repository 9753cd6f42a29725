/**
 * Where a connection goes that is carried as it is: by the routes of connections that are in force for it, to one of the backends of
 * the rule that it hits, by weight; where none is about it, to the service that was dialled.
 */
import { CulvertError } from '../base/errors.ts';
import { chooseBackend } from '../model/http-match.ts';
import { serviceKey } from '../model/service.ts';
import type { TcpAsker, TcpHit } from '../model/tcp-match.ts';
import type { TcpPlan } from '../model/tcp-routes.ts';
import type { AppProtocol } from '../model/workload.ts';
import { backendOf } from './backends.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import type { Heard } from './first-words.ts';

/** A connection as it comes. */
export interface Arrival {
  readonly client: Client;
  readonly destination: Destination;
  /** What the port is said to speak. */
  readonly protocol: AppProtocol;
  /** Null: no route of connections is about it. */
  readonly plan: TcpPlan | null;
}

export interface Course {
  /** Or why there is none: the connection is refused. */
  readonly destination: Destination | CulvertError;
  /** Null where no rule was hit. */
  readonly hit: TcpHit | null;
}

type Context = Pick<WaypointContext, 'mesh' | 'tcpRoutes' | 'barred'>;

/** What routes make of the connections to a destination: they are bound to services, never to workloads. */
export function planOfConnections(
  { tcpRoutes }: Pick<WaypointContext, 'tcpRoutes'>,
  client: Client,
  destination: Destination,
  protocol: AppProtocol,
): TcpPlan | null {
  if (destination.kind === 'workload') return null;
  const { service, port } = destination;
  return tcpRoutes.planFor({ service: serviceKey(service), port, protocol, client: client.namespace });
}

/** Whether the name that a client of TLS asks for may decide where it goes. */
export function looksAtNames(arrival: Arrival): boolean {
  return arrival.plan?.table.looksAtNames(askerOf(arrival)) ?? false;
}

function askerOf({ client, destination, protocol }: Arrival): Omit<TcpAsker, 'sni'> {
  const { address, port } = destination;
  const workload = client.workload?.uid ?? null;
  return { namespace: client.namespace, workload, address, port, protocol };
}

/** @param heard null: the client was not listened to */
export function courseOf(context: Context, arrival: Arrival, heard: Heard | null): Course {
  const { destination, plan } = arrival;
  const refuse = (code: string, why: string, side: 'client' | 'us', hit: TcpHit | null = null): Course => ({
    destination: new CulvertError(code, why, { side }),
    hit,
  });
  const barred = context.barred.why(destination);
  if (barred !== null) return refuse('L7_UNREADABLE', barred, 'us');
  if (plan === null) return { destination, hit: null };
  const trouble = heard?.trouble ?? null;
  if (trouble !== null && looksAtNames(arrival)) return { destination: trouble, hit: null };
  const matched = plan.table.find({ ...askerOf(arrival), sni: sniOf(heard) });
  if (matched.kind === 'direct') return { destination, hit: null };
  if (matched.kind === 'none') return refuse('NO_ROUTE', matched.why, 'client');
  const { hit } = matched;
  const backend = chooseBackend(hit.rule.backends, Math.random());
  if (backend === null) return refuse('NO_BACKEND', 'the rule has no backend with a weight', 'us', hit);
  const target = backendOf(context, backend, destination);
  return typeof target === 'string'
    ? refuse('INVALID_BACKEND', target, 'us', hit)
    : { destination: target, hit };
}

/** '' where TLS asks for no name; null where it is no TLS, or nobody has listened. */
export function sniOf(heard: Heard | null): string | null {
  const hello = heard?.hello ?? null;
  return hello === null ? null : (hello.name ?? '');
}
