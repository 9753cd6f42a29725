/**
 * One enrolled pod as the main thread holds it, and whether it is still the pod that it was when it was enrolled.
 */
import { statSync } from 'node:fs';
import * as native from '../native/native.ts';
import type { PodEstate } from './handover/estate.ts';
import type { WantedPod } from './mesh-source.ts';
import { closeSet, type ListenerSet } from './pod-listeners.ts';

export interface EnrolledPod {
  readonly wanted: WantedPod;
  readonly netnsFd: number;
  readonly netnsInode: bigint;
  readonly cookie: bigint;
  /** What `net.ipv4.tcp_tw_reuse` was in there. */
  readonly timeWaitReuse: string;
  /** At least one set for each shard; kept open here, so that a dead shard's successor takes over its backlog. */
  readonly listeners: ListenerSet[];
  /** As in ShardPodMessage. */
  readonly tag: number;
  readonly clients: SharedArrayBuffer;
  readonly peers: SharedArrayBuffer;
}

/** A pod that lives on. */
export const leftMesh = 'no longer in the mesh';

export function isThere({ wanted, netnsInode }: EnrolledPod): boolean {
  try {
    return statSync(wanted.netns, { bigint: true }).ino === netnsInode;
  } catch {
    return false;
  }
}

/** Of the network namespace at a path; null where there is none. */
export function cookieAt(path: string): bigint | null {
  try {
    const fd = native.openNetns(path);
    try {
      return native.netnsCookie(fd);
    } finally {
      native.close(fd);
    }
  } catch {
    return null;
  }
}

export function estateOf({ wanted, cookie, timeWaitReuse, listeners }: EnrolledPod): PodEstate {
  return { wanted, cookie, timeWaitReuse, sets: listeners };
}

export function closeAll(pod: EnrolledPod): void {
  closeListeners(pod);
  native.close(pod.netnsFd);
}

export function closeListeners(pod: EnrolledPod): void {
  pod.listeners.splice(0).forEach(closeSet);
}

export function reasonToRetire(pod: EnrolledPod, wanted: WantedPod | undefined): string | null {
  if (wanted === undefined) return leftMesh;
  const had = pod.wanted;
  if (had.identity !== wanted.identity) return 'its identity changed';
  if (had.workloadUid !== wanted.workloadUid || had.netns !== wanted.netns) return 'it is another pod now';
  if (had.addresses.join() !== wanted.addresses.join()) return 'its addresses changed';
  if (had.failMode !== wanted.failMode || had.dnsCapture !== wanted.dnsCapture) return 'its settings changed';
  return isThere(pod) ? null : 'its network namespace is gone or was made anew';
}
