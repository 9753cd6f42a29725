/**
 * What `culvert install` remembers in the cluster, so that an upgrade keeps the values and removes what is no longer
 * wanted: a ConfigMap beside the installation.
 */
import { CulvertError } from '../base/errors.ts';
import { versionString } from '../base/version.ts';
import { type Api } from '../control/cluster/api.ts';
import type { Manifest } from '../daemonset/installation.ts';
import { labels } from '../daemonset/manifests/metadata.ts';
import type { Json } from '../daemonset/template.ts';
import { agentName } from '../daemonset/names.ts';
import { type Reference, read } from './cluster-objects.ts';

export interface InstallRecord {
  readonly version: string;
  /** Only what was asked for; the rest are defaults. */
  readonly values: Json;
  /** Everything that was applied. */
  readonly objects: readonly Reference[];
}

const name = 'culvert-installation';

export function recordReference(namespace: string): Reference {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace } };
}

export function recordManifest(namespace: string, changes: Json, objects: readonly Reference[]): Manifest {
  return {
    ...recordReference(namespace),
    metadata: { name, namespace, labels: labels('control') },
    data: {
      version: versionString(),
      values: JSON.stringify(changes),
      objects: JSON.stringify(
        objects.map(({ apiVersion, kind, metadata }) => ({
          apiVersion,
          kind,
          metadata: {
            name: metadata.name,
            ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
          },
        })),
      ),
    },
  };
}

/** Null where nothing was installed by this program. */
export async function readRecord(api: Api, namespace: string): Promise<InstallRecord | null> {
  const found = await read(api, recordReference(namespace));
  if (found === null) return null;
  const { version = '', values = '{}', objects = '[]' } = found['data'] as Record<string, string>;
  return { version, values: JSON.parse(values) as Json, objects: JSON.parse(objects) as Reference[] };
}

/** Throws HELM_INSTALLATION where Helm keeps the objects: two who manage the same ones would undo each other's work. */
export async function refuseHelm(api: Api, namespace: string, instead: string): Promise<void> {
  const agent = await read(api, {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: agentName, namespace },
  });
  if (agent?.metadata.labels?.['app.kubernetes.io/managed-by'] !== 'Helm') return;
  throw new CulvertError('HELM_INSTALLATION', `what is in ${namespace} was installed by Helm`, {
    fix: instead,
  });
}
