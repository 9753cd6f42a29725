/**
 * `culvert status --cluster`: what runs, which pods each node has enrolled, which should be and are not, and which objects
 * the control plane did not take as they are. Exits 1 when something is not as it should be.
 */
import type { Api } from '../control/cluster/api.ts';
import { definitions } from '../daemonset/installation.ts';
import { dataplaneMode, firstMark, redirection, sidecarStatus } from '../model/kinds/marks.ts';
import { meshConfigSpec } from '../model/kinds/mesh-config.ts';
import { type ClusterChoice, apiOf } from './cluster-api.ts';
import { listed } from './cluster-objects.ts';
import { rolloutOf, type Rollout } from './cluster-rollout.ts';
import { table } from './table.ts';

export interface ClusterStatusOptions extends ClusterChoice {
  readonly namespace: string;
  readonly output: string;
}

export interface ClusterStatus {
  readonly components: readonly Rollout[];
  readonly nodes: readonly NodeStatus[];
  /** `namespace/name` of pods that ask to be in the mesh, run, and are not in it. */
  readonly notEnrolled: readonly string[];
  /** Conditions of our kinds that are not true. */
  readonly problems: readonly {
    readonly object: string;
    readonly condition: string;
    readonly message: string;
  }[];
}

export interface NodeStatus {
  readonly name: string;
  readonly enrolled: number;
  readonly notEnrolled: number;
}

export async function clusterStatus(options: ClusterStatusOptions): Promise<void> {
  const status = await statusOf(apiOf(options), options.namespace);
  process.stdout.write(options.output === 'json' ? `${JSON.stringify(status, null, 2)}\n` : describe(status));
  const { components, notEnrolled, problems } = status;
  if (!components.every(({ done }) => done) || notEnrolled.length > 0 || problems.length > 0)
    process.exitCode = 1;
}

interface Marked {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
}

interface Pod extends Marked {
  readonly spec: { readonly nodeName?: string; readonly hostNetwork?: boolean };
  readonly status: { readonly phase?: string };
}

export async function statusOf(api: Api, namespace: string): Promise<ClusterStatus> {
  const namespaces = await listed<Marked>(api, '/api/v1/namespaces');
  const modes = new Map(namespaces.map(it => [it.metadata.name, modeOf(it)]));
  const excluded = await excludedNamespaces(api);
  const nodes = new Map<string, { enrolled: number; notEnrolled: number }>();
  const notEnrolled: string[] = [];
  for (const pod of await listed<Pod>(api, '/api/v1/pods')) {
    const home = pod.metadata.namespace ?? '';
    const node = pod.spec.nodeName;
    if (node === undefined) continue;
    let counts = nodes.get(node);
    if (counts === undefined) nodes.set(node, (counts = { enrolled: 0, notEnrolled: 0 }));
    if (firstMark(pod.metadata.annotations ?? {}, redirection)?.value === 'enabled') counts.enrolled += 1;
    else if ((modeOf(pod) ?? modes.get(home)) === 'ambient' && !excluded.has(home) && canBeEnrolled(pod)) {
      counts.notEnrolled += 1;
      notEnrolled.push(`${home}/${pod.metadata.name}`);
    }
  }
  return {
    components: [await rolloutOf(api, namespace, 'Deployment'), await rolloutOf(api, namespace, 'DaemonSet')],
    nodes: [...nodes]
      .map(([name, counts]) => ({ name, ...counts }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    notEnrolled,
    problems: await problems(api),
  };
}

function modeOf({ metadata }: Marked): string | null {
  return firstMark(metadata.labels ?? {}, dataplaneMode)?.value ?? null;
}

/** What has its own network, runs, and has nobody else's proxy in it. */
function canBeEnrolled({ metadata, spec, status }: Pod): boolean {
  const other = Object.hasOwn(metadata.annotations ?? {}, sidecarStatus);
  return (
    spec.hostNetwork !== true &&
    status.phase === 'Running' &&
    metadata.deletionTimestamp === undefined &&
    !other
  );
}

async function excludedNamespaces(api: Api): Promise<ReadonlySet<string>> {
  const [config] = await listed<{ spec?: { excludedNamespaces?: string[] } }>(
    api,
    '/apis/culvert.dev/v1/meshconfigs',
  );
  const standard = meshConfigSpec.parse({}).excludedNamespaces;
  return new Set(config?.spec?.excludedNamespaces ?? standard);
}

interface Conditioned extends Marked {
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
  };
}

async function problems(api: Api): Promise<ClusterStatus['problems'][number][]> {
  const found: ClusterStatus['problems'][number][] = [];
  for (const definition of definitions().values()) {
    const { group, names, versions } = definition['spec'] as {
      group: string;
      names: { kind: string; plural: string };
      versions: { name: string }[];
    };
    const path = `/apis/${group}/${versions[0]?.name ?? 'v1'}/${names.plural}`;
    for (const { metadata, status } of await listed<Conditioned>(api, path)) {
      const where = metadata.namespace === undefined ? '' : `${metadata.namespace}/`;
      for (const { type, status: is, message = '' } of status?.conditions ?? [])
        if (is === 'False')
          found.push({ object: `${names.kind} ${where}${metadata.name}`, condition: type, message });
    }
  }
  return found;
}

function describe({ components, nodes, notEnrolled, problems }: ClusterStatus): string {
  const parts = [
    table(
      ['COMPONENT', 'READY', ''],
      components.map(({ component, ready, wanted, done }) => [
        component,
        `${ready}/${wanted}`,
        done ? '' : wanted === 0 ? 'NOT INSTALLED' : 'NOT READY',
      ]),
    ),
    table(
      ['NODE', 'ENROLLED', 'NOT ENROLLED'],
      nodes.map(it => [it.name, String(it.enrolled), String(it.notEnrolled)]),
    ),
  ];
  if (notEnrolled.length > 0)
    parts.push(`asked to be in the mesh and not in it: ${notEnrolled.join(', ')}\n`);
  if (problems.length > 0)
    parts.push(
      table(
        ['OBJECT', 'IS NOT', 'WHY'],
        problems.map(it => [it.object, it.condition, it.message]),
      ),
    );
  return parts.join('\n');
}
