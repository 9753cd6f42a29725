/**
 * The mesh that a question is about: of a directory, or of a cluster as far as the user of a kubeconfig may read it. Built
 * by what agents, waypoints and the control plane use, so that the answer is what they do.
 */
import { resolve } from 'node:path';
import { CulvertError } from '../base/errors.ts';
import { createLogger } from '../base/log.ts';
import { type BuildResult, resultOf } from '../control/build.ts';
import { IncrementalBuilder } from '../control/build-incremental.ts';
import type { Api } from '../control/cluster/api.ts';
import { hasStatus } from '../control/cluster/api-error.ts';
import type { ApiObject } from '../control/cluster/api-events.ts';
import { collectionPath, discover } from '../control/cluster/discovery.ts';
import { checkObject, ClusterObjects } from '../control/cluster/objects.ts';
import type { LocatedObject } from '../control/located.ts';
import { Configuration } from '../control/configuration.ts';
import { type Finding, formatFinding } from '../control/finding.ts';
import { followedKinds } from '../model/kinds/registry.ts';
import { type ClusterChoice, apiOf } from './cluster-api.ts';
import { listed } from './cluster-objects.ts';

/** Options of every command that asks about the mesh. */
export interface MeshChoice extends ClusterChoice {
  /** Directory; without one it is the cluster. */
  readonly config?: string;
}

export interface KnownMesh extends BuildResult {
  /** What could not be taken as it is written, so that the answer may be another than the mesh's. */
  readonly refused: readonly Finding[];
}

/** Nothing that becomes of a request depends on them. */
const unread: ReadonlySet<string> = new Set(['Node', 'ServiceAccount']);

/** Throws what keeps the mesh from being read as a whole: half of it would give a wrong answer. */
export async function meshOf(choice: MeshChoice): Promise<KnownMesh> {
  if (choice.config !== undefined) return meshOfDirectory(choice.config);
  const api = apiOf(choice);
  try {
    return await meshOfCluster(api);
  } finally {
    api.close();
  }
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

async function meshOfCluster(api: Api): Promise<KnownMesh> {
  const wanted = followedKinds.filter(kind => !unread.has(kind));
  const served = await discover(api, wanted, new AbortController().signal);
  const objects = new ClusterObjects({ onChange: () => {} });
  await Promise.all(
    served.map(async kind => {
      const path = collectionPath(kind);
      const sink = objects.sink(kind);
      sink.begin();
      try {
        for (const object of await listed<ApiObject>(api, path)) sink.set(object);
      } catch (cause) {
        if (!hasStatus(cause, 403)) throw cause;
        throw new CulvertError('KUBERNETES_REFUSED', `you may not list ${path}`, {
          fix: 'the answer depends on all of them: ask for `list` in all namespaces',
          cause,
        });
      }
      sink.end();
    }),
  );
  objects.close();
  const refused = objects.findings().filter(({ severity }) => severity === 'error');
  const builder = new IncrementalBuilder({ mode: 'cluster' });
  builder.apply({ set: objects.all(), removed: [] });
  builder.apply({ set: await namedObjects(api, builder), removed: [] });
  return { ...resultOf(builder), refused };
}

/** ConfigMaps that policies name. No Secret is ever asked for: nothing that is answered depends on what is in one. */
async function namedObjects(api: Api, builder: IncrementalBuilder): Promise<LocatedObject[]> {
  const wanted = builder.wanted().filter(({ kind }) => kind === 'ConfigMap');
  const found = await Promise.all(
    wanted.map(async ({ namespace, name }) => {
      try {
        const raw = await api.json({ path: `/api/v1/namespaces/${namespace}/configmaps/${name}` });
        return checkObject({ kind: 'ConfigMap', apiVersion: 'v1' }, raw as ApiObject).object;
      } catch (cause) {
        if (hasStatus(cause, 403, 404)) return null;
        throw cause;
      }
    }),
  );
  return found.filter(object => object !== null);
}

/** For people, beside the answer. */
export function refusedLines({ refused }: KnownMesh): string[] {
  if (refused.length === 0) return [];
  return [
    'not in this answer, since it is refused:',
    ...refused.map(finding => `  ${formatFinding(finding)}`),
  ];
}
