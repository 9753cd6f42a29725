/**
 * The agent of one pod, reduced to what the tests of redirection need: it answers each captured connection with what
 * it was told, one JSON line, and hands plain TCP to the application in the client's name.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import type { PodPorts } from '../../agent/config.ts';
import { encodeIndex, isKubelet } from '../../agent/redirect-abi.ts';
import type { Redirect } from '../../agent/redirect.ts';
import { canonicalIp } from '../../model/address.ts';
import * as native from '../../native/native.ts';
import type { LabPod } from '../lab/pod.ts';

export interface PodAgentOptions {
  readonly addresses: readonly string[];
  readonly ports: PodPorts;
  readonly failMode?: 'open' | 'closed';
  readonly dnsCapture?: boolean;
  /** Plain TCP from outside: say what was seen, or hand it to the application. */
  readonly plaintext?: 'tell' | 'deliver';
}

/** What the agent knew of a connection. */
export interface Told {
  readonly port: 'outbound' | 'plaintext' | 'dns' | 'udp';
  readonly origin: { readonly address: string; readonly port: number } | null;
  readonly client: string;
  readonly clientPort: number;
  readonly local: string;
  readonly localPort: number;
  readonly got: string;
  /** Opened by the node's kubelet, as the kernel says. */
  readonly kubelet: boolean;
}

export class PodAgent {
  readonly netnsFd: number;
  readonly cookie: bigint;
  readonly pod: LabPod;
  /** Asked each time: an agent that restarts has another one. */
  readonly #redirect: () => Redirect;
  readonly #closers: (() => Promise<void>)[] = [];
  readonly #sockets = new Set<net.Socket>();
  #stopped = false;

  private constructor(redirect: () => Redirect, pod: LabPod) {
    this.#redirect = redirect;
    this.pod = pod;
    this.netnsFd = native.openNetns(pod.netnsPath);
    this.cookie = native.netnsCookie(this.netnsFd);
  }

  static async start(redirect: () => Redirect, pod: LabPod, options: PodAgentOptions): Promise<PodAgent> {
    const agent = new PodAgent(redirect, pod);
    const { ports } = options;
    await agent.#listen(ports.outbound, socket => agent.#tell('outbound', socket));
    await agent.#listen(ports.dns, socket => agent.#tell('dns', socket));
    const plaintext = await agent.#listen(ports.plaintext, socket =>
      options.plaintext === 'deliver' ? agent.#deliver(socket) : agent.#tell('plaintext', socket),
    );
    await agent.#answerQueries(ports.dns);
    redirect().enrol({
      netnsFd: agent.netnsFd,
      cookie: agent.cookie,
      addresses: options.addresses,
      failMode: options.failMode ?? 'open',
      dnsCapture: options.dnsCapture ?? false,
      plaintextListener: plaintext,
    });
    return agent;
  }

  /** Dies: sockets are closed, and nothing is said to the kernel. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const close of this.#closers.splice(0)) await close();
    if (!this.#stopped) native.close(this.netnsFd);
    this.#stopped = true;
  }

  async #listen(port: number, accept: (socket: net.Socket) => void): Promise<number> {
    const fd = native.tcpListener(this.netnsFd, {
      address: '::',
      port,
      backlog: 4096,
      reusePort: true,
      v6Only: false,
    });
    const server = net.createServer({ allowHalfOpen: true }, socket => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
      accept(socket);
    });
    await new Promise<void>(resolve => server.listen({ fd }, resolve));
    this.#closers.push(() => new Promise(resolve => server.close(() => resolve())));
    return fd;
  }

  #told(port: Told['port'], socket: net.Socket, got: string): Told {
    const fd = (Reflect.get(socket, '_handle') as { readonly fd: number }).fd;
    const origin = native.originalDestination(this.#redirect().originalDestinationMap, fd);
    return {
      port,
      origin: origin === null ? null : { address: origin.address, port: origin.port },
      client: canonicalIp(socket.remoteAddress ?? '') ?? '',
      clientPort: socket.remotePort ?? 0,
      local: canonicalIp(socket.localAddress ?? '') ?? '',
      localPort: socket.localPort ?? 0,
      got,
      kubelet: isKubelet(native.mapLookup(this.#redirect().originalDestinationMap, encodeIndex(fd))),
    };
  }

  /** Answers when the client has ended, or after a line of a client that can't end its side alone. */
  #tell(port: Told['port'], socket: net.Socket): void {
    const told = this.#told(port, socket, '');
    let got = '';
    const answer = (): unknown => socket.end(`${JSON.stringify({ ...told, got })}\n`);
    socket.on('data', (chunk: Buffer) => {
      got += chunk.toString();
      if (got.endsWith('\n')) answer();
    });
    socket.on('end', answer);
  }

  /** As the real agent: a connection to the application from the pod's own address, in the client's name. */
  #deliver(client: net.Socket): void {
    const { client: address, clientPort, local, localPort } = this.#told('plaintext', client, '');
    const [fd = -1] = native.tcpSockets(this.netnsFd, net.isIPv6(local) ? 6 : 4, 1);
    native.setPeerName(this.#redirect().peerNameMap, fd, address, clientPort);
    const server = new net.Socket({
      fd,
      allowHalfOpen: true,
      manualStart: true,
    } as net.SocketConstructorOpts);
    this.#sockets.add(server);
    server.on('error', () => client.resetAndDestroy());
    server.connect({ host: local, port: localPort }, () => {
      client.pipe(server);
      server.pipe(client);
    });
  }

  async #answerQueries(port: number): Promise<void> {
    const fd = native.udpSocket(this.netnsFd, { address: '::', port, reusePort: true, v6Only: false });
    const socket = dgram.createSocket('udp6');
    socket.on('message', (message, from) => {
      const address = canonicalIp(from.address) ?? '';
      const family = net.isIPv6(address) ? 6 : 4;
      const servers = this.#redirect().dnsServers(this.cookie, from.port, family);
      const got = message.toString();
      socket.send(
        JSON.stringify({ port: 'udp', servers, client: address, clientPort: from.port, got }),
        from.port,
        from.address,
      );
    });
    await new Promise<void>(resolve => socket.bind({ fd }, resolve));
    this.#closers.push(() => new Promise(resolve => socket.close(() => resolve())));
  }
}
