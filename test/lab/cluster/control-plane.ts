/**
 * The processes of a Kubernetes control plane and the flags that they cannot do without.
 *
 *   etcd ◄── kube-apiserver ◄── kube-controller-manager   makes pods of Deployments, endpoints of Services, …
 *                  ▲   ▲─────── kube-scheduler            chooses a node for each pod
 *                  └─────────── kubelets and kube-proxies (node.ts), and everybody else
 *
 * They run in the namespace "outside" of the lab, a machine beside the nodes.
 */
import { join } from 'node:path';
import { apiPort, clusterDomain, serviceRange } from './addresses.ts';

export interface ControlPlaneOptions {
  /** Folder with the programs of Kubernetes. */
  readonly binaries: string;
  readonly pki: string;
  /** For etcd's data. */
  readonly state: string;
  /** By which nodes reach it. */
  readonly address: string;
  readonly ipv6: boolean;
}

/** Command lines by name, in the order of their start. Each waits by itself for the one that it needs. */
export function controlPlane(options: ControlPlaneOptions): Readonly<Record<string, readonly string[]>> {
  return {
    etcd: etcd(options),
    'kube-apiserver': apiServer(options),
    'kube-controller-manager': controllerManager(options),
    'kube-scheduler': scheduler(options),
  };
}

const etcdClients = 'http://127.0.0.1:2379';
const etcdPeers = 'http://127.0.0.1:2380';

function etcd({ state }: ControlPlaneOptions): string[] {
  return [
    'etcd',
    `--data-dir=${join(state, 'etcd')}`,
    `--listen-client-urls=${etcdClients}`,
    `--advertise-client-urls=${etcdClients}`,
    `--listen-peer-urls=${etcdPeers}`,
    '--log-level=warn',
  ];
}

function apiServer({ binaries, pki, address, ipv6 }: ControlPlaneOptions): string[] {
  const file = (name: string): string => join(pki, name);
  return [
    join(binaries, 'kube-apiserver'),
    `--etcd-servers=${etcdClients}`,
    `--secure-port=${apiPort}`,
    `--advertise-address=${address}`,
    `--service-cluster-ip-range=${ipv6 ? `${serviceRange.v4},${serviceRange.v6}` : serviceRange.v4}`,
    // Who it is, and whom it believes.
    `--tls-cert-file=${file('apiserver.crt')}`,
    `--tls-private-key-file=${file('apiserver.key')}`,
    `--client-ca-file=${file('ca.crt')}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    // Tokens of service accounts.
    `--service-account-issuer=https://kubernetes.default.svc.${clusterDomain}`,
    `--service-account-key-file=${file('sa.pub')}`,
    `--service-account-signing-key-file=${file('sa.key')}`,
    // How it speaks to kubelets, for logs and exec. Nodes have no names that anybody could look up.
    `--kubelet-client-certificate=${file('apiserver-kubelet.crt')}`,
    `--kubelet-client-key=${file('apiserver-kubelet.key')}`,
    `--kubelet-certificate-authority=${file('ca.crt')}`,
    '--kubelet-preferred-address-types=InternalIP',
    // How it speaks to extensions. It is not on a node: kube-proxy does not help it, so it goes to the pods themselves.
    `--requestheader-client-ca-file=${file('front-proxy-ca.crt')}`,
    '--requestheader-allowed-names=front-proxy',
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    `--proxy-client-cert-file=${file('front-proxy.crt')}`,
    `--proxy-client-key-file=${file('front-proxy.key')}`,
    '--enable-aggregator-routing=true',
    // Otherwise privileged pods are refused.
    '--allow-privileged=true',
    '--profiling=false',
  ];
}

function controllerManager({ binaries, pki }: ControlPlaneOptions): string[] {
  const file = (name: string): string => join(pki, name);
  return [
    join(binaries, 'kube-controller-manager'),
    ...asUser(file('controller-manager.kubeconfig')),
    `--root-ca-file=${file('ca.crt')}`,
    `--client-ca-file=${file('ca.crt')}`,
    `--requestheader-client-ca-file=${file('front-proxy-ca.crt')}`,
    `--service-account-private-key-file=${file('sa.key')}`,
    `--cluster-signing-cert-file=${file('ca.crt')}`,
    `--cluster-signing-key-file=${file('ca.key')}`,
    '--use-service-account-credentials=true',
    // Node objects are written with their pods' network in them.
    '--allocate-node-cidrs=false',
    // A node that is stopped in a test shall be noticed within the test.
    '--node-monitor-grace-period=20s',
  ];
}

function scheduler({ binaries, pki }: ControlPlaneOptions): string[] {
  return [join(binaries, 'kube-scheduler'), ...asUser(join(pki, 'scheduler.kubeconfig'))];
}

function asUser(kubeconfig: string): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    `--authentication-kubeconfig=${kubeconfig}`,
    `--authorization-kubeconfig=${kubeconfig}`,
    // There is only one of them.
    '--leader-elect=false',
    '--profiling=false',
  ];
}
