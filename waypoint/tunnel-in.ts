/**
 * The tunnel's end at the waypoint: mutual TLS on 15008, then one CONNECT per connection of a client, whose authority is
 * what the client dialled: a service's address or a workload's.
 *
 * A waypoint serves those services and workloads that name it, and nobody else: it is no open relay.
 */
import type net from 'node:net';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { canonicalIp, parseHostPort } from '../model/address.ts';
import { parseSpiffeId } from '../model/identity.ts';
import { serviceKey, type Service } from '../model/service.ts';
import type { GatewayAddress } from '../model/workload.ts';
import { parseForwarded } from '../tunnel/connect-request.ts';
import type { H2Connection } from '../tunnel/h2/connection.ts';
import type { ConnectHeaders } from '../tunnel/h2/header-rules.ts';
import type { H2Stream } from '../tunnel/h2/stream.ts';
import { serveTunnel } from '../tunnel/server.ts';
import { ownIdentity, type Client, type Destination, type WaypointContext } from './context.ts';
import { serveConnection } from './detect.ts';

/** Tunnels that are open, so that they can be drained. */
export type OpenTunnels = Set<H2Connection>;

/** A TCP connection to the tunnel port. */
export function acceptTunnel(context: WaypointContext, open: OpenTunnels, raw: net.Socket): void {
  raw.on('error', () => {});
  const source = canonicalIp(raw.remoteAddress ?? '');
  if (source === null || !context.caps.enter(source)) {
    context.metrics.refused('SOURCE_LIMIT');
    raw.destroy();
    return;
  }
  raw.once('close', () => context.caps.leave(source));
  openTunnel(context, open, raw, source)
    .catch((thrown: unknown) => {
      const { code, side, message: err, fix } = asCulvertError(thrown, 'TUNNEL_FAILED');
      context.metrics.refused(code);
      context.log.warn({ code, side, src: source, err, fix }, 'tunnel refused');
      raw.destroy();
    })
    .finally(() => context.caps.handshakeDone(source));
}

async function openTunnel(
  context: WaypointContext,
  open: OpenTunnels,
  raw: net.Socket,
  source: string,
): Promise<void> {
  const { limits } = context.config;
  const identity = ownIdentity(context);
  if (identity === null)
    throw new CulvertError('UNKNOWN_WORKLOAD', 'this waypoint has no pod in the configuration');
  const certificate = await context.certificates.server(identity, limits.certificateWaitMs);
  const tunnel: H2Connection = await serveTunnel(raw, {
    context: certificate.context,
    trustDomain: context.names.trustDomain,
    limits,
    onRequest: (stream, request, peer) => acceptStream(context, source, peer, stream, request),
    onClose: error => {
      open.delete(tunnel);
      if (error !== null) context.metrics.refused(error.code);
    },
  });
  open.add(tunnel);
  if (context.draining) tunnel.goaway();
}

function acceptStream(
  context: WaypointContext,
  source: string,
  peer: string,
  stream: H2Stream,
  request: ConnectHeaders,
): void {
  const destination = request.method === 'CONNECT' ? destinationOf(context, request.authority, peer) : null;
  if (destination === null) {
    const err = `${request.method} ${JSON.stringify(request.authority)}: nothing of that name uses this waypoint`;
    context.metrics.refused('CONNECT_REFUSED');
    context.log.warn(
      { code: 'CONNECT_REFUSED', side: 'client', src: source, identity: peer, err },
      'request refused',
    );
    stream.respond(request.method === 'CONNECT' ? 503 : 400);
    return;
  }
  const said = parseForwarded(request.header('forwarded') ?? '').for;
  const client: Client = {
    identity: peer,
    namespace: parseSpiffeId(peer)?.namespace ?? '',
    address: source,
    // The address comes from TCP; the client's agent may only add the port that its application used.
    port: said !== null && canonicalIp(said.host) === source ? said.port : 0,
    workload: context.mesh.workloadByAddress(context.names.network, source),
  };
  serveConnection(context, client, destination, stream);
}

/** What an authority names, where this waypoint is asked to serve it; null otherwise. */
export function destinationOf(
  context: Pick<WaypointContext, 'mesh' | 'names' | 'config'>,
  authority: string,
  peer: string,
): Destination | null {
  const target = parseHostPort(authority);
  if (target === null) return null;
  const { mesh, names } = context;
  const { port } = target;
  const address = canonicalIp(target.host);
  if (address === null) return null;
  const workload = mesh.workloadByAddress(names.network, address);
  if (workload !== null) {
    return isOurs(context, workload.waypoint, workload.namespace)
      ? { kind: 'workload', workload, port, address }
      : null;
  }
  const namespace = parseSpiffeId(peer)?.namespace ?? '';
  const service = mesh.serviceFor(names.network, address, namespace);
  return service !== null && isOurs(context, service.waypoint, service.namespace)
    ? { kind: 'service', service, port, address, subset: null }
    : null;
}

/** Whether a service passes this waypoint. */
export function servesService(
  context: Pick<WaypointContext, 'mesh' | 'names' | 'config'>,
  key: string,
): boolean {
  const service = context.mesh.service(key);
  return service !== null && isOurs(context, service.waypoint, service.namespace);
}

/** Whether a waypoint that is named is the one that this process belongs to. */
function isOurs(
  { mesh, names, config }: Pick<WaypointContext, 'mesh' | 'names' | 'config'>,
  waypoint: GatewayAddress | null,
  namespace: string,
): boolean {
  if (waypoint === null) return false;
  const { destination } = waypoint;
  const own = `${config.gateway.name}.${config.gateway.namespace}.svc.${names.clusterDomain}`;
  if (destination.kind === 'hostname') return destination.hostname === own;
  const service: Service | null = mesh.serviceFor(destination.network, destination.address, namespace);
  return service !== null && serviceKey(service) === `${config.gateway.namespace}/${own}`;
}
