/**
 * Where a waypoint learns the mesh and what it is to do, and who signs for it: a directory of YAML with an authority whose
 * key lies in a file, or the control plane of a cluster.
 *
 * Only the one that is used is loaded: what reads YAML and what speaks to a control plane weigh tens of megabytes.
 */
import type { Logger } from '../base/log.ts';
import type { Finding } from '../control/finding.ts';
import type { L7State } from '../model/l7.ts';
import type { MeshDelta } from '../model/mesh.ts';
import type { CertificateSource } from '../tunnel/certificate-exchange.ts';
import type { Barred } from '../xds/codec-l7.ts';
import type { SourceConfig } from './config.ts';
import type { MeshNames } from './context.ts';

export interface WaypointUpdate {
  /** What changes. */
  readonly mesh: MeshDelta;
  /** The whole; a list in which nothing has changed is the same array as before. */
  readonly l7: L7State;
  /** What must not be served, since something about it can not be read. */
  readonly barred: readonly Barred[];
  readonly names: MeshNames;
  /** The workload that this process is; null where its address has to tell. */
  readonly self: string | null;
}

export interface SourceState {
  /** Grows with each update. */
  readonly generation: number;
  /** Milliseconds since the epoch. */
  readonly appliedAt: number;
  /** For people. */
  readonly [detail: string]: unknown;
}

export interface WaypointSource {
  readonly signer: CertificateSource;
  /** Resolves with the first whole state, however long that takes. */
  start(): Promise<WaypointUpdate>;
  /** Told of every update after the first. */
  onUpdate: (update: WaypointUpdate) => void;
  state(): SourceState;
  findings(): readonly Finding[];
  close(): Promise<void>;
}

/** Reads the directory and the authority, and throws CulvertError for either; a control plane is not asked before `start`. */
export async function openSource(config: SourceConfig, log: Logger): Promise<WaypointSource> {
  if (config.kind === 'directory') {
    const { DirectorySource } = await import('./directory-source.ts');
    return DirectorySource.open(config, log);
  }
  const { ClusterSource } = await import('./cluster-source.ts');
  return new ClusterSource(config, log);
}
