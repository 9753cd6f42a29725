/**
 * What stands before a pod of the mesh, in this process: it takes what comes by tunnels and dials the port of the pod, as an
 * agent does.
 */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';
import type { IssuedCertificate } from '../../tunnel/certificates.ts';
import type { H2Stream } from '../../tunnel/h2/stream.ts';
import { serveTunnel } from '../../tunnel/server.ts';
import { serverContext } from '../../tunnel/tls.ts';
import { defaultWaypointLimits } from '../../waypoint/config.ts';
import { StreamSocket } from '../../waypoint/stream-socket.ts';

export class PodAgent {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  /** Who came by a tunnel for what, one for each connection. */
  readonly seen: { readonly peer: string; readonly authority: string }[] = [];
  /** Takes what comes and says nothing. */
  isSilent = false;

  private constructor(server: net.Server) {
    this.#server = server;
  }

  /** @param port of the pod on this machine */
  static async start(certificate: IssuedCertificate, port: number): Promise<PodAgent> {
    const agent = new PodAgent(net.createServer({ allowHalfOpen: true, noDelay: true }));
    const context = serverContext(certificate);
    agent.#server.on('connection', raw => {
      agent.#sockets.add(raw.on('error', () => {}));
      raw.once('close', () => agent.#sockets.delete(raw));
      serveTunnel(raw, {
        context,
        trustDomain: 'cluster.local',
        limits: defaultWaypointLimits,
        onRequest: (stream, { authority }, peer) => {
          agent.seen.push({ peer, authority });
          if (!agent.isSilent) deliver(stream, port);
        },
        onClose: () => {},
      }).catch(() => raw.destroy());
    });
    agent.#server.listen(0, '127.0.0.1');
    await once(agent.#server, 'listening');
    return agent;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

function deliver(stream: H2Stream, port: number): void {
  stream.pause();
  stream.handlers = { onData: () => {}, onEnd: () => {}, onDrain: () => {}, onReset: () => {} };
  const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  const refused = (): void => stream.respond(503);
  socket.once('error', refused);
  socket.once('connect', () => {
    socket.off('error', refused);
    stream.respond(200);
    const tunnelled = new StreamSocket(stream);
    pipeline(tunnelled, socket, () => {});
    pipeline(socket, tunnelled, () => {});
  });
}
