/**
 * The tunnel's end in the destination's pod: mutual TLS on 15008, then one CONNECT per application connection.
 *
 * The listener is inside the pod's namespace, so the listener says which workload is meant and which certificate to
 * show; :authority may only name that same pod. 200 is sent after policy passed and the application answered.
 */
import type net from 'node:net';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { canonicalIp, formatHostPort, parseHostPort } from '../model/address.ts';
import { isWaypointOf } from '../model/admission.ts';
import { parseSpiffeId } from '../model/identity.ts';
import type { Service } from '../model/service.ts';
import { baggage, parseForwarded, traceId, type Forwarded } from '../tunnel/connect-request.ts';
import type { ConnectHeaders } from '../tunnel/h2/header-rules.ts';
import type { H2Connection } from '../tunnel/h2/connection.ts';
import type { H2Stream } from '../tunnel/h2/stream.ts';
import { serveTunnel } from '../tunnel/server.ts';
import type { Connection, Origin } from './connections.ts';
import { deliver } from './deliver.ts';
import { learnSource } from './learn-source.ts';
import type { Pod } from './pod.ts';
import { TunnelRelay } from './relay.ts';
import { workloadOf, type ShardContext } from './shard-context.ts';
import { reset } from './socket-handle.ts';

/** A TCP connection to port 15008 of an enrolled pod. */
export function acceptTunnel(context: ShardContext, pod: Pod, raw: net.Socket): void {
  const source = canonicalIp(raw.remoteAddress ?? '');
  if (source === null) {
    raw.destroy();
    return;
  }
  if (!context.caps.enter(source)) {
    context.count('SOURCE_LIMIT');
    context.log.warn(
      { code: 'SOURCE_LIMIT', src: source, pod: pod.name },
      'tunnel refused: too many from one address',
    );
    raw.on('error', () => {});
    reset(raw);
    return;
  }
  raw.once('close', () => context.caps.leave(source));
  // For the time until TLS takes care of it.
  raw.on('error', () => {});
  openTunnel(context, pod, raw, source).catch((thrown: unknown) => {
    const error = asCulvertError(thrown, 'TUNNEL_FAILED');
    context.metrics.handshakeFailed('inbound', error.code);
    context.log.warn(
      {
        code: error.code,
        side: error.side,
        src: source,
        pod: `${pod.namespace}/${pod.name}`,
        err: error.message,
        fix: error.fix,
      },
      'tunnel refused',
    );
    raw.destroy();
  });
}

async function openTunnel(context: ShardContext, pod: Pod, raw: net.Socket, source: string): Promise<void> {
  const { limits } = context.config;
  try {
    if (context.inquiries !== null) await new Promise<void>(done => learnSource(context, pod, source, done));
    const server = await context.certificates.server(pod.identity, limits.certificateWaitMs);
    const tunnel: H2Connection = await serveTunnel(raw, {
      context: server.context,
      trustDomain: parseSpiffeId(pod.identity)?.trustDomain ?? context.settings.trustDomain,
      limits,
      onRequest: (stream, request, peer) => acceptStream(context, pod, source, peer, stream, request),
      onClose: error => {
        pod.inboundTunnels.delete(tunnel);
        if (error === null) return;
        context.count(error.code);
        context.log.info(
          { code: error.code, side: error.side, src: source, err: error.message },
          'tunnel ended',
        );
      },
    });
    if (pod.gone) tunnel.destroy();
    else if (context.draining) tunnel.goaway();
    else pod.inboundTunnels.add(tunnel);
  } finally {
    context.caps.handshakeDone(source);
  }
}

