/** Where the requests or connections of a rule go: its backends as destinations, and the one that a session is tied to. */
import type { HttpBackend, HttpRule, HttpSession } from '../model/http-route.ts';
import type { TcpBackend } from '../model/tcp-route.ts';
import type { Destination, ServiceDestination, WaypointContext } from './context.ts';
import type { Asked, PlanContext } from './filters.ts';
import { markOf, ticketOf, type PlannedSession } from './session.ts';

/** The destination that a backend is, or why it is none. */
export function backendOf(
  { mesh }: Pick<WaypointContext, 'mesh'>,
  backend: TcpBackend,
  asked: Destination,
): ServiceDestination | string {
  const { service: key, subset, invalid } = backend;
  const port = backend.port === 0 ? asked.port : backend.port;
  if (invalid !== null) return invalid;
  const service = mesh.service(key);
  if (service === null) return `there is no service ${key}`;
  if (!service.ports.some(({ servicePort }) => servicePort === port))
    return `service ${key} has no port ${port}`;
  return { kind: 'service', service, port, address: asked.address, subset };
}

export interface FoundSession {
  readonly planned: PlannedSession;
  /** The one that the session's endpoint is of; null: as the weights have it. */
  readonly backend: HttpBackend | null;
}

/** The endpoint of a session is looked for among those of the rule, and nowhere else. */
export function sessionOf(
  context: PlanContext,
  { head, destination, client }: Asked,
  { backends }: HttpRule,
  session: HttpSession,
): FoundSession {
  const ticket = ticketOf(session, head, Date.now());
  for (const backend of ticket === null ? [] : backends) {
    const target = backend.weight === 0 ? '' : backendOf(context, backend, destination);
    if (typeof target === 'string') continue;
    const endpoint = endpointOf(context, target, client.namespace, ticket?.mark ?? '');
    if (endpoint !== null) return { planned: { session, endpoint, since: ticket?.since ?? null }, backend };
  }
  return { planned: { session, endpoint: null, since: null }, backend: null };
}

function endpointOf(
  { upstreams, self, health }: PlanContext,
  destination: ServiceDestination,
  clientNamespace: string,
  mark: string,
): string | null {
  try {
    const upstream = upstreams.for(destination, clientNamespace);
    const isMeant = (uid: string): boolean => markOf(uid) === mark && !health.has(uid);
    return upstream.find(destination.service, self, isMeant)?.workload.uid ?? null;
  } catch {
    // Nothing can be sent there, which is said when it is tried.
    return null;
  }
}
