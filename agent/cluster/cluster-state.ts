/** How an agent and the cluster around it stand, for `culvert status` and metrics. */
import type { ResourceType } from '../../xds/codec.ts';
import type { XdsCounters, XdsState } from '../../xds/state.ts';
import type { CniState } from './cni-install.ts';
import type { CniTimes } from './cni-times.ts';
import type { RuntimeState } from './cri.ts';

export interface ClusterState {
  readonly xds: Omit<XdsState, 'lastError'> & { readonly trouble: string | null };
  readonly xdsCounters: XdsCounters;
  /** Names that were asked for, by what the control plane said; null where everything is known. */
  readonly names: { readonly found: number; readonly missing: number; readonly pending: number } | null;
  /** What the types of resources are called on the wire. */
  readonly typeUrls: Readonly<Record<ResourceType, string>>;
  readonly runtime: RuntimeState;
  /** Null where the plugin is not installed from here. */
  readonly cni: CniState | null;
  readonly cniAsked: number;
  readonly cniTimes: CniTimes;
  readonly cniInserted: number;
  readonly cniWaiting: number;
  readonly pods: { readonly known: number; readonly wanted: number; readonly sandboxes: number };
  /** Why the control plane does not hear which pods are enrolled; null while it does. */
  readonly reportsTrouble: string | null;
}
