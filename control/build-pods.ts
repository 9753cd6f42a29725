/**
 * Which pods exist for the mesh, which addresses are theirs, and which of them are enrolled.
 *
 * Identity must never be wrong. An address leads to one pod only: of two that claim it one keeps it, and nobody
 * reaches the other by it. A network namespace that two pods claim gives neither of them an identity, since nothing
 * could tell whose traffic comes out of it.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import { podUid } from '../model/workload.ts';
import { Claims } from './build-claims.ts';
import { type BuildMode, type EnrolmentSettings, enrolmentOf, isTunnelled } from './build-enrolment.ts';
import type { FindingStore } from './build-findings.ts';
import type { Labelled } from './build-labels.ts';
import type { Objects } from './build-objects.ts';
import { compare } from './finding.ts';
import { type Located, compareLocated, objectName, type Report } from './located.ts';

/** One pod the mesh knows of; `uid` is that of its workload. */
export interface PodEntry extends Labelled {
  readonly pod: Located<'Pod'>;
  readonly hostNetwork: boolean;
  /** All addresses the pod has; a pod of a cluster that has none yet is nobody's endpoint. */
  readonly addresses: readonly string[];
  /** Those by which it is found; without the ones another pod holds. */
  readonly reachableAt: readonly string[];
  /** Null for a pod that is not to be in the mesh. */
  readonly enrolment: EnrolmentSettings | null;
  /** Whether others reach it through its tunnel only. */
  readonly tunnelled: boolean;
  /** `metadata.uid`, or the workload's uid where that is missing or another pod has it too. Unique. */
  readonly podUid: string;
}

/** What was known of a pod, and what is now. Never both null. */
export interface PodChange {
  readonly before: PodEntry | null;
  readonly after: PodEntry | null;
}

/** Something that only one pod can have. */
interface Claim {
  readonly on: 'address' | 'netns' | 'uid';
  readonly key: string;
}

/** What a pod says by itself, before others are asked whether they say the same. */
interface Claiming {
  readonly entry: PodEntry;
  readonly enrolment: EnrolmentSettings | null;
  readonly tunnelled: boolean;
}

export interface PodBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly mode: BuildMode;
  readonly findings: FindingStore;
}

