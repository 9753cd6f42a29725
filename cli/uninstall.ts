/**
 * `culvert uninstall`: takes the pods of every node out of the mesh, then removes what an installation consists of.
 *
 * Stopping agents is not enough: what they left in the kernel keeps every pod in its declared mode, which for most means
 * that connections are refused. So each node is cleaned by a pod of its own before the objects go. Every step can be
 * repeated; one that was done already is passed over.
 */
import { CulvertError } from '../base/errors.ts';
import type { Api } from '../control/cluster/api.ts';
import { definitions, installation, namespaceManifest } from '../daemonset/installation.ts';
import { cleanupDaemonSet, cleanupName } from '../daemonset/manifests/cleanup.ts';
import { agentName, controlName, rootConfigMap } from '../daemonset/names.ts';
import { defaultValues } from '../daemonset/values.ts';
import { redirection } from '../model/kinds/marks.ts';
import { type ClusterChoice, apiOf } from './cluster-api.ts';
import { type Reference, apply, inOrder, isOurs, isServed, read, remove } from './cluster-objects.ts';
import { timeoutMs, toStandardError, waitFor, type Patience, type Progress } from './cluster-wait.ts';
import { readRecord, recordReference, refuseHelm } from './install-record.ts';
import { table } from './table.ts';
import { removeWaypoints } from './uninstall-waypoints.ts';

export interface UninstallOptions extends ClusterChoice {
  readonly namespace: string;
  /** Clean the nodes and remove nothing else; what Helm runs before it removes the rest. */
  readonly nodesOnly?: boolean;
  /** Also the definitions of our kinds, and with them every policy. */
  readonly crds?: boolean;
  readonly keepNamespace?: boolean;
  readonly timeout: string;
  readonly output: string;
}

export async function uninstall(options: UninstallOptions): Promise<void> {
  const api = apiOf(options);
  const patience = { timeoutMs: timeoutMs(options.timeout), show: toStandardError };
  const { namespace } = options;
  if (options.nodesOnly !== true)
    await refuseHelm(api, namespace, 'use `helm uninstall`, which cleans the nodes as well');
  const nodes = await cleanNodes(api, namespace, patience);
  const removed = options.nodesOnly === true ? [] : await removeAll(api, options, patience);
  if (options.output === 'json') {
    process.stdout.write(`${JSON.stringify({ nodes, removed }, null, 2)}\n`);
    return;
  }
  const rows = [['cleaned', `${nodes} nodes`], ...removed.map(object => ['removed', object])];
  process.stdout.write(table(['RESULT', 'OBJECT'], rows));
}

/**
 * Takes the pods of every node out of the mesh, and the agents with them.
 * @returns how many nodes there were
 */
export async function cleanNodes(api: Api, namespace: string, patience: Patience): Promise<number> {
  const agent = daemonSet(agentName, namespace);
  const cleanup = daemonSet(cleanupName, namespace);
  const running = await read(api, agent);
  // Made before the agents go: whoever is stopped here finds it when he comes again.
  if (running !== null) await apply(api, cleanupDaemonSet(running), false);
  else if ((await read(api, cleanup)) === null) return 0;
  await remove(api, agent);
  await waitFor(() => agentsGone(api, namespace), patience);
  let nodes = 0;
  await waitFor(async () => {
    const { done, state, wanted } = await cleaned(api, cleanup);
    nodes = wanted;
    return { done, state };
  }, patience);
  await remove(api, cleanup);
  await waitFor(() => gone(api, cleanup), patience);
  return nodes;
}

function daemonSet(name: string, namespace: string): Reference {
  return { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name, namespace } };
}

async function agentsGone(api: Api, namespace: string): Promise<Progress> {
  const selector = encodeURIComponent('app.kubernetes.io/name=culvert,app.kubernetes.io/component=agent');
  const { items } = (await api.json({
    path: `/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`,
  })) as { items: unknown[] };
  return {
    done: items.length === 0,
    state: items.length === 0 ? 'no agent runs any more' : `${items.length} agents are stopping`,
  };
}

