/**
 * Who plays: the pods, their Services and the YAML that describes them.
 *
 * Everything in namespace `shop` joins the mesh when the namespace gets its label. The pods of `bare` never do; they are
 * what the mesh is measured against.
 */
import {
  enrolled,
  type KubernetesObject,
  namespaceObject,
  serviceAccountObject,
  serviceObject,
} from '../kubernetes.ts';
import type { PodSpec } from '../pod.ts';
import type { waypointPods } from './waypoint-cast.ts';

export const nodeNames = ['node-a', 'node-b'] as const;
export type NodeName = (typeof nodeNames)[number];

const shop = 'shop';
const bare = 'bare';

export const pods = [
  { name: 'front', node: 'node-a', namespace: shop, serviceAccount: 'front' },
  {
    name: 'batch',
    node: 'node-a',
    namespace: shop,
    serviceAccount: 'batch',
    annotations: { 'culvert.dev/fail-mode': 'open' },
  },
  { name: 'cache', node: 'node-a', namespace: shop, serviceAccount: 'cache', labels: { app: 'cache' } },
  {
    name: 'web',
    node: 'node-b',
    namespace: shop,
    serviceAccount: 'web',
    labels: { app: 'web', version: 'v1' },
  },
  { name: 'mail', node: 'node-b', namespace: shop, serviceAccount: 'mail', labels: { app: 'mail' } },
  { name: 'bare-client', node: 'node-a', namespace: bare, outsideCgroupRoot: true },
  { name: 'bare-near', node: 'node-a', namespace: bare, outsideCgroupRoot: true },
  { name: 'bare-far', node: 'node-b', namespace: bare, outsideCgroupRoot: true },
] as const satisfies readonly PodSpec[];
export type PodName = (typeof pods | typeof waypointPods)[number]['name'];

/** Addresses of the Services, which no machine has: only the mesh knows what they stand for. */
export const serviceAddresses = { web: '10.96.0.10', cache: '10.96.0.11', mail: '10.96.0.12' } as const;
export const ports = { web: 80, cache: 6379, mail: 25 } as const;

/** namespaces.yaml: with `inMesh` the namespace has the label that brings its pods into the mesh. */
export function namespaces(inMesh: boolean): KubernetesObject[] {
  const accounts = pods.filter(pod => pod.namespace === shop).map(pod => pod.serviceAccount);
  return [
    namespaceObject(shop, inMesh ? enrolled : {}),
    namespaceObject(bare),
    ...accounts.map(account => serviceAccountObject(shop, account)),
  ];
}

/** services.yaml, with labels of web. */
export function services(labels: Readonly<Record<string, string>> = {}): KubernetesObject[] {
  const all = (['web', 'cache', 'mail'] as const).map(name =>
    serviceObject({
      name,
      namespace: shop,
      selector: { app: name },
      ports: [{ port: ports[name] }],
      clusterIPs: [serviceAddresses[name]],
    }),
  );
  return all.map(object =>
    object.metadata.name === 'web' ? { ...object, metadata: { ...object.metadata, labels } } : object,
  );
}

/** A policy about who may call one application of the shop. */
export interface CallerPolicy {
  readonly name: string;
  readonly app: string;
  readonly action: 'ALLOW' | 'DENY';
  /** SPIFFE IDs without their scheme. */
  readonly callers: readonly string[];
}

export function policyObject({ name, app, action, callers }: CallerPolicy): KubernetesObject {
  const rules = [{ from: [{ source: { principals: callers } }] }];
  return {
    apiVersion: 'culvert.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: shop },
    spec: { selector: { matchLabels: { app } }, action, rules },
  };
}
