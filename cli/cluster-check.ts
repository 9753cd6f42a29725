/**
 * `culvert check --pre`: is this cluster fit for an installation, and may this user make one? Looks only at what the API
 * server knows; whether a kernel has every feature its agent says after the installation.
 */
import { CulvertError } from '../base/errors.ts';
import type { Api } from '../control/cluster/api.ts';
import { definitions, installation, namespaceManifest } from '../daemonset/installation.ts';
import { agentName } from '../daemonset/names.ts';
import { defaultValues } from '../daemonset/values.ts';
import { type ClusterChoice, apiOf } from './cluster-api.ts';
import { type CheckResult, showChecks } from './check-result.ts';
import { collectionOf, read } from './cluster-objects.ts';

export interface ClusterCheckOptions extends ClusterChoice {
  readonly namespace: string;
  readonly output: string;
}

/** Oldest version whose API server takes every field of the manifests. */
const oldest = { major: 1, minor: 30 };

export async function checkCluster(options: ClusterCheckOptions): Promise<void> {
  const api = apiOf(options);
  showChecks(await clusterChecks(api, options.namespace), options.output);
}

export async function clusterChecks(api: Api, namespace: string): Promise<CheckResult[]> {
  const version = await serverVersion(api);
  // Without a server there is nothing more to ask.
  if (version.state === 'missing') return [version];
  return [version, await permissions(api, namespace), ...(await nodes(api)), await present(api, namespace)];
}

async function serverVersion(api: Api): Promise<CheckResult> {
  const name = 'API server';
  try {
    const { major, minor, gitVersion } = (await api.json({ path: '/version' })) as Record<string, string>;
    const [one, two] = [Number.parseInt(major ?? '', 10), Number.parseInt(minor ?? '', 10)];
    if (one > oldest.major || (one === oldest.major && two >= oldest.minor))
      return { name, state: 'ok', found: `Kubernetes ${gitVersion}`, fix: null };
    return {
      name,
      state: 'missing',
      found: `Kubernetes ${gitVersion}`,
      fix: `needs ${oldest.major}.${oldest.minor} or newer`,
    };
  } catch (error) {
    if (!(error instanceof CulvertError)) throw error;
    return { name, state: 'missing', found: error.message, fix: error.fix };
  }
}

/** Everything that an install creates, asked for one by one; the answer is about this user. */
async function permissions(api: Api, namespace: string): Promise<CheckResult> {
  const name = 'permissions';
  const objects = [
    namespaceManifest(namespace),
    ...definitions().values(),
    ...installation(namespace, defaultValues),
  ];
  const kinds = new Map(objects.map(object => [collectionOf(object), object]));
  const refused: string[] = [];
  for (const [collection, object] of kinds) {
    const [, group = ''] = /^\/apis\/([^/]+)\//.exec(collection) ?? [];
    for (const verb of ['create', 'patch', 'delete']) {
      const review = (await api.json({
        method: 'POST',
        path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        body: {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SelfSubjectAccessReview',
          spec: {
            resourceAttributes: {
              verb,
              group,
              resource: collection.split('/').at(-1),
              ...(object.metadata.namespace === undefined ? {} : { namespace }),
            },
          },
        },
      })) as { status: { allowed: boolean } };
      if (!review.status.allowed) refused.push(`${verb} ${collection.split('/').at(-1) ?? ''}`);
    }
  }
  if (refused.length === 0)
    return {
      name,
      state: 'ok',
      found: `may create what an installation has (${kinds.size} kinds)`,
      fix: null,
    };
  return {
    name,
    state: 'missing',
    found: `may not ${refused.join(', ')}`,
    fix: 'installing takes a cluster administrator',
  };
}

interface Node {
  readonly metadata: { readonly name: string };
  readonly status: {
    readonly nodeInfo: {
      readonly kernelVersion: string;
      readonly containerRuntimeVersion: string;
      readonly operatingSystem: string;
      readonly architecture: string;
    };
  };
}

async function nodes(api: Api): Promise<CheckResult[]> {
  const { items } = (await api.json({ path: '/api/v1/nodes' })) as { items: Node[] };
  const linux = items.filter(({ status }) => status.nodeInfo.operatingSystem === 'linux');
  return [
    grouped(
      'kernels',
      linux,
      ({ kernelVersion }) => kernelVersion,
      ({ kernelVersion }) => {
        const [major = 0, minor = 0] = kernelVersion.split('.').map(part => Number.parseInt(part, 10));
        return major > 5 || (major === 5 && minor >= 15) ? null : 'needs Linux 5.15 or newer';
      },
    ),
    grouped(
      'container runtimes',
      linux,
      ({ containerRuntimeVersion }) => containerRuntimeVersion,
      info => {
        if (info.containerRuntimeVersion.startsWith('containerd://')) return null;
        return 'set node.criSocket to where its socket is';
      },
      'warning',
    ),
    grouped(
      'processors',
      linux,
      ({ architecture }) => architecture,
      ({ architecture }) =>
        architecture === 'amd64' || architecture === 'arm64' ? null : 'there is no image for it',
    ),
  ];
}

type NodeInfo = Node['status']['nodeInfo'];

/** One line about all nodes: what they have, and which of them is not as it should be. */
function grouped(
  name: string,
  nodes: readonly Node[],
  show: (info: NodeInfo) => string,
  problem: (info: NodeInfo) => string | null,
  severity: 'missing' | 'warning' = 'missing',
): CheckResult {
  const counts = new Map<string, number>();
  for (const { status } of nodes) {
    const shown = show(status.nodeInfo);
    counts.set(shown, (counts.get(shown) ?? 0) + 1);
  }
  const found = [...counts].map(([what, count]) => `${what} (${count} nodes)`).join(', ');
  const bad = nodes.filter(({ status }) => problem(status.nodeInfo) !== null);
  const [first] = bad;
  if (first === undefined)
    return { name, state: 'ok', found: found === '' ? 'no Linux node' : found, fix: null };
  const names = bad.map(({ metadata }) => metadata.name);
  return {
    name,
    state: severity,
    found,
    fix: `${names.join(', ')}: ${problem(first.status.nodeInfo) ?? ''}`,
  };
}

async function present(api: Api, namespace: string): Promise<CheckResult> {
  const agent = await read(api, {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: agentName, namespace },
  });
  if (agent === null) return { name: 'installation', state: 'ok', found: `none in ${namespace}`, fix: null };
  const byHelm = agent.metadata.labels?.['app.kubernetes.io/managed-by'] === 'Helm';
  return {
    name: 'installation',
    state: 'warning',
    found: `there is one in ${namespace}${byHelm ? ', of Helm' : ''}`,
    fix: byHelm ? 'use `helm upgrade`' : 'use `culvert upgrade`',
  };
}
