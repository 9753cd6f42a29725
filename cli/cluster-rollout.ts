/** How far the pods of an installation are, and why those that are not ready aren't. */
import type { Api } from '../control/cluster/api.ts';
import { agentName, controlName } from '../daemonset/names.ts';
import type { Progress } from './cluster-wait.ts';
import { read } from './cluster-objects.ts';

/** One component as it is now. */
export interface Rollout {
  readonly component: string;
  readonly ready: number;
  readonly wanted: number;
  /** All pods are of the newest version, and ready. */
  readonly done: boolean;
}

interface Counted {
  readonly metadata: { readonly generation?: number };
  readonly spec: { readonly replicas?: number };
  readonly status?: Readonly<Record<string, number>>;
}

export async function rolloutOf(
  api: Api,
  namespace: string,
  kind: 'DaemonSet' | 'Deployment',
): Promise<Rollout> {
  const component = kind === 'DaemonSet' ? agentName : controlName;
  const found = await read(api, { apiVersion: 'apps/v1', kind, metadata: { name: component, namespace } });
  if (found === null) return { component, ready: 0, wanted: 0, done: false };
  const { metadata, spec, status = {} } = found as unknown as Counted;
  const isDaemonSet = kind === 'DaemonSet';
  const wanted = (isDaemonSet ? status.desiredNumberScheduled : spec.replicas) ?? 0;
  const ready = (isDaemonSet ? status.numberReady : status.readyReplicas) ?? 0;
  const updated = (isDaemonSet ? status.updatedNumberScheduled : status.updatedReplicas) ?? 0;
  const seen = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  // Those of the version before count until they are gone.
  const extra = isDaemonSet ? 0 : (status.replicas ?? 0) - wanted;
  return { component, ready, wanted, done: seen && updated >= wanted && ready >= wanted && extra <= 0 };
}

/** Both components, as something to wait for. */
export async function rolloutProgress(api: Api, namespace: string): Promise<Progress> {
  const rollouts = [
    await rolloutOf(api, namespace, 'Deployment'),
    await rolloutOf(api, namespace, 'DaemonSet'),
  ];
  const parts = rollouts.map(({ component, ready, wanted }) => `${component} ${ready} of ${wanted} ready`);
  const done = rollouts.every(rollout => rollout.done);
  const problems = done ? [] : await podProblems(api, namespace);
  return { done, state: [...parts, ...problems].join('; ') };
}

interface Pod {
  readonly metadata: { readonly name: string };
  readonly status: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
    readonly containerStatuses?: readonly {
      readonly state: {
        readonly waiting?: { readonly reason: string; readonly message?: string };
        readonly terminated?: { readonly exitCode: number };
      };
    }[];
  };
}

/** What keeps pods from starting, in the words of the cluster. Waiting to be created is no problem. */
async function podProblems(api: Api, namespace: string): Promise<string[]> {
  const selector = encodeURIComponent('app.kubernetes.io/name=culvert');
  const { items } = (await api.json({
    path: `/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`,
  })) as { items: Pod[] };
  return items.flatMap(({ metadata: { name }, status }) => {
    const unscheduled = status.conditions?.find(it => it.type === 'PodScheduled' && it.status === 'False');
    if (unscheduled !== undefined) return [`${name}: not scheduled, ${unscheduled.message ?? ''}`];
    return (status.containerStatuses ?? []).flatMap(({ state: { waiting, terminated } }) => {
      if (terminated !== undefined) return [`${name}: ended with ${terminated.exitCode}`];
      if (waiting === undefined || starting.has(waiting.reason)) return [];
      return [`${name}: ${waiting.reason}`];
    });
  });
}

const starting = new Set(['ContainerCreating', 'PodInitializing']);
