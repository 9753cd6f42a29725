/**
 * The agent's DaemonSet: one pod on every node, in the node's network, with as little of a privileged container as the
 * work needs. docs/permissions.md says for each capability and mount what it is for.
 */
import { agentArguments, agentName, paths, rootConfigMap, tokenAudience } from '../names.ts';
import { type Template, each, folderOf, text, value } from '../template.ts';
import { cacheEnvironment, cacheMount, cacheVolume, fromField, image, probes } from './container.ts';
import { labels, metadata, selectorLabels } from './metadata.ts';

export function agentManifests(): readonly Template[] {
  return [serviceAccount, daemonSet];
}

/** It has no rights on the API server, so that its pods need no token for it. */
const serviceAccount: Template = {
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: metadata(agentName, 'agent'),
  automountServiceAccountToken: false,
};

/** What the kernel asks for; see docs/permissions.md. */
const agentCapabilities = ['SYS_ADMIN', 'NET_ADMIN', 'BPF', 'PERFMON', 'SYS_PTRACE'] as const;

const container: Template = {
  name: 'agent',
  image,
  imagePullPolicy: value('image.pullPolicy'),
  // The keeper starts the agent, and again after a crash: connections wait meanwhile in the sockets that it has.
  command: ['/usr/local/bin/culvert-keeper', '/usr/local/bin/culvert'],
  args: agentArguments,
  env: [
    fromField('NODE_NAME', 'spec.nodeName'),
    fromField('POD_NAMESPACE', 'metadata.namespace'),
    fromField('POD_IP', 'status.podIP'),
    cacheEnvironment,
  ],
  // No ports: on the node's network they would be taken as the node's, and a second pod could not be scheduled beside the
  // first while it takes over.
  //
  // Loopback of the node, where kubelets are. Until this pod's agent serves, another one answers there.
  ...probes('127.0.0.1'),
  startupProbe: {
    exec: {
      command: ['/usr/local/bin/culvert', 'serves', text`--state-dir=${value('node.stateDir')}/agent`],
    },
    periodSeconds: 1,
    timeoutSeconds: 10,
    failureThreshold: 120,
  },
  resources: value('agent.resources'),
  securityContext: {
    runAsUser: 0,
    runAsGroup: 0,
    privileged: false,
    readOnlyRootFilesystem: true,
    // What the API server demands of whoever asks for SYS_ADMIN.
    allowPrivilegeEscalation: true,
    capabilities: { drop: ['ALL'], add: [...agentCapabilities, each('agent.extraCapabilities')] },
    seccompProfile: value('agent.seccompProfile'),
    appArmorProfile: { type: 'Unconfined' },
    seLinuxOptions: value('agent.seLinuxOptions'),
  },
  volumeMounts: [
    { name: 'state', mountPath: value('node.stateDir') },
    { name: 'bpffs', mountPath: value('node.bpffs'), mountPropagation: 'HostToContainer' },
    { name: 'cgroup', mountPath: paths.cgroupRoot, mountPropagation: 'HostToContainer' },
    // Namespaces of new pods appear there as mounts.
    { name: 'netns', mountPath: value('node.netnsDir'), mountPropagation: 'HostToContainer' },
    // The directory, not the socket, which is another one after a restart of the runtime. What the runtime unmounts below
    // it must go here as well, or the files of dead containers would stay.
    {
      name: 'cri',
      mountPath: folderOf('node.criSocket'),
      mountPropagation: 'HostToContainer',
    },
    { name: 'cni-bin', mountPath: paths.cniBinDir },
    { name: 'cni-conf', mountPath: paths.cniConfDir },
    // The runtime makes /proc/sys read-only; parameters of pods' networks are set through this.
    { name: 'sysctl', mountPath: paths.sysctl },
    { name: 'token', mountPath: paths.token, readOnly: true },
    { name: 'root', mountPath: paths.root, readOnly: true },
    cacheMount,
  ],
};

const daemonSet: Template = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: metadata(agentName, 'agent'),
  spec: {
    selector: { matchLabels: selectorLabels('agent') },
    updateStrategy: value('agent.updateStrategy'),
    template: {
      metadata: { labels: labels('agent'), annotations: value('agent.annotations') },
      spec: {
        serviceAccountName: agentName,
        automountServiceAccountToken: false,
        imagePullSecrets: value('image.pullSecrets'),
        hostNetwork: true,
        // To see whose processes are captured, and to recognise the kubelet.
        hostPID: true,
        dnsPolicy: 'ClusterFirstWithHostNet',
        priorityClassName: value('agent.priorityClassName'),
        nodeSelector: value('agent.nodeSelector'),
        affinity: value('agent.affinity'),
        tolerations: value('agent.tolerations'),
        terminationGracePeriodSeconds: value('agent.terminationGracePeriodSeconds'),
        containers: [container],
        volumes: [
          hostDirectory('state', value('node.stateDir')),
          { name: 'bpffs', hostPath: { path: value('node.bpffs'), type: 'Directory' } },
          { name: 'cgroup', hostPath: { path: value('node.cgroupRoot'), type: 'Directory' } },
          hostDirectory('netns', value('node.netnsDir')),
          hostDirectory('cri', folderOf('node.criSocket')),
          hostDirectory('cni-bin', value('node.cniBinDir')),
          hostDirectory('cni-conf', value('node.cniConfDir')),
          { name: 'sysctl', hostPath: { path: '/proc/sys/net', type: 'Directory' } },
          {
            name: 'token',
            projected: {
              sources: [
                {
                  serviceAccountToken: { audience: tokenAudience, expirationSeconds: 3600, path: 'token' },
                },
              ],
            },
          },
          // The control plane makes it; until then the pod waits.
          { name: 'root', configMap: { name: rootConfigMap } },
          cacheVolume,
        ],
      },
    },
  },
};

function hostDirectory(name: string, path: Template): Template {
  return { name, hostPath: { path, type: 'DirectoryOrCreate' } };
}
