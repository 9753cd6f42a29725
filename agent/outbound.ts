/**
 * A connection that an application in an enrolled pod opened: the kernel brought it to 15001, and its original
 * destination is on the socket. Resolve it, choose the way (same node, tunnel, plain), and relay.
 *
 * While nothing has been sent, a dial that fails is tried on another endpoint of the Service.
 */
import { isIP } from 'node:net';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { canonicalIp, formatHostPort } from '../model/address.ts';
import { resolve, type Route } from '../model/route.ts';
import { routeNeeds } from '../model/route-needs.ts';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import * as native from '../native/native.ts';
import type { SocketAddress } from '../native/native.ts';
import type { Connection, Direction } from './connections.ts';
import { deliver } from './deliver.ts';
import type { Inquiries } from './inquiries.ts';
import { keptFor, noteReached } from './keep-clients.ts';
import type { Leg } from './leg.ts';
import type { Pod } from './pod.ts';
import { clientGone, type AttemptResult, type Outgoing } from './outgoing.ts';
import { refuse } from './plaintext.ts';
import { PairRelay } from './relay.ts';
import { clientOf, type ShardContext } from './shard-context.ts';
import { tunnelOut } from './tunnel-out.ts';

export function acceptOutbound(context: ShardContext, pod: Pod, client: Leg, from: SocketAddress): void {
  const target = native.originalDestination(context.originalDestinationMap, client.fd);
  if (target === null) {
    // Somebody connected to 15001 itself: there is nowhere to go.
    context.count('NOT_REDIRECTED');
    context.log.warn(
      { code: 'NOT_REDIRECTED', pod: pod.name, src: from.address },
      'connection to the outbound port itself refused',
    );
    client.reset();
    return;
  }
  const outgoing: Outgoing = {
    pod,
    client,
    clientAddress: from.address,
    clientPort: from.port,
    target,
    tried: new Set(),
  };
  if (context.inquiries === null) attempt(context, outgoing);
  else attemptWhenKnown(context, outgoing, context.inquiries);
}

function ignore(): void {}

/** What the control plane has said nothing of may be anything: it is not guessed. */
function attemptWhenKnown(context: ShardContext, outgoing: Outgoing, inquiries: Inquiries): void {
  const { pod, client, target } = outgoing;
  const address = canonicalIp(target.address);
  inquiries.learn({
    pod: pod.workloadUid,
    needs: () => (address === null ? [] : routeNeeds(context.mesh, clientOf(context, pod), address)),
    patient: true,
    done: error => {
      if (pod.gone || client.closed) client.reset();
      else if (error === null) attempt(context, outgoing);
      else refuseUnknown(context, outgoing, error);
    },
  });
}

function refuseUnknown(context: ShardContext, outgoing: Outgoing, error: CulvertError): void {
  refuse(start(context, outgoing, null), outgoing.client, error);
}

function attempt(context: ShardContext, outgoing: Outgoing): void {
  const route = resolve(context.mesh, {
    source: clientOf(context, outgoing.pod),
    destination: outgoing.target,
    localNode: context.config.node,
    isLocal: uid => context.podsByWorkload.has(uid),
    hbonePort: context.config.podPorts.hbone,
    agentPorts: context.agentPorts,
    exclude: outgoing.tried,
    ...(outgoing.target.chosen === null ? {} : { chosen: outgoing.target.chosen }),
    avoid: context.health,
    kept: keptFor(context, outgoing.pod),
    random: Math.random,
  });
  const connection = start(context, outgoing, route);
  if (outgoing.pod.connections.size > context.config.limits.connectionsPerPod) {
    const error = new CulvertError(
      'POD_CONNECTION_LIMIT',
      `more than ${context.config.limits.connectionsPerPod} connections`,
      { side: 'client' },
    );
    refuse(connection, outgoing.client, error);
    return;
  }
  const done = (result: AttemptResult): void => finish(context, outgoing, connection, route, result);
  switch (route.kind) {
    case 'refuse':
      done({ error: new CulvertError(route.code, route.reason, { side: 'server' }), retry: false });
      return;
    case 'local':
      toNeighbour(context, outgoing, connection, route.workload.uid, done);
      return;
    case 'hbone':
    case 'waypoint':
      tunnelOut(context, outgoing, connection, route, done);
      return;
    case 'plain':
      inTheClear(context, outgoing, connection, route, done);
  }
}

function workloadOfRoute(route: Route | null): Workload | null {
  if (route === null || route.kind === 'refuse') return null;
  return route.workload;
}

function portOf(route: Route): number | null {
  if (route.kind === 'refuse') return null;
  return route.kind === 'waypoint' ? route.hbonePort : route.port;
}

