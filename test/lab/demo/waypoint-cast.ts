/**
 * Who plays in the act of the waypoint, and its YAML: a second version of web, the waypoint, and a collector of traces.
 *
 * What the report shows of an object is printed from the object that is written, so that it can be copied.
 */
import { stringify } from 'yaml';
import { type KubernetesObject, serviceAccountObject, serviceObject } from '../kubernetes.ts';
import type { PodSpec } from '../pod.ts';

const shop = 'shop';
const gatewayApi = 'gateway.networking.k8s.io/v1';
const waypointName = 'waypoint';
export const collectorPort = 4318;

/** They join when the act begins. The waypoint speaks the mesh's protocol itself, so no agent carries for it. */
export const waypointPods = [
  {
    name: 'web-v2',
    node: 'node-a',
    namespace: shop,
    serviceAccount: 'web',
    labels: { app: 'web', version: 'v2' },
  },
  { name: 'traces', node: 'node-a', namespace: shop, serviceAccount: 'traces', labels: { app: 'traces' } },
  {
    name: waypointName,
    node: 'node-b',
    namespace: shop,
    serviceAccount: waypointName,
    labels: { app: waypointName, 'culvert.dev/dataplane-mode': 'none' },
  },
] as const satisfies readonly PodSpec[];

/** waypoint.yaml: what there is before anybody uses it. */
export function waypointObjects(): KubernetesObject[] {
  const service = (
    name: string,
    clusterIP: string,
    selector: Readonly<Record<string, string>>,
    port: number,
  ): KubernetesObject =>
    serviceObject({ name, namespace: shop, selector, ports: [{ port }], clusterIPs: [clusterIP] });
  return [
    serviceAccountObject(shop, waypointName),
    serviceAccountObject(shop, 'traces'),
    {
      apiVersion: gatewayApi,
      kind: 'Gateway',
      metadata: { name: waypointName, namespace: shop },
      spec: {
        gatewayClassName: 'culvert-waypoint',
        listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      },
    },
    service(waypointName, '10.96.0.13', { app: waypointName }, 15008),
    service('web-v1', '10.96.0.14', { app: 'web', version: 'v1' }, 80),
    service('web-v2', '10.96.0.15', { app: 'web', version: 'v2' }, 80),
    service('traces', '10.96.0.16', { app: 'traces' }, collectorPort),
    {
      apiVersion: 'culvert.dev/v1',
      kind: 'MeshConfig',
      metadata: { name: 'default' },
      spec: { tracing },
    },
  ];
}

export const tracing = {
  collectors: [{ name: 'demo', service: 'traces.shop.svc.cluster.local', port: collectorPort }],
  collector: 'demo',
};

/** route.yaml. `/cart` goes to both versions; that of v2 is broken. */
export function routeObject(retries: boolean): KubernetesObject {
  const rules = [
    {
      matches: [{ headers: [{ name: 'x-canary', value: 'v2' }] }],
      backendRefs: [{ name: 'web-v2', port: 80 }],
    },
    {
      matches: [{ path: { value: '/cart' } }],
      ...(retries ? { retry: { codes: [503], attempts: 2 } } : {}),
      backendRefs: [{ name: 'web', port: 80 }],
    },
    {
      backendRefs: [
        { name: 'web-v1', port: 80, weight: 90 },
        { name: 'web-v2', port: 80, weight: 10 },
      ],
    },
  ];
  return {
    apiVersion: gatewayApi,
    kind: 'HTTPRoute',
    metadata: { name: 'web', namespace: shop },
    spec: { parentRefs: [{ group: '', kind: 'Service', name: 'web' }], rules },
  };
}

/** admin.yaml: of all callers only batch may do what begins with /admin. */
export function adminPolicy(): KubernetesObject {
  const rule = {
    from: [{ source: { notServiceAccounts: ['shop/batch'] } }],
    to: [{ operation: { paths: ['/admin*'] } }],
  };
  return {
    apiVersion: 'culvert.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'admin', namespace: shop },
    spec: { targetRefs: [{ group: '', kind: 'Service', name: 'web' }], action: 'DENY', rules: [rule] },
  };
}

/** A part of an object as YAML of one line. */
export function inline(part: unknown): string {
  // YAML 1.1 puts more texts into quotes: those that kubectl would take for something else.
  const options = { version: '1.1', collectionStyle: 'flow', lineWidth: 0 } as const;
  return stringify(part, options).trim().replaceAll('[ ', '[').replaceAll(' ]', ']');
}
