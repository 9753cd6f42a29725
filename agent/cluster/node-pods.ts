/**
 * Which pods of this node are to be enrolled, and where: the control plane's word on who they are, joined with where the
 * container runtime and the CNI plugin say that they run. No I/O.
 *
 * A pod is its UID, in both: an address that was used again, a name that was made anew, a sandbox that was replaced is
 * never enough to get somebody's identity. A static pod has two, which its mirror at the API server joins; the name must
 * agree as well then, since who makes a pod there may write what he likes on it.
 */
import type { MeshSettings, NodePod } from '../../model/node-pod.ts';
import { formatSpiffeId } from '../../model/identity.ts';
import type { CulvertError } from '../../base/errors.ts';
import type { EnrolmentStates, WantedPod } from '../mesh-source.ts';
import type { Sandbox } from './sandbox.ts';

/** How far a pod has come, or the error that it did not come further with. */
export type Progress = 'unknown' | 'unwanted' | 'waiting' | 'enrolled' | CulvertError;

export interface PodReport {
  readonly podUid: string;
  readonly enrolled: boolean;
  readonly code: string;
  readonly message: string;
}

/** A sandbox that a plugin has spoken of and no list of the runtime names after this is none any more. */
const unlistedMs = 300_000;

interface KnownSandbox {
  readonly sandbox: Sandbox;
  /** Seen in a list of the runtime. During its ADD a sandbox is in none. */
  readonly listed: boolean;
}

const nothing: EnrolmentStates = { enrolled: new Set(), failures: new Map() };

export class NodePods {
  readonly #wishes = new Map<string, NodePod>();
  /** Wishes for static pods, by the UID and name that the runtime knows them by. */
  readonly #mirrors = new Map<string, NodePod>();
  readonly #sandboxes = new Map<string, KnownSandbox>();
  /** What was last asked for: UID of a pod to its sandbox. */
  readonly #asked = new Map<string, string>();
  /** Pods that must first leave another sandbox. */
  readonly #leaving = new Set<string>();
  #states: EnrolmentStates = nothing;
  #settings: MeshSettings | null = null;

  get settings(): MeshSettings | null {
    return this.#settings;
  }

  setSettings(settings: MeshSettings): void {
    this.#settings = settings;
  }

  /** What the control plane says of the pods of this node. */
  setWishes(set: readonly NodePod[], removed: readonly string[]): void {
    for (const uid of removed) this.#forget(uid);
    for (const wish of set) {
      this.#forget(wish.podUid);
      this.#wishes.set(wish.podUid, wish);
      if (wish.runtimeUid !== wish.podUid) this.#mirrors.set(mirrorKey(wish.runtimeUid, wish), wish);
    }
  }

  /** A complete list of the runtime. */
  setSandboxes(listed: readonly Sandbox[], now: number): void {
    const ids = new Set(listed.map(sandbox => sandbox.id));
    for (const [id, known] of this.#sandboxes) {
      const over = known.listed || now - known.sandbox.createdAt > unlistedMs;
      if (!ids.has(id) && over) this.#sandboxes.delete(id);
    }
    for (const sandbox of listed) this.#know(sandbox, true);
  }

  /** The CNI plugin is making a sandbox. */
  addSandbox(sandbox: Sandbox): void {
    this.#know(sandbox, false);
  }

  /** The CNI plugin has taken a sandbox down, or its making has failed. */
  removeSandbox(id: string): void {
    this.#sandboxes.delete(id);
  }

  /** What came of what was last asked for. */
  setStates(states: EnrolmentStates): void {
    this.#states = states;
    for (const uid of this.#leaving) {
      if (!states.enrolled.has(uid) && !states.failures.has(uid)) this.#leaving.delete(uid);
    }
  }