/** One CONNECT request on a tunnel whose peer is `peer`. */
function acceptStream(
  context: ShardContext,
  pod: Pod,
  source: string,
  peer: string,
  stream: H2Stream,
  request: ConnectHeaders,
): void {
  const target = request.method === 'CONNECT' ? parseHostPort(request.authority ?? '') : null;
  const address = target === null ? null : localAddress(context, pod, target.host);
  if (target === null || address === null) {
    const why =
      request.method === 'CONNECT'
        ? `:authority ${JSON.stringify(request.authority)} is not an address of this pod`
        : `method ${JSON.stringify(request.method)} is not CONNECT`;
    context.count('CONNECT_REFUSED');
    context.log.warn(
      { code: 'CONNECT_REFUSED', side: 'client', src: source, identity: peer, pod: pod.name, err: why },
      'request refused',
    );
    stream.respond(400);
    return;
  }
  const connection = recordOf(context, pod, source, peer, { address, port: target.port }, request);
  stream.pause();
  // Until the relay takes over, all that can happen is that the client gives up.
  stream.handlers = {
    onData: () => {},
    onEnd: () => {},
    onDrain: () => {},
    onReset: code =>
      connection.cut(
        new CulvertError('CLIENT_GONE', `the client reset the stream (${code}) before it was open`, {
          side: 'client',
        }),
      ),
  };
  deliver(context, pod, connection, (error, server) => {
    if (server === null) {
      refuseStream(
        stream,
        connection,
        error ?? new CulvertError('DIAL_FAILED', 'no connection to the application'),
      );
      return;
    }
    const workload = workloadOf(context, pod);
    stream.respond(200, workload === null ? [] : [['baggage', baggage(workload)]]);
    new TunnelRelay(server, stream, connection, false).start();
  });
}

/** The address to dial for the host of an authority, or null when it isn't this pod's. */
function localAddress(context: ShardContext, pod: Pod, host: string): string | null {
  const ip = canonicalIp(host);
  if (ip !== null) return pod.addresses.includes(ip) ? ip : null;
  const workload = workloadOf(context, pod);
  const serves =
    workload !== null && Object.keys(workload.services).some(key => key.slice(key.indexOf('/') + 1) === host);
  return serves ? (pod.addresses[0] ?? null) : null;
}

function recordOf(
  context: ShardContext,
  pod: Pod,
  source: string,
  peer: string,
  target: { address: string; port: number },
  request: ConnectHeaders,
): Connection {
  const workload = workloadOf(context, pod);
  const said = parseForwarded(request.header('forwarded') ?? '');
  // The address comes from TCP; the client's agent may only add the port that its application used.
  const port = said.for !== null && canonicalIp(said.for.host) === source ? said.for.port : 0;
  const connection = context.connections.start(
    'inbound',
    pod,
    {
      address: source,
      port,
      workload: context.mesh.workloadByAddress(context.settings.network, source),
      identity: peer,
    },
    { ...target, workload, identity: pod.identity },
  );
  connection.security = 'mutual_tls';
  connection.hboneAddress = formatHostPort(target.address, target.port);
  connection.service =
    workload === null || said.host === null ? null : serviceOf(context, workload.services, said.host);
  const origin = originOf(said, source);
  if (origin !== null && workload !== null && isWaypointOf(context.mesh, workload, peer))
    connection.origin = origin;
  connection.traceId = traceId(request.header('traceparent'));
  return connection;
}

/** Of a connection that several clients share a waypoint says nothing. */
function originOf({ for: client, identity }: Forwarded, source: string): Origin | null {
  const address = client === null ? null : canonicalIp(client.host);
  if (client === null || address === null || address === source) return null;
  return { address: formatHostPort(address, client.port), identity };
}

function serviceOf(
  context: ShardContext,
  services: Readonly<Record<string, unknown>>,
  host: string,
): Service | null {
  const key = Object.keys(services).find(k => k.endsWith(`/${host}`));
  return key === undefined ? null : context.mesh.service(key);
}

const denials: ReadonlySet<string> = new Set(['POLICY_DENIED', 'POLICY_CHANGED', 'WAYPOINT_BYPASSED']);

/** Answers as ambient peers expect (401 policy, 503 the rest), and writes the line. */
function refuseStream(stream: H2Stream, connection: Connection, error: CulvertError): void {
  stream.respond(denials.has(error.code) ? 401 : 503);
  connection.closed(error);
}