/** Opens the record of this attempt; without a route of one that is not made. */
function start(context: ShardContext, outgoing: Outgoing, route: Route | null): Connection {
  const { pod, target } = outgoing;
  const direction: Direction = route?.kind === 'local' ? 'local' : 'outbound';
  const known = route !== null && route.kind !== 'refuse';
  const workload = workloadOfRoute(route);
  const connection = context.connections.start(
    direction,
    pod,
    {
      address: outgoing.clientAddress,
      port: outgoing.clientPort,
      workload: clientOf(context, pod),
      identity: pod.identity,
    },
    {
      address: known ? route.address : target.address,
      port: (known ? portOf(route) : null) ?? target.port,
      workload,
      identity: null,
    },
  );
  connection.service = known ? route.service : null;
  return connection;
}

/** The other end is a pod of this node: no tunnel, its policy decided here with the client's attested identity. */
function toNeighbour(
  context: ShardContext,
  outgoing: Outgoing,
  connection: Connection,
  uid: string,
  done: (result: AttemptResult) => void,
): void {
  const neighbour = context.podsByWorkload.get(uid);
  if (neighbour === undefined) {
    done({
      error: new CulvertError('POD_GONE', 'the destination pod has just left this node', { side: 'server' }),
      retry: true,
    });
    return;
  }
  connection.security = 'local';
  connection.destination.identity = neighbour.identity;
  connection.goesTo(neighbour);
  deliver(context, neighbour, connection, (error, server) => {
    if (server === null) {
      const failure = error ?? new CulvertError('DIAL_FAILED', 'no connection to the application');
      done({ error: failure, retry: isDialFailure(failure) });
      return;
    }
    const { address, port } = connection.destination;
    const { pod, target } = outgoing;
    const asked = connection.service === null ? null : { address: target.address, port: target.port };
    context.neighbour(pod, { address, port }, asked);
    join(outgoing, connection, server, done);
  });
}

/** Not in the mesh: plain TCP from the pod's own namespace, so that its address and NetworkPolicies stay what they were. */
function inTheClear(
  context: ShardContext,
  outgoing: Outgoing,
  connection: Connection,
  route: { readonly address: string; readonly port: number },
  done: (result: AttemptResult) => void,
): void {
  let abort = ignore;
  connection.cut = () => {
    abort();
    outgoing.client.reset();
  };
  const dial = (address: string): void => {
    abort = outgoing.pod.sockets.connect(
      address,
      route.port,
      { timeoutMs: context.config.limits.dialMs, keepAlive: true },
      (error, server) => {
        if (connection.state === 'closed') {
          server?.reset();
          return;
        }
        if (server === null) {
          const failure =
            error ??
            new CulvertError('DIAL_FAILED', `no connection to ${formatHostPort(address, route.port)}`);
          done({ error: failure, retry: true });
          return;
        }
        join(outgoing, connection, server, done);
      },
    );
  };
  const dialByName = async (): Promise<void> => {
    const address = await resolved(context, route.address);
    if (connection.state === 'closed') return;
    if (typeof address === 'string') dial(address);
    else done({ error: address, retry: true });
  };
  if (isIP(route.address) === 0) void dialByName();
  else dial(route.address);
}

/** The address of an endpoint outside the cluster that is known by name only, or why there is none. */
async function resolved(context: ShardContext, name: string): Promise<string | CulvertError> {
  try {
    return await context.names.addressOf(name);
  } catch (error) {
    return asCulvertError(error, 'NAME_UNRESOLVED');
  }
}

function join(
  outgoing: Outgoing,
  connection: Connection,
  server: Leg,
  done: (result: AttemptResult) => void,
): void {
  if (outgoing.client.closed) {
    server.reset();
    done({ error: clientGone(), retry: false });
    return;
  }
  done(null);
  new PairRelay(outgoing.client, server, connection).start();
}

function isDialFailure(error: CulvertError): boolean {
  return error.code.startsWith('DIAL_') || error.code === 'POD_GONE';
}

/** A waypoint chooses the endpoint by itself. */
function note(context: ShardContext, { pod }: Outgoing, route: Route): void {
  if (route.kind === 'refuse' || route.kind === 'waypoint') return;
  const { service, workload } = route;
  if (service !== null && workload !== null) noteReached(context, pod, service, workload);
}

/** Books one attempt; tries the next endpoint where that can help. */
function finish(
  context: ShardContext,
  outgoing: Outgoing,
  connection: Connection,
  route: Route,
  result: AttemptResult,
): void {
  const endpoint = workloadOfRoute(route)?.uid ?? null;
  if (result === null) {
    if (endpoint !== null) context.health.succeeded(endpoint);
    note(context, outgoing, route);
    return;
  }
  if (result.retry && endpoint !== null) context.health.failed(endpoint);
  const service: Service | null = route.kind === 'refuse' ? null : route.service;
  const workload = workloadOfRoute(route);
  if (
    result.retry &&
    service !== null &&
    workload !== null &&
    !outgoing.client.closed &&
    connection.state !== 'closed'
  ) {
    outgoing.tried.add(workload.uid);
    if (outgoing.tried.size < context.config.limits.endpointAttempts) {
      connection.closed(result.error);
      attempt(context, outgoing);
      return;
    }
  }
  if (connection.state === 'closed') outgoing.client.reset();
  else refuse(connection, outgoing.client, asCulvertError(result.error, 'OUTBOUND_FAILED'));
}