export class PodBook {
  readonly #options: PodBookOptions;
  readonly #entries = new Map<string, PodEntry>();
  /** Only of pods that asked for something else than they have: those in conflict with others. */
  readonly #asked = new Map<string, Pick<Claiming, 'enrolment' | 'tunnelled'>>();
  readonly #claims: Readonly<Record<Claim['on'], Claims>> = {
    address: new Claims(),
    netns: new Claims(),
    uid: new Claims(),
  };

  constructor(options: PodBookOptions) {
    this.#options = options;
  }

  /** The pod of a workload uid. Pods that have ended (Succeeded, Failed) are not there. */
  get(uid: string): PodEntry | null {
    return this.#entries.get(uid) ?? null;
  }

  all(): Iterable<PodEntry> {
    return this.#entries.values();
  }

  /** The pod that is found at an address. */
  at(address: string): PodEntry | null {
    return this.#holder({ on: 'address', key: address });
  }

  /** Takes in that the pods of these names (or their namespaces) are others than before, or gone. */
  apply(pods: Iterable<{ readonly namespace: string; readonly name: string }>): PodChange[] {
    const { objects, config } = this.#options;
    const before = new Map<string, PodEntry | null>();
    const unsettled = new Map<string, Claiming>();
    /** Pods whose claims others have or had too. */
    const contenders = new Set<string>();
    for (const { namespace, name } of pods) {
      const uid = podUid(config.clusterId, namespace, name);
      const old = this.get(uid);
      before.set(uid, old);
      const now = this.#look(objects.get('Pod', namespace, name), uid, { namespace, name });
      if (old !== null) this.#release(old, contenders);
      this.#asked.delete(uid);
      if (now === null) this.#entries.delete(uid);
      else {
        unsettled.set(uid, now);
        this.#entries.set(uid, now.entry);
        this.#claim(now, contenders);
      }
    }
    for (const uid of contenders) {
      const entry = this.get(uid);
      if (entry === null || unsettled.has(uid)) continue;
      before.set(uid, entry);
      const { enrolment, tunnelled } = this.#asked.get(uid) ?? entry;
      unsettled.set(uid, { entry, enrolment, tunnelled });
    }
    for (const [uid, claiming] of unsettled) this.#entries.set(uid, this.#settle(claiming));
    return [...before].map(([uid, old]) => ({ before: old, after: this.get(uid) }));
  }

  /** What a pod says by itself; null when it does not exist or has ended. */
  #look(
    pod: Located<'Pod'> | null,
    uid: string,
    { namespace, name }: { readonly namespace: string; readonly name: string },
  ): Claiming | null {
    const { objects, config, mode, findings } = this.#options;
    const phase = pod?.value.status.phase;
    if (pod === null || phase === 'Succeeded' || phase === 'Failed') {
      const object = objectName({ kind: 'Pod', namespace, name });
      findings.put('enrolment', object, []);
      findings.put('claims', object, []);
      return null;
    }
    const addresses = podAddresses(pod);
    return findings.about('enrolment', pod, report => {
      const input = { pod, namespace: objects.get('Namespace', '', namespace), addresses, config, mode };
      const enrolment = enrolmentOf(input, report);
      const tunnelled = isTunnelled(pod, enrolment, mode, report);
      const entry = {
        uid,
        namespace,
        labels: pod.value.metadata.labels,
        pod,
        hostNetwork: pod.value.spec.hostNetwork,
        addresses,
        reachableAt: addresses,
        enrolment,
        tunnelled,
        podUid: pod.value.metadata.uid ?? uid,
      };
      return { entry, enrolment, tunnelled };
    });
  }

  /** What becomes of a pod's claims beside those of others. */
  #settle({ entry, enrolment, tunnelled }: Claiming): PodEntry {
    const { uid, pod, addresses, hostNetwork } = entry;
    const place = netnsClaim(pod, enrolment);
    const ownUid = pod.value.metadata.uid;
    const contested = claimsOf(entry, enrolment).some(claim => this.#isContested(claim));
    const isAmbiguous = contested && place !== null && this.#isContested(place) && this.#owner(place) !== uid;
    if (isAmbiguous) this.#asked.set(uid, { enrolment, tunnelled });
    else this.#asked.delete(uid);
    this.#options.findings.about('claims', pod, report => {
      if (contested) this.#reportClaims(entry, enrolment, report);
    });
    return {
      ...entry,
      reachableAt:
        hostNetwork || !contested ? addresses : addresses.filter(address => this.at(address)?.uid === uid),
      enrolment: isAmbiguous ? null : enrolment,
      tunnelled: tunnelled && !isAmbiguous,
      podUid: ownUid !== undefined && this.#holder({ on: 'uid', key: ownUid })?.uid === uid ? ownUid : uid,
    };
  }

  #reportClaims(entry: PodEntry, enrolment: EnrolmentSettings | null, report: Report): void {
    const { uid, pod, addresses, hostNetwork } = entry;
    for (const address of hostNetwork ? [] : addresses) {
      const holder = this.at(address);
      if (holder === null || holder.uid === uid) continue;
      const message = `${address} is the address of ${objectName(holder.pod)} already: nothing reaches this pod by it`;
      report(pod, 'error', 'address-conflict', 'status.podIP', message);
    }
    const place = netnsClaim(pod, enrolment);
    const isShared = place !== null && this.#isContested(place);
    if (isShared && this.#owner(place) !== uid) {
      const other = this.get(this.#owner(place) ?? '') ?? this.#others(place, uid)[0] ?? entry;
      const message = `not enrolled: ${objectName(other.pod)} claims the network namespace ${enrolment?.netns} too, so its traffic has no certain identity`;
      report(pod, 'error', 'netns-conflict', 'metadata.annotations["culvert.dev/netns"]', message);
    } else if (enrolment !== null) {
      const ownUid = pod.value.metadata.uid;
      if (ownUid === undefined || this.#holder({ on: 'uid', key: ownUid })?.uid === uid) return;
      const message = 'has the uid of another pod, which is unique in a cluster: its name is used instead';
      report(pod, 'warning', 'duplicate-uid', 'metadata.uid', message);
    }
  }

  #claim({ entry, enrolment }: Claiming, contenders: Set<string>): void {
    for (const claim of claimsOf(entry, enrolment)) {
      const claims = this.#claims[claim.on];
      claims.add(claim.key, entry.uid);
      if (claims.isContested(claim.key)) for (const uid of claims.of(claim.key)) contenders.add(uid);
    }
  }

  #release(entry: PodEntry, contenders: Set<string>): void {
    const { enrolment } = this.#asked.get(entry.uid) ?? entry;
    for (const { on, key } of claimsOf(entry, enrolment)) {
      if (this.#claims[on].isContested(key)) for (const uid of this.#claims[on].of(key)) contenders.add(uid);
      this.#claims[on].remove(key, entry.uid);
    }
  }

  #isContested({ on, key }: Claim): boolean {
    return this.#claims[on].isContested(key);
  }

  #others({ on, key }: Claim, uid: string): PodEntry[] {
    const entries = this.#claims[on].of(key).flatMap(claimant => this.get(claimant) ?? []);
    return entries.filter(entry => entry.uid !== uid).sort(this.#precedence);
  }

  /** Who has what is claimed: the only one, or the one that goes before the others. */
  #holder({ on, key }: Claim): PodEntry | null {
    const claimants = this.#claims[on].of(key);
    const [only] = claimants;
    if (only === undefined) return null;
    if (claimants.length === 1) return this.get(only);
    const entries = claimants.flatMap(uid => this.get(uid) ?? []);
    if (on === 'uid') return entries.sort((a, b) => compare(a.uid, b.uid))[0] ?? null;
    return entries.sort(this.#precedence)[0] ?? null;
  }

  /** The only one of those that claim a network namespace that is not going away. */
  #owner({ on, key }: Claim): string | null {
    const staying = this.#claims[on].of(key).filter(uid => {
      const entry = this.get(uid);
      return entry !== null && !isLeaving(entry.pod);
    });
    return staying.length === 1 ? (staying[0] ?? null) : null;
  }

  /**
   * A pod that is going away yields to one that is not. Then the first in file order wins; in a cluster the younger one,
   * since an address is given anew only when nobody has it any more.
   */
  readonly #precedence = ({ pod: a }: PodEntry, { pod: b }: PodEntry): number =>
    Number(isLeaving(a)) - Number(isLeaving(b)) ||
    (this.#options.mode === 'cluster' ? compare(created(b), created(a)) : 0) ||
    compareLocated(a, b);
}

