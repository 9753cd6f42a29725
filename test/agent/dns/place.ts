/**
 * A DNS server on loopback with one pod, and the server that its applications mean. No namespaces, no root.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import type { DnsServerOptions } from '../../../agent/dns/context.ts';
import { frame, FrameReader } from '../../../agent/dns/frames.ts';
import { DnsMetrics } from '../../../agent/dns/metrics.ts';
import { DnsServer } from '../../../agent/dns/server.ts';
import { createLogger } from '../../../base/log.ts';
import { tcpDescriptor, udpDescriptor } from '../../help/descriptors.ts';
import { eventually } from '../../lab/eventually.ts';
import { mesh, port, service, workload } from '../../model/objects.ts';
import { reply } from './packets.ts';

/** What is needed of a test. */
interface Teardown {
  teardown(act: () => unknown): void;
}

const headless = { 'shop/db.shop.svc.cluster.local': [port(80, 80)] };
const given = mesh({
  services: [
    service('web', { addresses: [{ network: '', address: '10.96.0.5' }] }),
    service('db'),
    service('many', {
      addresses: Array.from({ length: 300 }, (_, at) => ({
        network: '',
        address: `10.9.${at >> 8}.${at & 255}`,
      })),
    }),
  ],
  workloads: [
    workload('client'),
    workload('db-0', { addresses: ['10.0.0.1', 'fd00::1'], services: headless }),
    workload('db-1', { addresses: ['10.0.0.2'], services: headless }),
  ],
});

/** The server the application meant: keeps what it got, and answers as the test says. */
class Upstream {
  readonly got: Buffer[] = [];
  answer: (packet: Buffer) => readonly Buffer[] = packet => [reply(packet, { address: [192, 0, 2, 1] })];
  connections = 0;
  readonly udp: UdpSocket;
  readonly tcp: net.Server;

  private constructor(udp: UdpSocket, tcp: net.Server) {
    this.udp = udp;
    this.tcp = tcp;
  }

  get udpAddress(): { address: string; port: number } {
    return { address: '127.0.0.1', port: this.udp.address().port };
  }

  get tcpAddress(): { address: string; port: number } {
    return { address: '127.0.0.1', port: (this.tcp.address() as AddressInfo).port };
  }

  static async open(t: Teardown): Promise<Upstream> {
    const udp = createSocket('udp4').bind(0, '127.0.0.1');
    await once(udp, 'listening');
    const tcp = net.createServer().listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const upstream = new Upstream(udp, tcp);
    udp.on('message', (packet, from) => {
      upstream.got.push(packet);
      for (const bytes of upstream.answer(packet)) udp.send(bytes, from.port, from.address);
    });
    const sockets = new Set<net.Socket>();
    tcp.on('connection', socket => {
      upstream.connections += 1;
      sockets.add(socket);
      const frames = new FrameReader();
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        frames.push(chunk);
        for (let packet = frames.next(); packet !== null; packet = frames.next()) {
          upstream.got.push(packet);
          for (const bytes of upstream.answer(packet)) {
            if (bytes.length === 0) socket.destroy();
            else socket.write(frame(bytes));
          }
        }
      });
    });
    t.teardown(() => {
      udp.close();
      tcp.close();
      for (const socket of sockets) socket.destroy();
    });
    return upstream;
  }
}

export interface Place {
  readonly server: DnsServer;
  readonly upstream: Upstream;
  readonly port: number;
  readonly tcpPort: number;
  readonly counted: Record<string, number>;
  readonly metrics: DnsMetrics;
  /** Takes the next prepared socket away, so that the next query has none. */
  readonly spare: number[];
}

export async function place(
  t: Teardown,
  change: Partial<DnsServerOptions> = {},
  upstreamSockets = 8,
): Promise<Place> {
  const upstream = await Upstream.open(t);
  const spare: number[] = [];
  for (let made = 0; made < upstreamSockets; made += 1) spare.push((await udpDescriptor()).fd);
  const [udp, tcp] = [await udpDescriptor(), await tcpDescriptor()];
  const counted: Record<string, number> = {};
  const metrics = new DnsMetrics();
  const server = new DnsServer({
    mesh: given,
    log: createLogger({ component: 'dns-test', level: 'silent' }),
    metrics,
    count: code => {
      counted[code] = (counted[code] ?? 0) + 1;
    },
    settings: () => ({ clusterDomain: 'cluster.local', network: '' }),
    originalServerUdp: () => upstream.udpAddress,
    originalServerTcp: () => upstream.tcpAddress,
    upstreamSocket: () => {
      const fd = spare.pop();
      if (fd === undefined) throw new Error('out of sockets');
      return fd;
    },
    upstreamTcp: (_, address, port) => net.connect({ host: address, port }),
    ...change,
  });
  const clientUid = 'Kubernetes//Pod/shop/client';
  server.addPod({
    cookie: 1n,
    workloadUid: clientUid,
    namespace: 'shop',
    udp: [{ fd: udp.fd, family: 4 }],
    tcp: [{ fd: tcp.fd, family: 4 }],
  });
  t.teardown(() => server.close());
  return { server, upstream, port: udp.port, tcpPort: tcp.port, counted, metrics, spare };
}

export function resolver({ port }: Place): Resolver {
  const result = new Resolver({ timeout: 2_000, tries: 1 });
  result.setServers([`127.0.0.1:${port}`]);
  return result;
}

/** A socket that sends packets to the server and hands out what comes back. */
export async function udpClient(
  t: Teardown,
  { port }: Place,
): Promise<{ send(packet: Buffer): void; next(): Promise<Buffer>; got: Buffer[] }> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  const got: Buffer[] = [];
  let taken = 0;
  socket.on('message', packet => got.push(packet));
  return {
    got,
    send: packet => socket.send(packet, port, '127.0.0.1'),
    next: () => eventually(() => got[taken++] ?? (taken--, null), { what: 'a packet', intervalMs: 2 }),
  };
}

export async function tcpClient(
  t: Teardown,
  { tcpPort }: Place,
): Promise<{ socket: net.Socket; send(packet: Buffer): void; next(): Promise<Buffer> }> {
  const socket = net.connect({ port: tcpPort, host: '127.0.0.1', allowHalfOpen: true });
  await once(socket, 'connect');
  t.teardown(() => socket.destroy());
  const frames = new FrameReader();
  socket.on('data', (chunk: Buffer) => frames.push(chunk));
  socket.on('error', () => {});
  return {
    socket,
    send: packet => void socket.write(frame(packet)),
    next: () => eventually(() => frames.next(), { what: 'a frame', intervalMs: 2 }),
  };
}
