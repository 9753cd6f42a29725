/**
 * `culvert version`: of this program, and where a cluster can be reached, of what runs there, pod by pod. Exits 1 when
 * something in the cluster is of another version than this program.
 */
import { CulvertError, describeError } from '../base/errors.ts';
import { versionString } from '../base/version.ts';
import type { Api } from '../control/cluster/api.ts';
import { agentName, controlName } from '../daemonset/names.ts';
import { type ClusterChoice, apiOf } from './cluster-api.ts';
import { table } from './table.ts';

export interface VersionOptions extends ClusterChoice {
  readonly namespace: string;
  /** Of this program only. */
  readonly client?: boolean;
  readonly output: string;
}

export interface Versions {
  readonly client: { readonly version: string; readonly node: string };
  /** Null where no cluster was asked for, or none can be reached. */
  readonly cluster: ClusterVersions | null;
  /** Why there is no answer about a cluster. */
  readonly problem: string | null;
}

export interface ClusterVersions {
  readonly namespace: string;
  readonly pods: readonly PodVersion[];
}

export interface PodVersion {
  readonly component: string;
  readonly pod: string;
  /** Null before it is scheduled. */
  readonly node: string | null;
  /** Tag of the image that it runs, or the beginning of its digest where it has no tag. */
  readonly version: string;
  readonly ready: boolean;
}

export async function version(options: VersionOptions): Promise<void> {
  const versions = await versionsOf(options);
  process.stdout.write(
    options.output === 'json' ? `${JSON.stringify(versions, null, 2)}\n` : describe(versions),
  );
  // Whoever names a cluster wants to hear of it; without a name there may simply be none.
  const isNamed = options.kubeconfig !== undefined || options.context !== undefined;
  if (!isAlike(versions) || (versions.problem !== null && isNamed)) process.exitCode = 1;
}

export async function versionsOf(options: VersionOptions): Promise<Versions> {
  const client = { version: versionString(), node: process.versions.node };
  if (options.client === true) return { client, cluster: null, problem: null };
  try {
    const api = apiOf(options);
    return { client, cluster: await clusterVersions(api, options.namespace), problem: null };
  } catch (error) {
    if (!(error instanceof CulvertError)) throw error;
    return { client, cluster: null, problem: describeError(error) };
  }
}

/** Whether everything in the cluster is of the version of this program. */
export function isAlike({ client, cluster }: Versions): boolean {
  return cluster?.pods.every(pod => pod.version === client.version) ?? true;
}

interface Pod {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: { readonly nodeName?: string; readonly containers: readonly { readonly image: string }[] };
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

const components: ReadonlyMap<string, string> = new Map([
  ['control', controlName],
  ['agent', agentName],
]);

/** Control plane first, then the agents by node. */
export async function clusterVersions(api: Api, namespace: string): Promise<ClusterVersions> {
  const selector = encodeURIComponent(
    `app.kubernetes.io/name=culvert,app.kubernetes.io/component in (${[...components.keys()].join(',')})`,
  );
  const { items } = (await api.json({
    path: `/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`,
  })) as { items: Pod[] };
  const order = [...components.values()];
  const key = ({ component, node, pod }: PodVersion): string =>
    `${order.indexOf(component)} ${node ?? ''} ${pod}`;
  const pods = items.map(podVersion).sort((one, other) => (key(one) < key(other) ? -1 : 1));
  return { namespace, pods };
}

function podVersion({ metadata, spec, status }: Pod): PodVersion {
  const component = metadata.labels?.['app.kubernetes.io/component'] ?? '';
  return {
    component: components.get(component) ?? component,
    pod: metadata.name,
    node: spec.nodeName ?? null,
    version: imageVersion(spec.containers[0]?.image ?? ''),
    ready: status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true,
  };
}

/** `registry:5000/culvert:1.2@sha256:…` is 1.2. */
export function imageVersion(image: string): string {
  const [name = '', digest] = image.split('@');
  const tag = /:([^/:]+)$/.exec(name)?.[1];
  if (tag !== undefined) return tag;
  return digest === undefined ? 'latest' : digest.slice(0, 'sha256:'.length + 12);
}

function describe({ client, cluster, problem }: Versions): string {
  const own = `culvert ${client.version} (Node ${client.node})\n`;
  if (problem !== null) return `${own}\ncluster: ${problem}\n`;
  if (cluster === null) return own;
  if (cluster.pods.length === 0) return `${own}\ncluster: not installed in ${cluster.namespace}\n`;
  const rows = cluster.pods.map(({ component, node, pod, version, ready }) => [
    component,
    node ?? '-',
    version,
    ready ? 'yes' : 'NO',
    pod,
  ]);
  return `${own}\n${table(['COMPONENT', 'NODE', 'VERSION', 'READY', 'POD'], rows)}`;
}
