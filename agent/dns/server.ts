/**
 * The DNS server of one shard: answers enrolled pods for names of the mesh and passes everything else on, byte for
 * byte, to the server that the application asked, from inside the pod's own namespace.
 *
 * It stands in the path of every name a pod looks up, so whatever goes wrong in here ends in passing the query on or in
 * SERVFAIL, which makes the client ask again; and the redirect leads around it when the agent is gone.
 */
import { CulvertError } from '../../base/errors.ts';
import { DnsContext, type DnsPod, type DnsServerOptions } from './context.ts';
import { TcpPod } from './tcp.ts';
import { closeQuietly, UdpPod, type Exchange } from './udp.ts';

interface Served {
  readonly udp: UdpPod;
  readonly tcp: TcpPod;
}

export class DnsServer implements Disposable {
  readonly #context: DnsContext;
  readonly #pods = new Map<bigint, Served>();
  readonly #exchanges = new Set<Exchange>();

  constructor(options: DnsServerOptions) {
    this.#context = new DnsContext(options);
  }

  /** Pods that are served. */
  get size(): number {
    return this.#pods.size;
  }

  /** UDP queries that wait for an answer from elsewhere. */
  get queriesUnderWay(): number {
    return this.#exchanges.size;
  }

  /**
   * Begins to serve a pod and owns its descriptors from then on, replacing what was there under the same cookie.
   * Throws DNS_LISTEN_FAILED when a descriptor can't be adopted.
   */
  addPod(pod: DnsPod): void {
    this.removePod(pod.cookie);
    let udp: UdpPod | null = null;
    try {
      udp = new UdpPod(this.#context, pod, this.#exchanges);
      this.#pods.set(pod.cookie, { udp, tcp: new TcpPod(this.#context, pod) });
    } catch (cause) {
      udp?.close();
      if (udp === null) for (const { fd } of pod.tcp) closeQuietly(fd);
      throw new CulvertError(
        'DNS_LISTEN_FAILED',
        `the DNS sockets of ${pod.workloadUid} could not be adopted: ${String(cause)}`,
        { cause },
      );
    }
  }

  /** Ends everything of that pod; unknown cookies are fine. */
  removePod(cookie: bigint): void {
    const served = this.#pods.get(cookie);
    if (served === undefined) return;
    this.#pods.delete(cookie);
    served.udp.close();
    served.tcp.close();
  }

  /** Takes no more queries of any pod, leaving what waits in its sockets to whoever shares them; ends what is under way. */
  retire(): void {
    for (const { udp, tcp } of this.#pods.values()) {
      udp.retire();
      tcp.retire();
    }
  }

  close(): void {
    for (const cookie of this.#pods.keys()) this.removePod(cookie);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
