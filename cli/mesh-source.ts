/**
 * The mesh that a question is about: of a directory, or of a cluster as far as the user of a kubeconfig may read it. Built
 * by what agents, waypoints and the control plane use, so that the answer is what they do.
 */
import { resolve } from 'node:path';
import { createLogger } from '../base/log.ts';
import { Configuration } from '../control/configuration.ts';
import type { ClusterChoice } from './cluster-api.ts';
import type { KnownMesh } from './known-mesh.ts';

/** Options of every command that asks about the mesh. */
export interface MeshChoice extends ClusterChoice {
  /** Directory; without one it is the cluster. */
  readonly config?: string;
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
