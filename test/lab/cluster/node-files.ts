/**
 * The configuration files of a node's programs. Whatever is at its default is left out; whatever differs says why.
 */
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Addresses } from '../addresses.ts';
import { clusterDomain, dnsServiceAddress, podRange } from './addresses.ts';
import { pauseTag } from './images.ts';

export interface NodeFileOptions {
  readonly name: string;
  readonly pki: string;
  readonly podSubnets: Addresses;
  /** Program that containerd starts containers with, or null for runc itself. */
  readonly runc: string | null;
  /** Whether cgroups can limit pods. */
  readonly limits: boolean;
  readonly proxyMode: 'nftables' | 'iptables';
}

/** Where container runtimes look for CNI plugins and their configuration. */
export const cniPlugins = '/opt/cni/bin';
export const cniConfiguration = '/etc/cni/net.d/10-lab.conflist';
/** Where Debian's package has them. */
export const packagedCniPlugins = '/usr/lib/cni';
const containerdSocket = '/run/containerd/containerd.sock';
/** Where a kubelet finds pods that no API server has told it of. */
export const staticPods = '/var/lib/kubelet/static';
export const resolverFile = '/run/resolv.conf';

/** Each pod gets a cable of its own to the node, which routes: what most networks of real clusters do. */
export function cniFile({ podSubnets: { v4, v6 } }: NodeFileOptions): string {
  const ranges = [[{ subnet: v4 }], ...(v6 === null ? [] : [[{ subnet: v6 }]])];
  const routes = [{ dst: '0.0.0.0/0' }, ...(v6 === null ? [] : [{ dst: '::/0' }])];
  // On /run: a crash of the node must not leave addresses taken.
  const ipam = { type: 'host-local', dataDir: '/run/cni-addresses', ranges, routes };
  const plugins = [
    { type: 'ptp', ipMasq: false, ipam },
    { type: 'portmap', capabilities: { portMappings: true } },
  ];
  return JSON.stringify({ cniVersion: '0.4.0', name: 'lab', plugins }, null, 2);
}

export function containerdFile({ runc }: NodeFileOptions): string {
  const runtime = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc';
  const others = ['btrfs', 'zfs', 'aufs', 'devmapper'].map(name => `"io.containerd.snapshotter.v1.${name}"`);
  return [
    'version = 2',
    // Going below our own value takes a capability that root in a container may lack.
    'oom_score = 0',
    `disabled_plugins = [${others.join(', ')}]`,
    '[plugins."io.containerd.grpc.v1.cri"]',
    `  sandbox_image = "${pauseTag}"`,
    '  restrict_oom_score_adj = true',
    '  [plugins."io.containerd.grpc.v1.cri".cni]',
    `    bin_dir = "${cniPlugins}"`,
    `    conf_dir = "/etc/cni/net.d"`,
    `  ${runtime}]`,
    '    runtime_type = "io.containerd.runc.v2"',
    `  ${runtime}.options]`,
    '    SystemdCgroup = false',
    ...(runc === null ? [] : [`    BinaryName = "${runc}"`]),
    '',
  ].join('\n');
}

export function kubeletFile({ name, pki, limits }: NodeFileOptions): string {
  const nothing = '0%';
  return stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(pki, 'ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: join(pki, `kubelet-${name}.crt`),
    tlsPrivateKeyFile: join(pki, `kubelet-${name}.key`),
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    clusterDNS: [dnsServiceAddress],
    clusterDomain,
    resolvConf: resolverFile,
    cgroupDriver: 'cgroupfs',
    failCgroupV1: false,
    failSwapOn: false,
    cgroupsPerQOS: limits,
    enforceNodeAllocatable: [],
    oomScoreAdj: 0,
    // kube-proxy has what it needs.
    makeIPTablesUtilChains: false,
    // The machine's disk and memory are not this node's: it shall neither evict pods nor delete images.
    evictionHard: {
      'memory.available': nothing,
      'nodefs.available': nothing,
      'nodefs.inodesFree': nothing,
      'imagefs.available': nothing,
      'imagefs.inodesFree': nothing,
    },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    // The default is below /usr, which all nodes share.
    volumePluginDir: '/var/lib/kubelet/volumeplugins',
    maxPods: 250,
    staticPodPath: staticPods,
    fileCheckFrequency: '1s',
  });
}

export function kubeProxyFile({ name, pki, podSubnets, proxyMode }: NodeFileOptions): string {
  // By default a second may pass in which a Service refuses connections for a pod that is ready.
  const soon = { minSyncPeriod: '100ms' };
  return stringify({
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: proxyMode,
    clientConnection: { kubeconfig: join(pki, 'kube-proxy.kubeconfig') },
    clusterCIDR: podSubnets.v6 === null ? podRange.v4 : `${podRange.v4},${podRange.v6}`,
    detectLocalMode: 'ClusterCIDR',
    hostnameOverride: name,
    oomScoreAdj: 0,
    // Settings of the whole machine, which are not for a node to change.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    nftables: soon,
    iptables: soon,
  });
}
