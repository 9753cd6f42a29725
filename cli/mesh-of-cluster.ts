/**
 * The mesh of a cluster, as far as the user of a kubeconfig may read it: its objects listed once, and built as the control plane
 * builds them. Loaded only where a cluster is asked about: what speaks to an API server is heavy.
 */
import { CulvertError } from '../base/errors.ts';
import { resultOf } from '../control/build.ts';
import { IncrementalBuilder } from '../control/build-incremental.ts';
import type { Api } from '../control/cluster/api.ts';
import { hasStatus } from '../control/cluster/api-error.ts';
import type { ApiObject } from '../control/cluster/api-events.ts';
import { collectionPath, discover } from '../control/cluster/discovery.ts';
import { checkObject, ClusterObjects } from '../control/cluster/objects.ts';
import type { LocatedObject } from '../control/located.ts';
import { followedKinds } from '../model/kinds/registry.ts';
import { type ClusterChoice, apiOf } from './cluster-api.ts';
import { listed } from './cluster-objects.ts';
import type { KnownMesh } from './known-mesh.ts';

/** Nothing that becomes of a request depends on them. */
const unread: ReadonlySet<string> = new Set(['Node', 'ServiceAccount']);

/** Throws what keeps the mesh from being read as a whole. */
export async function meshOfCluster(choice: ClusterChoice): Promise<KnownMesh> {
  const api = apiOf(choice);
  try {
    return await meshBehind(api);
  } finally {
    api.close();
  }
}

async function meshBehind(api: Api): Promise<KnownMesh> {
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
