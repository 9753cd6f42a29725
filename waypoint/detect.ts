/**
 * What a client speaks: HTTP/1.1, HTTP/2 with prior knowledge, or something else that is carried as it is.
 *
 * The port's protocol decides where it says so. Else the first bytes do, and a server that speaks first is not kept
 * waiting for them: a client that stays silent is connected, and whoever speaks first shows what it is. As long as the
 * client has said nothing nothing was passed on, so what turns out to be HTTP is routed all the same.
 */
import type { AppProtocol } from '../model/workload.ts';
import type { H2Stream } from '../tunnel/h2/stream.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { serveHttp1 } from './http1-in.ts';
import { serveHttp2 } from './http2-in.ts';
import { detect, type Detected } from './sniff.ts';
import { StreamSocket } from './stream-socket.ts';
import { serveTcp } from './tcp.ts';

/** The connection behind an accepted CONNECT. */
export function serveConnection(
  context: WaypointContext,
  client: Client,
  destination: Destination,
  stream: H2Stream,
): void {
  const protocol = protocolOf(destination);
  if (protocol === 'TCP' || protocol === 'TLS') {
    serveTcp(context, client, destination, stream, null);
    return;
  }
  stream.pause();
  const socket = new StreamSocket(stream);
  socket.on('error', () => {});
  stream.respond(200);
  const mayBeTcp = protocol === 'UNKNOWN';
  let seen: Buffer = Buffer.alloc(0);
  const silent = mayBeTcp ? setTimeout(() => decide('tcp'), context.config.limits.detectMs) : null;
  const serveHttp = (version: 'http1' | 'http2'): void => {
    if (version === 'http2') serveHttp2(context, client, destination, socket);
    else serveHttp1(context, client, destination, socket);
  };
  const decide = (what: Detected): void => {
    if (silent !== null) clearTimeout(silent);
    socket.off('data', look).off('end', ended).off('close', ended);
    socket.pause();
    if (seen.length > 0) socket.unshift(seen);
    if (what !== 'tcp') {
      serveHttp(what);
      return;
    }
    const spoke = seen.length > 0;
    serveTcp(context, client, destination, stream, { socket, spoke, serveHttp });
  };
  const look = (chunk: Buffer): void => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const what = detect(seen);
    if (what === 'tcp') decide(mayBeTcp ? 'tcp' : 'http1');
    else if (what !== null) decide(what);
  };
  const ended = (): void => {
    if (silent !== null) clearTimeout(silent);
    if (socket.destroyed) return;
    if (mayBeTcp) decide('tcp');
    else socket.destroy();
  };
  socket.on('data', look).once('end', ended).once('close', ended);
}

/** Of the port of a service; of a workload, where all services that lead to the port agree. */
function protocolOf(destination: Destination): AppProtocol {
  const { port } = destination;
  if (destination.kind === 'service')
    return (
      destination.service.ports.find(({ servicePort }) => servicePort === port)?.appProtocol ?? 'UNKNOWN'
    );
  const mappings = Object.values(destination.workload.services).flat();
  const protocols = new Set(
    mappings.filter(({ targetPort }) => targetPort === port).map(({ appProtocol }) => appProtocol),
  );
  const [only] = protocols;
  return protocols.size === 1 && only !== undefined ? only : 'UNKNOWN';
}
