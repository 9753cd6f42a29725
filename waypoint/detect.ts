/**
 * What a client speaks: HTTP/1.1, HTTP/2 with prior knowledge, or something else that is carried as it is.
 *
 * The port's protocol decides where it says so, and so does a TLSRoute or TCPRoute. Else the first bytes do, and a server that
 * speaks first is not kept waiting for them: a client that stays silent is connected, and whoever speaks first shows what
 * it is. As long as the client has said nothing nothing was passed on, so what turns out to be HTTP, or TLS for another
 * name, is routed all the same.
 */
import type { AppProtocol } from '../model/workload.ts';
import type { H2Stream } from '../tunnel/h2/stream.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { looksAtNames, planOfConnections } from './course.ts';
import { hear, helloTrouble } from './first-words.ts';
import { serveHttp1 } from './http1-in.ts';
import { serveHttp2 } from './http2-in.ts';
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
  const plan = planOfConnections(context, client, destination, protocol);
  const arrival = { client, destination, protocol, plan };
  const isNamed = plan?.kind === 'names';
  if (protocol === 'TCP' && !isNamed) {
    serveTcp(context, arrival, stream, null);
    return;
  }
  stream.pause();
  const socket = new StreamSocket(stream);
  socket.on('error', () => {});
  stream.respond(200);
  const serveHttp = (version: 'http1' | 'http2'): void => {
    if (version === 'http2') serveHttp2(context, client, destination, socket);
    else serveHttp1(context, client, destination, socket);
  };
  const isCarried = isNamed || plan?.kind === 'bytes' || protocol === 'TLS';
  if (!isCarried && protocol !== 'UNKNOWN') {
    hear(socket, { silenceMs: null, helloMs: null }, ({ what, left }) => {
      if (left !== null || socket.readableEnded) socket.destroy();
      else serveHttp(what === 'http2' ? what : 'http1');
    });
    return;
  }
  const { detectMs, clientHelloMs } = context.config.limits;
  // Who must say a name has time for it; for all others a server may have to speak first.
  const mustSpeak = isNamed || (protocol === 'TLS' && looksAtNames(arrival));
  const patience = { silenceMs: mustSpeak ? clientHelloMs : detectMs, helloMs: clientHelloMs };
  hear(socket, patience, heard => {
    const { what } = heard;
    if (!isCarried && (what === 'http1' || what === 'http2')) {
      serveHttp(what);
      return;
    }
    const isLate = mustSpeak && what === 'silence';
    const late = `it did not say a name within ${clientHelloMs} ms`;
    const trouble = isLate ? helloTrouble('CLIENT_HELLO_TIMEOUT', late) : heard.trouble;
    serveTcp(context, arrival, stream, {
      socket,
      heard: { ...heard, trouble },
      serveHttp: isCarried ? null : serveHttp,
    });
  });
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
