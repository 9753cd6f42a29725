/**
 * What takes the pods of every node out of the mesh when it is uninstalled: a DaemonSet made from the agent's own, with the
 * same mounts and rights, whose pods run `culvert detach` once and then wait to be removed. A pod of it is ready when its
 * node is as it was before.
 */
import { basename, dirname } from 'node:path';
import type { Manifest } from '../installation.ts';
import { detachArguments } from '../names.ts';
import { labels, selectorLabels } from './metadata.ts';

export const cleanupName = 'culvert-cleanup';

interface VolumeMount {
  readonly name: string;
  readonly mountPath: string;
}

interface Volume {
  readonly name: string;
  readonly hostPath?: { readonly path: string };
}

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string }[];
  readonly volumeMounts: readonly VolumeMount[];
  readonly [member: string]: unknown;
}

interface PodSpec {
  readonly containers: readonly Container[];
  readonly volumes: readonly Volume[];
  readonly [member: string]: unknown;
}

/** Ends at SIGTERM; needs nothing. */
const waiting = 'process.on("SIGTERM",()=>process.exit(0));setInterval(()=>{},1e9)';

/** Volumes that only an agent that serves pods needs. The roots may be gone by now, and a pod would wait for them. */
const notNeeded = new Set(['root', 'token', 'cri', 'sysctl']);

/** @param agent the agent's DaemonSet as it is in the cluster */
export function cleanupDaemonSet(agent: Manifest): Manifest {
  const { template } = agent['spec'] as { template: { spec: PodSpec } };
  const [container] = template.spec.containers;
  if (container === undefined) throw new Error('the DaemonSet of the agent has no container');
  const needed = ({ name }: { readonly name: string }): boolean => !notNeeded.has(name);
  const { image, imagePullPolicy, securityContext, env } = container;
  const { volumes, volumeMounts, args } = withParentOfState(template.spec.volumes, container);
  const common = { image, imagePullPolicy };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: {
      name: cleanupName,
      ...(agent.metadata.namespace === undefined ? {} : { namespace: agent.metadata.namespace }),
      labels: labels('cleanup'),
    },
    spec: {
      selector: { matchLabels: selectorLabels('cleanup') },
      // All nodes at once: nothing that anybody uses is interrupted.
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '100%' } },
      template: {
        metadata: { labels: labels('cleanup') },
        spec: {
          ...template.spec,
          terminationGracePeriodSeconds: 1,
          // It refuses while the agent of its node runs, and is started again until that has gone.
          initContainers: [
            {
              ...common,
              name: 'detach',
              args: detachArguments(args),
              env,
              securityContext,
              volumeMounts: volumeMounts.filter(needed),
            },
          ],
          containers: [
            {
              ...common,
              name: 'wait',
              command: ['/usr/local/bin/node', '-e', waiting],
              resources: { requests: { cpu: '1m', memory: '32Mi' } },
              securityContext: {
                runAsUser: 65532,
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ['ALL'] },
              },
            },
          ],
          volumes: volumes.filter(needed),
        },
      },
    },
  };
}

const stateVolume = 'state';
const stateOption = '--state-dir=';
/** Where the cleanup has what the agent's own directory is in. */
const parentPath = '/host/state';

/**
 * With the directory around the agent's own one in its place: nobody can remove the directory that is mounted for him. Where
 * that is the root of the node the agent's own stays, and is left behind empty.
 */
function withParentOfState(volumes: readonly Volume[], { volumeMounts, args }: Container) {
  const path = volumes.find(({ name }) => name === stateVolume)?.hostPath?.path;
  if (path === undefined || dirname(path) === '/') return { volumes, volumeMounts, args };
  const hostPath = { path: dirname(path), type: 'Directory' };
  return {
    volumes: volumes.map(volume => (volume.name === stateVolume ? { name: stateVolume, hostPath } : volume)),
    volumeMounts: volumeMounts.map(mount =>
      mount.name === stateVolume ? { name: stateVolume, mountPath: parentPath } : mount,
    ),
    args: args.map(argument =>
      argument.startsWith(`${stateOption}${path}`)
        ? `${stateOption}${parentPath}/${basename(path)}${argument.slice(stateOption.length + path.length)}`
        : argument,
    ),
  };
}
