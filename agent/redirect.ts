/**
 * The kernel side of the mesh as the agent's main thread holds it: BPF programs that bring the TCP connections and DNS
 * queries of enrolled pods to the agent's listeners in their own namespaces. The first step of every connection.
 *
 * Everything is pinned. When this process dies, each pod stays in its declared mode (fail-open or fail-closed), and the
 * next open() takes over what is there. What the programs do is told in bpf/README.md.
 */
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { isIpv6 } from '../model/address.ts';
import * as native from '../native/native.ts';
import {
  type CounterName,
  decodeCookie,
  decodeDnsServers,
  decodePod,
  encodeCookie,
  encodeDnsClient,
  encodeIndex,
  encodeKubelet,
  encodePod,
  encodeU64,
  type Endpoint,
  type KubeletProcess,
  type PodEntry,
} from './redirect-abi.ts';
import { agentCgroupId, claimCgroup } from './redirect-cgroup.ts';
import { readCounters } from './redirect-counters.ts';
import { attachHooks, attachLookup, takeOverLookups } from './redirect-hooks.ts';
import { closeAll, Pins } from './redirect-pins.ts';
import { hooks, type Maps, type ProgramSettings } from './redirect-programs.ts';
import { selfTest, type SelfTestPod, type SelfTestResult } from './redirect-selftest.ts';

export interface RedirectOptions extends ProgramSettings {
  /** Cgroup v2 directory above all pods and above the agent: what is outside is not seen. */
  readonly cgroupRoot: string;
  /** Cgroup of the agent's own process, below `cgroupRoot` and shared with no pod: its sockets are never captured. */
  readonly agentCgroup: string;
  /** Where bpffs is, or is to be mounted. */
  readonly bpffs: string;
  /** Keeps agents on one machine apart; any text. */
  readonly instance: string;
  /** An agent runs on what is pinned: it is taken over as it is, or not at all. */
  readonly shared?: boolean;
}

export interface PodRedirect {
  /** Stays the caller's. */
  readonly netnsFd: number;
  readonly cookie: bigint;
  /** Canonical addresses of the pod; the first of each family counts. Without any of a family, that one is not captured. */
  readonly addresses: readonly string[];
  readonly failMode: 'open' | 'closed';
  readonly dnsCapture: boolean;
  /** One member of the SO_REUSEPORT group for plain TCP; `[::]` if the pod has IPv6. Stays the caller's. */
  readonly plaintextListener: number;
}

/** A pod as the kernel knows it. */
export interface EnrolledRedirect extends PodEntry {
  readonly cookie: bigint;
}

export class Redirect implements AsyncDisposable {
  /** True where an earlier agent's maps were taken over. */
  readonly adopted: boolean;
  readonly #options: RedirectOptions;
  readonly #maps: Maps;
  readonly #pins: Pins;
  #open = true;

  private constructor(options: RedirectOptions, pins: Pins, maps: Maps, adopted: boolean) {
    this.#options = options;
    this.#pins = pins;
    this.#maps = maps;
    this.adopted = adopted;
  }

  /**
   * Loads and attaches everything, or takes over what is pinned: its programs are replaced one by one while traffic
   * goes on, and pods whose namespace is gone are retired. Counts as the first heartbeat.
   *
   * @throws CulvertError REDIRECT_AGENT_CGROUP, REDIRECT_NO_CGROUP2, REDIRECT_NO_BPFFS, REDIRECT_LOAD_FAILED; for what is
   * shared HANDOVER_LAYOUT
   */
  static open(options: RedirectOptions): Redirect {
    const agentCgroup = agentCgroupId(options.cgroupRoot, options.agentCgroup);
    const pins = new Pins(options.bpffs, options.instance);
    try {
      const { maps, adopted } = pins.openMaps(options.shared === true);
      const redirect = new Redirect(options, pins, maps, adopted);
      try {
        redirect.#takeOver(agentCgroup);
        return redirect;
      } catch (error) {
        if (adopted) redirect.close();
        else redirect.detach();
        throw error;
      }
    } catch (thrown) {
      throw loadError(thrown);
    }
  }

  /** Told of every namespace whose capture ends, before it does. */
  onRetire: (cookie: bigint) => void = () => {};

  /** For the kernel path, which has maps of its own among them. */
  get maps(): Maps {
    return this.#maps;
  }

  /** For the kernel path, which pins a hook of its own. */
  get pins(): Pins {
    return this.#pins;
  }

  /** Socket storage for native.originalDestination(); valid in every thread. */
  get originalDestinationMap(): number {
    return this.#maps.orig_dst;
  }

  /** Socket storage for native.setPeerName(); valid in every thread. */
  get peerNameMap(): number {
    return this.#maps.peer_name;
  }

  /** Which servers each UDP socket asked, for shards (redirect-abi.ts decodes it); valid in every thread. */
  get dnsServersMap(): number {
    return this.#maps.dns_servers;
  }