async function cleaned(api: Api, cleanup: Reference): Promise<Progress & { readonly wanted: number }> {
  const found = await read(api, cleanup);
  if (found === null)
    throw new CulvertError('CLUSTER_CHANGED', `${cleanupName} was removed by somebody else`, {
      fix: 'nodes may not be clean: repeat the command',
    });
  const { metadata, status = {} } = found as unknown as {
    metadata: { generation?: number };
    status?: Record<string, number>;
  };
  const wanted = status.desiredNumberScheduled ?? 0;
  const ready = status.numberReady ?? 0;
  const seen = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  return { done: seen && ready >= wanted, state: `${ready} of ${wanted} nodes are as they were`, wanted };
}

async function gone(api: Api, object: Reference): Promise<Progress> {
  const found = await read(api, object);
  const name = `${object.kind} ${object.metadata.name}`;
  return { done: found === null, state: found === null ? `${name} is gone` : `${name} is going` };
}

/** Names of what was removed, in that order. */
export async function removeAll(api: Api, options: UninstallOptions, patience: Patience): Promise<string[]> {
  const { namespace } = options;
  const record = await readRecord(api, namespace);
  // Without a record, as after kubectl apply -k: everything that an installation may have.
  const known: readonly Reference[] = record?.objects ?? installation(namespace, everything);
  const ownWork = [...made(namespace), recordReference(namespace)];
  const removed: string[] = [];
  const drop = async (object: Reference): Promise<void> => {
    if (!(await isServed(api, object.apiVersion)) || !(await remove(api, object))) return;
    const name = `${object.kind} ${object.metadata.name}`;
    patience.show(`removed ${name}`);
    removed.push(name);
  };
  for (const object of inOrder([...known, ...ownWork]).toReversed()) await drop(object);
  removed.push(...(await removeWaypoints(api)), ...(await forgetPods(api)));
  if (options.crds === true) for (const definition of definitions().values()) await drop(definition);
  const home = await read(api, namespaceManifest(namespace));
  if (options.keepNamespace !== true && home !== null && isOurs(home)) {
    await drop(home);
    await waitFor(() => gone(api, home), patience);
  }
  return removed;
}

const everything = {
  ...defaultValues,
  mesh: { trustDomain: 'cluster.local' },
  monitoring: { ...defaultValues.monitoring, podMonitor: true, serviceMonitor: true, dashboards: true },
};

/** What the control plane makes by itself. */
function made(namespace: string): Reference[] {
  const object = (apiVersion: string, kind: string, name: string): Reference => ({
    apiVersion,
    kind,
    metadata: { name, namespace },
  });
  return [
    object('v1', 'ConfigMap', rootConfigMap),
    object('v1', 'Secret', 'culvert-ca'),
    object('coordination.k8s.io/v1', 'Lease', controlName),
  ];
}

interface AnnotatedPod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

/** Takes our annotation off the pods: a mesh that comes later must not believe it. */
async function forgetPods(api: Api): Promise<string[]> {
  const annotation = redirection[0];
  const forgotten: string[] = [];
  for (let next: string | undefined = ''; next !== undefined;) {
    const page = (await api.json({
      path: `/api/v1/pods?limit=500${next === '' ? '' : `&continue=${encodeURIComponent(next)}`}`,
    })) as { items: AnnotatedPod[]; metadata: { continue?: string } };
    for (const { metadata } of page.items) {
      if (metadata.annotations?.[annotation] === undefined) continue;
      await api.json({
        method: 'PATCH',
        path: `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`,
        contentType: 'application/merge-patch+json',
        body: { metadata: { annotations: { [annotation]: null } } },
      });
      forgotten.push(`annotation of ${metadata.namespace}/${metadata.name}`);
    }
    next = page.metadata.continue === '' ? undefined : page.metadata.continue;
  }
  return forgotten;
}