  /** What is to be asked for now, in a steady order. */
  wanted(): WantedPod[] {
    const places = this.#places();
    const now = new Map<string, { readonly pod: WantedPod; readonly sandbox: string }>();
    for (const wish of this.#wishes.values()) {
      const sandbox = wish.wanted ? placeOf(wish, places) : undefined;
      const pod = sandbox === undefined ? null : wantedPod(wish, sandbox, this.#settings);
      if (sandbox !== undefined && pod !== null) now.set(wish.podUid, { pod, sandbox: sandbox.id });
    }
    for (const [uid, sandbox] of this.#asked) if (now.get(uid)?.sandbox !== sandbox) this.#leave(uid);
    for (const uid of this.#leaving) now.delete(uid);
    for (const [uid, { sandbox }] of now) this.#asked.set(uid, sandbox);
    return [...now.values()].map(({ pod }) => pod).sort((a, b) => (a.podUid < b.podUid ? -1 : 1));
  }

  /** How far the pod in this sandbox has come, by the UID that the runtime knows it by. */
  progress(runtimeUid: string, sandboxId: string): Progress {
    const wish = this.wish(runtimeUid, sandboxId);
    if (wish === null || this.#settings === null) return 'unknown';
    if (!wish.wanted) return 'unwanted';
    const { podUid } = wish;
    if (this.#asked.get(podUid) !== sandboxId) return 'waiting';
    if (this.#states.enrolled.has(podUid)) return 'enrolled';
    return this.#states.failures.get(podUid) ?? 'waiting';
  }

  wish(runtimeUid: string, sandboxId: string): NodePod | null {
    const direct = this.#wishes.get(runtimeUid);
    if (direct?.runtimeUid === runtimeUid) return direct;
    const sandbox = this.#sandboxes.get(sandboxId)?.sandbox;
    return sandbox === undefined ? null : (this.#mirrors.get(mirrorKey(runtimeUid, sandbox)) ?? null);
  }

  /** What the control plane is to know: each pod that is enrolled or could not be, and none that only waits. */
  report(): PodReport[] {
    const { enrolled, failures } = this.#states;
    const reports: PodReport[] = [];
    for (const podUid of this.#asked.keys()) {
      const error = failures.get(podUid);
      if (enrolled.has(podUid)) reports.push({ podUid, enrolled: true, code: '', message: '' });
      else if (error !== undefined)
        reports.push({ podUid, enrolled: false, code: error.code, message: error.message });
    }
    return reports;
  }

  counts(): { readonly known: number; readonly wanted: number; readonly sandboxes: number } {
    const wanted = [...this.#wishes.values()].filter(wish => wish.wanted).length;
    return { known: this.#wishes.size, wanted, sandboxes: this.#sandboxes.size };
  }

  #forget(podUid: string): void {
    const wish = this.#wishes.get(podUid);
    if (wish === undefined) return;
    this.#wishes.delete(podUid);
    const key = mirrorKey(wish.runtimeUid, wish);
    if (this.#mirrors.get(key) === wish) this.#mirrors.delete(key);
  }

  /** The newest sandbox of each pod. */
  #places(): Map<string, Sandbox> {
    const places = new Map<string, Sandbox>();
    for (const { sandbox } of this.#sandboxes.values()) {
      const other = places.get(sandbox.podUid);
      if (other === undefined || sandbox.createdAt >= other.createdAt) places.set(sandbox.podUid, sandbox);
    }
    return places;
  }

  /** A path or an order of addresses that is said in two ways is no change: it would cut the pod's connections. */
  #know(sandbox: Sandbox, listed: boolean): void {
    const known = this.#sandboxes.get(sandbox.id);
    if (known === undefined || known.sandbox.podUid !== sandbox.podUid) {
      this.#sandboxes.set(sandbox.id, { sandbox, listed });
      return;
    }
    const { addresses } = known.sandbox;
    const merged = addresses.length > 0 ? known.sandbox : { ...known.sandbox, addresses: sandbox.addresses };
    this.#sandboxes.set(sandbox.id, { sandbox: merged, listed: listed || known.listed });
  }

  /**
   * A pod is asked for no more, in that sandbox. What is reported says nothing of sandboxes, so that it is asked for in
   * another one only after it is reported gone from the first: otherwise it would count as enrolled too early.
   */
  #leave(uid: string): void {
    this.#asked.delete(uid);
    this.#leaving.add(uid);
  }
}

interface Named {
  readonly namespace: string;
  readonly name: string;
}

function mirrorKey(runtimeUid: string, { namespace, name }: Named): string {
  return `${runtimeUid} ${namespace}/${name}`;
}

function placeOf(wish: NodePod, places: ReadonlyMap<string, Sandbox>): Sandbox | undefined {
  const place = places.get(wish.runtimeUid);
  const isMirror = wish.runtimeUid !== wish.podUid;
  return isMirror && (place?.namespace !== wish.namespace || place.name !== wish.name) ? undefined : place;
}

/** Null while it has no address: nothing could be redirected. */
function wantedPod(wish: NodePod, sandbox: Sandbox, settings: MeshSettings | null): WantedPod | null {
  const addresses = sandbox.addresses.length > 0 ? sandbox.addresses : wish.addresses;
  if (settings === null || addresses.length === 0) return null;
  const { podUid, workloadUid, namespace, name, serviceAccount, failMode, dnsCapture } = wish;
  return {
    podUid,
    workloadUid,
    namespace,
    name,
    identity: formatSpiffeId({ trustDomain: settings.trustDomain, namespace, serviceAccount }),
    netns: sandbox.netns,
    addresses,
    failMode,
    dnsCapture,
  };
}
