/**
 * The pods of this node, in the main thread: enrols, retires, and keeps what is enrolled equal to what is configured.
 *
 * Enrolling opens listeners first and redirects last, so capture begins only where somebody listens; retiring goes the
 * other way. A pod is identified by its UID and its namespace file: a sandbox that was made anew is another pod.
 */
import { statSync } from 'node:fs';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import * as native from '../native/native.ts';
import type { PodPorts } from './config.ts';
import {
  closeAll,
  closeListeners,
  cookieAt,
  type EnrolledPod,
  estateOf,
  isThere,
  leftMesh,
  reasonToRetire,
} from './enrolled-pod.ts';
import type { Inheritance, PodEstate } from './handover/estate.ts';
import type { Keeper } from './handover/keeper.ts';
import type { EnrolmentStates, WantedPod } from './mesh-source.ts';
import type { ShardPodMessage } from './messages.ts';
import { closeSet, type ListenerSet, openListeners, setsOfShard } from './pod-listeners.ts';
import type { Redirect } from './redirect.ts';
import { forgetShard, newCounts } from './spread.ts';

export interface PodsOptions {
  readonly shards: number;
  readonly ports: PodPorts;
  readonly redirect: Redirect;
  /** Has copies of all listeners, always; null: nobody has. */
  readonly keeper: Keeper | null;
  /** Whether all pods that are to be wanted have been heard of. */
  readonly podsKnown: () => boolean;
  readonly log: Logger;
  /** Sends to one shard, and resolves with its error or null when it listens. */
  readonly addToShard: (index: number, message: ShardPodMessage) => Promise<string | null>;
  readonly removeFromShards: (podUid: string, reason: string) => void;
  /** The pod leaves the mesh and lives on: connections may end by themselves until it is removed. */
  readonly leaveShards: (podUid: string) => void;
  /** How long connections of such a pod may go on, ms. */
  readonly leaveMs: number;
  readonly holdIdentity: (identity: string) => void;
  readonly releaseIdentity: (identity: string) => void;
}

export class Pods {
  readonly #options: PodsOptions;
  readonly #enrolled = new Map<string, EnrolledPod>();
  readonly #failures = new Map<string, CulvertError>();
  /** Pods out of the mesh whose connections may still end by themselves: what removes them for good. */
  readonly #leaving = new Map<string, () => void>();
  #wanted: readonly WantedPod[] = [];
  #work: Promise<void> = Promise.resolve();
  #stopped = false;
  /** Another agent has them now, and may give them back. */
  #suspended = false;
  #inheritance: Inheritance | null = null;
  /** Pods that the agent before has enrolled and our own sources have not spoken of yet. */
  #kept: readonly WantedPod[] = [];
  #nextTag = 0;
  #started = 0;
  #retired = 0;

  constructor(options: PodsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#enrolled.size;
  }

  /** Pods that should be enrolled and are not, with the reason. */
  failures(): ReadonlyMap<string, CulvertError> {
    return this.#failures;
  }

