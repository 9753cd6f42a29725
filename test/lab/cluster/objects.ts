/**
 * What is in the cluster from the beginning: its nodes, and the DNS server that every cluster has.
 */
import type { Addresses } from '../addresses.ts';
import type { KubernetesObject } from '../kubernetes.ts';
import { clusterDomain, dnsServiceAddress } from './addresses.ts';
import { coreDnsTag } from './images.ts';

/** Made before its kubelet starts, so that the node's number says which network its pods have. */
export function nodeObject(name: string, { v4, v6 }: Addresses): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    spec: { podCIDR: v4, podCIDRs: v6 === null ? [v4] : [v4, v6] },
  };
}

const name = 'coredns';
const namespace = 'kube-system';
const labels = { 'k8s-app': 'kube-dns' };

const corefile = `
${clusterDomain} in-addr.arpa ip6.arpa {
  errors
  health :8080
  ready :8181
  kubernetes {
    pods insecure
    ttl 5
  }
  cache 5
}
# Names outside the cluster do not exist: nobody else is asked.
. {
  template ANY ANY {
    rcode NXDOMAIN
  }
}
`;

export function dnsObjects(): KubernetesObject[] {
  const rbac = 'rbac.authorization.k8s.io';
  const watched = (apiGroup: string, resources: readonly string[]): object => ({
    apiGroups: [apiGroup],
    resources,
    verbs: ['list', 'watch'],
  });
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: { name },
      rules: [
        watched('', ['services', 'pods', 'namespaces']),
        watched('discovery.k8s.io', ['endpointslices']),
      ],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace }],
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { Corefile: corefile } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'kube-dns', namespace },
      spec: {
        clusterIP: dnsServiceAddress,
        selector: labels,
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53, protocol: 'TCP' },
        ],
      },
    },
    { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace }, spec: deploymentSpec() },
  ];
}

function deploymentSpec(): object {
  const container = {
    name,
    image: coreDnsTag,
    imagePullPolicy: 'Never',
    args: ['-conf', '/etc/coredns/Corefile'],
    readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
    volumeMounts: [{ name: 'configuration', mountPath: '/etc/coredns' }],
  };
  return {
    replicas: 1,
    selector: { matchLabels: labels },
    template: {
      metadata: { labels },
      spec: {
        serviceAccountName: name,
        dnsPolicy: 'Default',
        tolerations: [{ operator: 'Exists' }],
        containers: [container],
        volumes: [{ name: 'configuration', configMap: { name } }],
      },
    },
  };
}