  /**
   * Begins to capture a pod, or changes how: its listeners must accept already. Existing connections stay as they are.
   *
   * @throws CulvertError REDIRECT_ENROL_FAILED; the pod is then as it was before
   */
  enrol(pod: PodRedirect): void {
    const key = encodeCookie(pod.cookie);
    const before = native.mapLookup(this.#maps.pods, key);
    const entry: PodEntry = {
      ip4: pod.addresses.find(ip => !isIpv6(ip)) ?? null,
      ip6: pod.addresses.find(isIpv6) ?? null,
      failMode: pod.failMode,
      dnsCapture: pod.dnsCapture,
      generation: before === null ? 1 : decodePod(before).generation + 1,
    };
    try {
      const value = encodePod(entry);
      this.replaceListener(pod.cookie, pod.plaintextListener);
      attachLookup(this.#pins, this.#maps, this.#options, pod.cookie, pod.netnsFd);
      native.mapUpdate(this.#maps.pods, key, value, 'any');
    } catch (cause) {
      if (before === null) this.retire(pod.cookie);
      throw new CulvertError(
        'REDIRECT_ENROL_FAILED',
        `the pod could not be redirected: ${asCulvertError(cause, '').message}`,
        { cause },
      );
    }
  }

  /** Ends the capture of a pod; what is connected stays connected. Unknown cookies are fine. */
  retire(cookie: bigint): void {
    this.onRetire(cookie);
    native.mapDelete(this.#maps.pods, encodeCookie(cookie));
    this.#pins.removeLink(Pins.lookupName(cookie));
    native.mapDelete(this.#maps.listeners, encodeCookie(cookie));
  }

  /** Every pod that the kernel captures, also those that an earlier agent has enrolled. */
  enrolled(): readonly EnrolledRedirect[] {
    const { count, keys, values, keySize, valueSize } = native.mapEntriesBatch(this.#maps.pods);
    return Array.from({ length: count }, (_, index) => ({
      cookie: decodeCookie(keys.subarray(index * keySize)),
      ...decodePod(values.subarray(index * valueSize, (index + 1) * valueSize)),
    }));
  }

  /** Gives plain TCP of a pod to another listener, when the shard of the old one has died. */
  replaceListener(cookie: bigint, fd: number): void {
    native.mapUpdate(this.#maps.listeners, encodeCookie(cookie), encodeU64(BigInt(fd)), 'any');
  }

  /**
   * The DNS server that a pod's UDP socket asked last, by its source port; null where it asked none. Connected sockets
   * that could not be given a port share one entry per pod, which counts only where the port itself is unknown.
   */
  dnsServer(cookie: bigint, port: number, family: 4 | 6): Endpoint | null {
    return this.dnsServers(cookie, port, family)[0] ?? null;
  }

  /** As dnsServer, with the others that this socket asked not long ago after it: some resolvers ask all at once. */
  dnsServers(cookie: bigint, port: number, family: 4 | 6): readonly Endpoint[] {
    const own = native.mapLookup(this.#maps.dns_servers, encodeDnsClient(cookie, port, family));
    const found = own ?? native.mapLookup(this.#maps.dns_servers, encodeDnsClient(cookie, 0, family));
    return found === null ? [] : decodeDnsServers(found);
  }

  /** Says which process is the node's kubelet: what it opens to a pod is known as such when it arrives. Null: none is. */
  setKubelet(kubelet: KubeletProcess | null): void {
    native.mapUpdate(this.#maps.kubelet, encodeIndex(0), encodeKubelet(kubelet), 'any');
  }

  /** Says that the agent is alive. To be called several times per heartbeat timeout. */
  heartbeat(): void {
    native.mapUpdate(this.#maps.heartbeat, encodeIndex(0), encodeU64(native.monotonicNs()), 'any');
  }

  /** How often each verdict was given since the maps were made, all CPUs together. */
  counters(): Record<CounterName, bigint> {
    return readCounters(this.#maps);
  }

  /** Proves by two connections inside the pod that it is captured. Takes a few milliseconds, or 2 s where it is not. */
  selfTest(pod: SelfTestPod): Promise<SelfTestResult[]> {
    const { cgroupRoot, agentCgroup } = this.#options;
    const entry = native.mapLookup(this.#maps.pods, encodeCookie(pod.cookie));
    const parts = { pins: this.#pins, maps: this.#maps, cgroupRoot, agentCgroup };
    return selfTest(parts, pod, entry === null ? null : decodePod(entry));
  }

  /** Puts this agent's programs in the place of those of another one that has failed. */
  takeBack(): void {
    this.#takeOver(agentCgroupId(this.#options.cgroupRoot, this.#options.agentCgroup));
  }

  /** Uninstalls: no pod is captured any more, and nothing of this instance is left in the kernel. */
  detach(): void {
    for (const { cookie } of this.enrolled()) this.retire(cookie);
    for (const cookie of this.#pins.lookups()) this.retire(cookie);
    // Writers first: nothing new is rewritten while the readers still show the right peers.
    for (const hook of hooks.toReversed()) this.#pins.removeLink(hook.attachType);
    this.#pins.removeAll();
    this.close();
  }

  /** Lets go of the descriptors; everything stays pinned and each pod falls into its declared mode. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeAll(this.#maps);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #takeOver(agentCgroup: bigint): void {
    claimCgroup(this.#maps, agentCgroup);
    this.heartbeat();
    attachHooks(this.#pins, this.#maps, this.#options, this.#options.cgroupRoot);
    for (const cookie of takeOverLookups(this.#pins, this.#maps, this.#options)) this.retire(cookie);
    this.#pins.removeOtherVersions();
  }
}

function loadError(thrown: unknown): CulvertError {
  if (thrown instanceof CulvertError) return thrown;
  const fix =
    thrown instanceof Error && 'fix' in thrown && typeof thrown.fix === 'string' ? thrown.fix : null;
  return new CulvertError(
    'REDIRECT_LOAD_FAILED',
    `the BPF programs could not be put in place: ${asCulvertError(thrown, '').message}`,
    {
      fix: fix ?? '`culvert check` lists what this kernel lacks',
      cause: thrown,
    },
  );
}