  /** What came of the wishes so far. */
  states(): EnrolmentStates {
    return { enrolled: new Set(this.#enrolled.keys()), failures: this.#failures };
  }

  counts(): { active: number; pending: number; started: number; stopped: number } {
    return {
      active: this.#enrolled.size,
      pending: this.#failures.size,
      started: this.#started,
      stopped: this.#retired,
    };
  }

  list(): { wanted: WantedPod; cookie: bigint }[] {
    return [...this.#enrolled.values()].map(({ wanted, cookie }) => ({ wanted, cookie }));
  }

  /** What a self-test needs of an enrolled pod; null when it is not enrolled (any more). */
  byCookie(cookie: bigint): { cookie: bigint; netnsFd: number; name: string } | null {
    for (const pod of this.#enrolled.values()) {
      if (pod.cookie === cookie)
        return { cookie, netnsFd: pod.netnsFd, name: `${pod.wanted.namespace}/${pod.wanted.name}` };
    }
    return null;
  }

  /** Makes what is enrolled equal to `wanted`. Calls queue up; each sees the newest wish. */
  reconcile(wanted: readonly WantedPod[]): Promise<void> {
    this.#wanted = wanted;
    return this.recheck();
  }

  /** Looks again whether namespaces are what they were, and tries again what failed. */
  recheck(): Promise<void> {
    this.#work = this.#work.then(() => this.#reconcile());
    return this.#work;
  }

  /** A new shard's copy of everything, with descriptors of its own. */
  introduce(index: number): ShardPodMessage[] {
    if (this.#stopped || this.#suspended) return [];
    return [...this.#enrolled.values()].map(pod => this.#message(pod, index));
  }

  /**
   * The pods of the agent before, with the connections that wait in their sockets. Those that nobody wants here stay for
   * a moment: where they run may not have been heard yet. Not so a pod whose namespace is gone, or is another one now.
   */
  async inherit(inheritance: Inheritance): Promise<void> {
    await this.#work;
    this.#inheritance = inheritance;
    for (const { wanted, cookie } of inheritance.pods())
      if (cookieAt(wanted.netns) !== cookie) inheritance.discardPod(cookie);
    this.#kept = inheritance.pods().map(pod => pod.wanted);
    setTimeout(() => this.#forgetBefore(), keptMs).unref();
  }

  /** What nobody has taken of the agent before is closed. */
  #forgetBefore(): void {
    this.#kept = [];
    this.#inheritance?.closePods();
    this.#inheritance = null;
  }

  /** A shard has died, and its connections with it. */
  shardLost(index: number): void {
    for (const { clients, peers } of this.#enrolled.values())
      for (const counts of [clients, peers]) forgetShard(counts, index);
  }

  /** What another agent needs to take over; nothing changes any more until `resume`. */
  async suspend(): Promise<PodEstate[]> {
    this.#suspended = true;
    await this.#work;
    return [...this.#enrolled.values()].map(estateOf);
  }

  /** They are ours again; what has changed meanwhile comes with the next look. */
  resume(): void {
    this.#suspended = false;
    for (const pod of this.#enrolled.values()) this.#options.keeper?.keepPod(estateOf(pod));
  }

  /** Where a shard is to accept again. */
  listenersOf(index: number): { readonly podUid: string; readonly listeners: ListenerSet[] }[] {
    if (this.#stopped) return [];
    return [...this.#enrolled].map(([podUid, pod]) => ({
      podUid,
      listeners: setsOfShard(pod.listeners, index, this.#options.shards),
    }));
  }

  /** Gives up the listeners, or new connections would wait in a backlog for nobody: pods fall into their declared mode. */
  async stopListening(): Promise<void> {
    this.#stopped = true;
    await this.#work;
    for (const pod of this.#enrolled.values()) closeListeners(pod);
    await this.#options.keeper?.clear();
  }

  #leave(uid: string, remove: () => void): void {
    const end = (): void => {
      clearTimeout(timer);
      this.#leaving.delete(uid);
      remove();
    };
    const timer = setTimeout(end, this.#options.leaveMs);
    this.#leaving.set(uid, end);
    this.#options.leaveShards(uid);
  }

  /** Closes everything; what is pinned in the kernel stays as it is. */
  async close(): Promise<void> {
    await this.stopListening();
    for (const end of this.#leaving.values()) end();
    for (const pod of this.#enrolled.values()) closeAll(pod);
    this.#enrolled.clear();
  }

  async #reconcile(): Promise<void> {
    if (this.#stopped || this.#suspended) return;
    const { podsKnown } = this.#options;
    if (podsKnown()) this.#kept = [];
    const wanted = this.#everyWanted();
    for (const [uid, pod] of this.#enrolled) {
      const reason = reasonToRetire(pod, wanted.get(uid));
      if (reason !== null) this.#retire(uid, pod, reason);
    }
    for (const uid of this.#failures.keys()) if (!wanted.has(uid)) this.#failures.delete(uid);
    for (const pod of wanted.values()) {
      if (this.#enrolled.has(pod.podUid)) continue;
      try {
        await this.#enrol(pod);
        this.#failures.delete(pod.podUid);
      } catch (thrown) {
        const error = asCulvertError(thrown, 'ENROL_FAILED');
        if (this.#failures.get(pod.podUid)?.message !== error.message) {
          this.#options.log.error(
            { pod: `${pod.namespace}/${pod.name}`, code: error.code, err: error.message, fix: error.fix },
            'pod not enrolled',
          );
        }
        this.#failures.set(pod.podUid, error);
      }
    }
    // One that failed may get its sockets yet.
    if (podsKnown() && this.#failures.size === 0) this.#forgetBefore();
    // What an earlier agent left in the kernel for pods that nobody wants any more.
    const known = new Set([...this.#enrolled.values()].map(pod => pod.cookie));
    for (const { cookie } of this.#options.redirect.enrolled()) {
      if (!known.has(cookie) && !this.#mayReturn(cookie)) this.#options.redirect.retire(cookie);
    }
  }

  /** By UID. Who was there before stays only where our own sources say nothing of the pod, or of the place that it is in. */
  #everyWanted(): Map<string, WantedPod> {
    const places = new Set(this.#wanted.map(pod => pod.netns));
    const kept = this.#kept.filter(pod => !places.has(pod.netns));
    return new Map([...kept, ...this.#wanted].map(pod => [pod.podUid, pod]));
  }

  /** A pod that is wanted but failed to enrol stays in its declared mode. */
  #mayReturn(cookie: bigint): boolean {
    return this.#wanted.some(pod => !this.#enrolled.has(pod.podUid) && cookieAt(pod.netns) === cookie);
  }

  async #enrol(wanted: WantedPod): Promise<void> {
    const { redirect, shards, ports, keeper } = this.#options;
    this.#leaving.get(wanted.podUid)?.();
    const netnsFd = native.openNetns(wanted.netns);
    let listeners: ListenerSet[] = [];
    try {
      const cookie = native.netnsCookie(netnsFd);
      const inherited = this.#inheritance?.takePod(cookie) ?? null;
      const sets = { shards, dns: wanted.dnsCapture };
      listeners = openListeners(netnsFd, ports, sets, inherited?.sets ?? []);
      // All of its IPv6 connections now go to one address and port: without reuse it runs out of source ports.
      const timeWaitReuse = native.netnsSysctl(netnsFd, 'ipv4/tcp_tw_reuse', '1');
      const pod: EnrolledPod = {
        wanted,
        netnsFd,
        netnsInode: statSync(wanted.netns, { bigint: true }).ino,
        cookie,
        timeWaitReuse: inherited?.timeWaitReuse ?? timeWaitReuse,
        listeners,
        tag: this.#nextTag++,
        clients: newCounts(shards),
        peers: newCounts(shards),
      };
      await this.#tellShards(pod);
      const [first] = listeners;
      if (first === undefined) throw new CulvertError('ENROL_FAILED', 'no shards');
      redirect.enrol({
        netnsFd,
        cookie,
        addresses: wanted.addresses,
        failMode: wanted.failMode,
        dnsCapture: wanted.dnsCapture,
        plaintextListener: first.plaintext,
      });
      this.#options.holdIdentity(wanted.identity);
      this.#enrolled.set(wanted.podUid, pod);
      keeper?.keepPod(estateOf(pod));
      this.#started += 1;
      this.#options.log.info(
        {
          pod: `${wanted.namespace}/${wanted.name}`,
          identity: wanted.identity,
          addresses: wanted.addresses,
          failMode: wanted.failMode,
        },
        'pod enrolled',
      );
    } catch (error) {
      this.#options.removeFromShards(wanted.podUid, 'enrolment failed');
      listeners.forEach(closeSet);
      keeper?.dropPod(native.netnsCookie(netnsFd));
      native.close(netnsFd);
      throw error;
    }
  }

  async #tellShards(pod: EnrolledPod): Promise<void> {
    const answers = Array.from({ length: this.#options.shards }, (_, index) =>
      this.#options.addToShard(index, this.#message(pod, index)),
    );
    for (const error of await Promise.all(answers)) {
      if (error !== null) throw new CulvertError('ENROL_FAILED', `a shard could not listen: ${error}`);
    }
  }

  #message(pod: EnrolledPod, index: number): ShardPodMessage {
    return {
      podUid: pod.wanted.podUid,
      workloadUid: pod.wanted.workloadUid,
      name: pod.wanted.name,
      namespace: pod.wanted.namespace,
      identity: pod.wanted.identity,
      addresses: pod.wanted.addresses,
      cookie: pod.cookie,
      netnsFd: native.duplicate(pod.netnsFd),
      tag: pod.tag,
      clients: pod.clients,
      peers: pod.peers,
      listeners: setsOfShard(pod.listeners, index, this.#options.shards),
    };
  }

  #retire(uid: string, pod: EnrolledPod, reason: string): void {
    this.#options.redirect.retire(pod.cookie);
    const remove = (): void => {
      this.#options.removeFromShards(uid, reason);
      this.#options.releaseIdentity(pod.wanted.identity);
    };
    if (reason === leftMesh && isThere(pod)) this.#leave(uid, remove);
    else remove();
    native.netnsSysctl(pod.netnsFd, 'ipv4/tcp_tw_reuse', pod.timeWaitReuse);
    closeAll(pod);
    this.#options.keeper?.dropPod(pod.cookie);
    this.#enrolled.delete(uid);
    this.#retired += 1;
    this.#options.log.info({ pod: `${pod.wanted.namespace}/${pod.wanted.name}`, reason }, 'pod retired');
  }
}

/** Longer than a container runtime takes to list what runs. */
const keptMs = 5_000;
