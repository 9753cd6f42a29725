/** The mesh of soak-requests.ts: a service with two versions behind a waypoint, a rule of each kind, and a policy. */
import { type KubernetesObject, serviceObject } from '../../test/lab/kubernetes.ts';
import type { PodSpec } from '../../test/lab/pod.ts';

/** What the servers listen on. */
export const echoPorts = { http1: 8080, http2: 8081 } as const;
/** The Service that is asked, and its ports. */
export const web = { address: '10.96.0.20', http1: 80, http2: 81 } as const;

const namespace = 'shop';

export const requestPods: readonly PodSpec[] = [
  { namespace, name: 'client', node: 'node-a', labels: { app: 'client' } },
  { namespace, name: 'one', node: 'node-b', labels: { app: 'web', version: 'v1' } },
  { namespace, name: 'two', node: 'node-a', labels: { app: 'web', version: 'v2' } },
  {
    namespace,
    name: 'waypoint',
    serviceAccount: 'waypoint',
    node: 'node-b',
    labels: { app: 'waypoint', 'culvert.dev/dataplane-mode': 'none' },
  },
];

export function requestObjects(): KubernetesObject[] {
  const service = (name: string, address: string, selector: Record<string, string>): KubernetesObject =>
    serviceObject({
      name,
      namespace,
      selector,
      clusterIPs: [address],
      ports: [
        { name: 'http', port: web.http1, targetPort: echoPorts.http1 },
        { name: 'http2', port: web.http2, targetPort: echoPorts.http2 },
      ],
    });
  const asked = service('web', web.address, { app: 'web' });
  const labels = { 'culvert.dev/use-waypoint': 'waypoint' };
  return [
    { ...asked, metadata: { ...asked.metadata, labels } },
    service('canary', '10.96.0.21', { version: 'v2' }),
    serviceObject({
      name: 'waypoint',
      namespace,
      selector: { app: 'waypoint' },
      clusterIPs: ['10.96.0.2'],
      ports: [{ name: 'tunnel', port: 15_008 }],
    }),
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'waypoint', namespace },
      spec: {
        gatewayClassName: 'culvert-waypoint',
        listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
      },
    },
    ...[web.http1, web.http2].map(port => route(port)),
    {
      apiVersion: 'culvert.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'denied', namespace },
      spec: {
        targetRefs: [{ group: '', kind: 'Service', name: 'web' }],
        action: 'DENY',
        rules: [{ to: [{ operation: { paths: ['/denied/*'] } }] }],
      },
    },
  ];
}

function route(port: number): KubernetesObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: `web-${port}`, namespace },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'web', port }],
      rules: [
        {
          matches: [{ headers: [{ name: 'x-canary', value: 'yes' }] }],
          backendRefs: [{ name: 'canary', port }],
        },
        {
          matches: [{ path: { value: '/retry' } }],
          retry: { codes: [503], attempts: 4 },
          // One endpoint: the other one would refuse it once more.
          backendRefs: [{ name: 'canary', port }],
        },
        { backendRefs: [{ name: 'web', port }] },
      ],
    },
  };
}
