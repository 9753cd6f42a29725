/** What servers of the stage listen on, and what the mesh is told besides its pods: Services, and a waypoint for one of them. */
import { type KubernetesObject, serviceObject } from '../test/lab/kubernetes.ts';

export const loadPort = 7001;
/** The same program with sockets that don't block: the kernel joins no others. */
export const eventLoadPort = 7003;
export const nonblocking = { NONBLOCKING: '1' } as const;
export const idlePort = 7002;
export const httpPort = 8080;

/** Services: `near` has the meshed pod of that name, `routed` has `far`, by a waypoint. */
export const vips = {
  near: ['10.96.0.10', 'fd00:10:96::10'],
  routed: ['10.96.0.11', 'fd00:10:96::11'],
  waypoint: ['10.96.0.12', 'fd00:10:96::12'],
} as const;

export function stageObjects(): KubernetesObject[] {
  const service = (name: keyof typeof vips, app: string, ports: readonly { name: string; port: number }[]) =>
    serviceObject({ name, namespace: 'bench', selector: { app }, clusterIPs: vips[name], ports });
  const tcp = [loadPort, eventLoadPort, idlePort, httpPort].map(port => ({ name: `tcp-${port}`, port }));
  const routed = service('routed', 'far', [{ name: 'http', port: httpPort }]);
  const labels = { 'culvert.dev/use-waypoint': 'waypoint' };
  return [
    service('near', 'near', tcp),
    { ...routed, metadata: { ...routed.metadata, labels } },
    service('waypoint', 'waypoint', [{ name: 'tunnel', port: 15_008 }]),
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'waypoint', namespace: 'bench' },
      spec: {
        gatewayClassName: 'culvert-waypoint',
        listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
      },
    },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'routed', namespace: 'bench' },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'routed' }],
        rules: [
          {
            matches: [{ headers: [{ name: 'x-canary', value: 'yes' }] }],
            backendRefs: [{ name: 'near', port: httpPort }],
          },
          { backendRefs: [{ name: 'routed', port: httpPort }] },
        ],
      },
    },
  ];
}
