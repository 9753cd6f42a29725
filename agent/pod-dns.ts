/**
 * Joins the DNS server of a shard to its pods: which sockets it gets, where a query was meant to go, and sockets inside
 * the pod's namespace for what is passed on.
 */
import net from 'node:net';
import { CulvertError } from '../base/errors.ts';
import { createLogger } from '../base/log.ts';
import * as native from '../native/native.ts';
import { DnsServer } from './dns/server.ts';
import type { DnsEndpoint, DnsListener, DnsPod, DnsServerOptions } from './dns/context.ts';
import type { ListenerSet } from './pod-listeners.ts';
import { fdOf } from './socket-handle.ts';
import type { Pod } from './pod.ts';
import { decodeDnsServers, encodeDnsClient } from './redirect-abi.ts';
import type { ShardContext } from './shard-context.ts';

/** A name that nobody answers for in time is passed on: whoever else knows the Service gives the same addresses. */
function learning({ inquiries }: ShardContext): Pick<DnsServerOptions, 'learn'> {
  if (inquiries === null) return {};
  return {
    learn: ({ workloadUid: pod }, needs, done) =>
      inquiries.learn({ pod, needs, patient: false, done: () => done() }),
  };
}

export class PodDns {
  readonly #server: DnsServer;
  readonly #pods = new Map<bigint, Pod>();
  readonly #serversMap: number;

  /** @param serversMap descriptor of the BPF map that remembers whom each UDP socket asked */
  constructor(context: ShardContext, serversMap: number) {
    this.#serversMap = serversMap;
    this.#server = new DnsServer({
      mesh: context.mesh,
      log: createLogger({ component: 'dns', level: context.config.logLevel }),
      metrics: context.metrics.dns,
      count: code => context.count(code),
      settings: () => context.settings,
      ...learning(context),
      originalServerUdp: (cookie, port, family) => this.#originalServer(cookie, port, family),
      originalServerTcp: socket => native.originalDestination(context.originalDestinationMap, fdOf(socket)),
      upstreamSocket: (pod, family) => {
        const address = family === 6 ? '::' : '0.0.0.0';
        return native.udpSocket(this.#pod(pod).netnsFd, {
          address,
          port: 0,
          reusePort: false,
          v6Only: family === 6,
        });
      },
      upstreamTcp: (pod, address, port) => {
        const fd = this.#pod(pod).sockets.take(net.isIPv6(address) ? 6 : 4);
        const socket = new net.Socket({ fd, readable: true, writable: true });
        return socket.connect({ host: address, port });
      },
    });
  }

  add(pod: Pod, sets: readonly ListenerSet[]): void {
    const listeners = (fds: (number | null)[]): DnsListener[] =>
      fds.flatMap(fd => (fd === null ? [] : [{ fd, family: familyOf(fd) }]));
    const udp = listeners(sets.map(set => set.dnsUdp));
    const tcp = listeners(sets.map(set => set.dnsTcp));
    if (udp.length === 0) return;
    this.#pods.set(pod.cookie, pod);
    const { cookie, workloadUid, namespace } = pod;
    this.#server.addPod({ cookie, workloadUid, namespace, udp, tcp });
  }

  /** Takes no more queries; those under way are answered. */
  retire(): void {
    this.#server.retire();
  }

  get busy(): boolean {
    return this.#server.queriesUnderWay > 0;
  }

  remove(pod: Pod): void {
    this.#pods.delete(pod.cookie);
    this.#server.removePod(pod.cookie);
  }

  #pod(pod: DnsPod): Pod {
    const found = this.#pods.get(pod.cookie);
    if (found === undefined) throw new CulvertError('POD_GONE', `${pod.workloadUid} has left the mesh`);
    return found;
  }

  /** Port 0 stands for sockets whose port the kernel had not chosen yet when they named their server. */
  #originalServer(cookie: bigint, port: number, family: 4 | 6): DnsEndpoint | null {
    const found =
      native.mapLookup(this.#serversMap, encodeDnsClient(cookie, port, family)) ??
      native.mapLookup(this.#serversMap, encodeDnsClient(cookie, 0, family));
    return found === null ? null : (decodeDnsServers(found)[0] ?? null);
  }
}

function familyOf(socket: number): 4 | 6 {
  return native.socketAddress(socket).address.includes(':') ? 6 : 4;
}