function podAddresses(pod: Located<'Pod'>): string[] {
  const { podIP, podIPs } = pod.value.status;
  const all = [podIP ?? '', ...podIPs.map(({ ip }) => ip)];
  // A list made of a Set has no room to spare, and there is one for each pod.
  return [...new Set(all.filter(address => address !== ''))];
}

/** All that only one pod can have of what this one says is its own. */
function claimsOf(entry: PodEntry, enrolment: EnrolmentSettings | null): Claim[] {
  const { pod, addresses, hostNetwork } = entry;
  const claims: Claim[] = hostNetwork ? [] : addresses.map(key => ({ on: 'address', key }));
  const place = netnsClaim(pod, enrolment);
  if (place !== null) claims.push(place);
  const { uid } = pod.value.metadata;
  if (uid !== undefined) claims.push({ on: 'uid', key: uid });
  return claims;
}

/** Null in a cluster, where the agent of the node finds the network namespace of each pod itself. */
function netnsClaim(pod: Located<'Pod'>, enrolment: EnrolmentSettings | null): Claim | null {
  const netns = enrolment?.netns ?? '';
  return netns === '' ? null : { on: 'netns', key: `${pod.value.spec.nodeName}\0${netns}` };
}

function isLeaving(pod: Located<'Pod'>): boolean {
  return pod.value.metadata.deletionTimestamp !== undefined;
}

function created(pod: Located<'Pod'>): string {
  return pod.value.metadata.creationTimestamp ?? '';
}
