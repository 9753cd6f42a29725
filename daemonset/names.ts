/**
 * Names, ports and paths that manifests, documents and `culvert install` share, and the command lines of the containers.
 * What a user may choose is in values.ts.
 */
import { type Template, each, text, value } from './template.ts';

export const agentName = 'culvert-agent';
export const controlName = 'culvert-control';
export const defaultNamespace = 'culvert-system';

export const ports = {
  /** Of the control plane: configuration and certificates, gRPC over TLS. */
  control: 15012,
  controlMetrics: 15014,
  agentMetrics: 15020,
  ready: 15021,
} as const;

/** Paths in the containers. */
export const paths = {
  cgroupRoot: '/host/cgroup',
  cniBinDir: '/host/opt/cni/bin',
  cniConfDir: '/host/etc/cni/net.d',
  /** Where native/src/netns.cc looks for it. */
  sysctl: '/host/proc/sys/net',
  token: '/var/run/secrets/culvert',
  root: '/var/run/secrets/culvert-root',
  cache: '/var/cache/culvert',
} as const;

/** The audience of the token by which an agent shows the control plane who and where it is. */
export const tokenAudience = 'culvert-ca';

/** ConfigMap with the roots that everybody trusts, key `root.pem`; the control plane writes it. */
export const rootConfigMap = 'culvert-root';

/** Options by which the agent, and what cleans up after it, find their things on the node. */
const onNode: readonly Template[] = [
  '--node=$(NODE_NAME)',
  text`--bpffs=${value('node.bpffs')}`,
  text`--state-dir=${value('node.stateDir')}/agent`,
  `--cni-bin-dir=${paths.cniBinDir}`,
  `--cni-conf-dir=${paths.cniConfDir}`,
];

export const agentArguments: readonly Template[] = [
  'run',
  `--control=${controlName}.$(POD_NAMESPACE).svc:${ports.control}`,
  ...onNode,
  text`--cni-node-conf-dir=${value('node.cniConfDir')}`,
  `--cgroup-root=${paths.cgroupRoot}`,
  text`--cri-socket=${value('node.criSocket')}`,
  text`--mesh-state=${value('agent.meshState')}`,
  '--metrics-address=$(POD_IP)',
  '--access-log=-',
  text`--log-level=${value('logLevel')}`,
  each('agent.extraArgs'),
];

export const controlArguments: readonly Template[] = [
  'control',
  '--namespace=$(POD_NAMESPACE)',
  text`--waypoint-image=${value('image.repository')}:${value('image.tag')}`,
  text`--waypoint-pull-policy=${value('image.pullPolicy')}`,
  text`--log-level=${value('logLevel')}`,
  each('control.extraArgs'),
];

/** What is left of a command line when the pods of the node are to leave the mesh; see manifests/cleanup.ts. */
export function detachArguments(agentArgs: readonly string[]): string[] {
  const needed = ['--node=', '--bpffs=', '--state-dir=', '--cni-bin-dir=', '--cni-conf-dir='];
  return ['detach', ...agentArgs.filter(argument => needed.some(option => argument.startsWith(option)))];
}
