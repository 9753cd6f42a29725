/**
 * The mesh that a question is about: of a directory, or of a cluster as far as the user of a kubeconfig may read it. Built
 * by what agents, waypoints and the control plane use, so that the answer is what they do.
 */
import { resolve } from 'node:path';
import { createLogger } from '../base/log.ts';
import type { BuildResult } from '../control/build.ts';
import { Configuration } from '../control/configuration.ts';
import { type Finding, formatFinding } from '../control/finding.ts';
import type { ClusterChoice } from './cluster-api.ts';

/** Options of every command that asks about the mesh. */
export interface MeshChoice extends ClusterChoice {
  /** Directory; without one it is the cluster. */
  readonly config?: string;
}

export interface KnownMesh extends BuildResult {
  /** What could not be taken as it is written, so that the answer may be another than the mesh's. */
  readonly refused: readonly Finding[];
}

/** Throws what keeps the mesh from being read as a whole: half of it would give a wrong answer. */
export async function meshOf(choice: MeshChoice): Promise<KnownMesh> {
  if (choice.config !== undefined) return meshOfDirectory(choice.config);
  const { meshOfCluster } = await import('./mesh-of-cluster.ts');
  return meshOfCluster(choice);
}

async function meshOfDirectory(directory: string): Promise<KnownMesh> {
  const log = createLogger({ component: 'explain', level: 'silent' });
  const configuration = await Configuration.open(resolve(directory), log);
  const files = new Set(configuration.refusedFiles());
  const refused = configuration
    .findings()
    .filter(({ severity, file }) => severity === 'error' && files.has(file ?? ''));
  const { current } = configuration;
  await configuration.close();
  return { ...current, refused };
}

/** For people, beside the answer. */
export function refusedLines({ refused }: KnownMesh): string[] {
  if (refused.length === 0) return [];
  return [
    'not in this answer, since it is refused:',
    ...refused.map(finding => `  ${formatFinding(finding)}`),
  ];
}
