/**
 * What the configuration of a waypoint's test is written with: a namespace `shop` whose Services use the waypoint `wp`, and
 * routes and policies of its Service `web`, as YAML.
 */

/** Address of the Service web. */
export const vip = '10.96.0.10';

/** Where a pod listens. */
export interface PodPlace {
  readonly address: string;
  readonly port: number;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * The Service web with its pods, a Service for each of them, and the waypoint.
 * @param isMeshed the pods are enrolled: tunnels lead to them
 */
export function meshOf(
  pods: ReadonlyMap<string, PodPlace>,
  appProtocol: string | undefined,
  isMeshed: boolean,
): string {
  const objects: object[] = [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'shop', labels: { 'culvert.dev/use-waypoint': 'wp' } },
    },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'wp', namespace: 'shop', labels: { 'culvert.dev/waypoint-for': 'all' } },
      spec: {
        gatewayClassName: 'culvert-waypoint',
        listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      },
    },
    service('wp', '10.96.0.2', { app: 'wp' }, 15008, undefined),
    pod('wp', '10.0.0.1', { app: 'wp' }, 'waypoint', 15008),
    service('web', vip, { web: 'yes' }, 80, appProtocol),
  ];
  for (const [index, [name, { address, port, labels }]] of [...pods].entries()) {
    if (name !== 'web') objects.push(service(name, `10.96.1.${index + 1}`, { app: name }, 80, appProtocol));
    const made = pod(name, address, { app: name, web: 'yes', ...labels }, 'web', port);
    objects.push(isMeshed ? enrolled(made) : made);
  }
  return objects.map(object => JSON.stringify(object)).join('\n---\n');
}

/** A route that is bound to the Service web. */
export function route(rules: string, kind = 'HTTPRoute', name = 'r'): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: ${name}, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules:
${rules.trim().replaceAll(/^/gm, '  ')}
---
`;
}

interface AuthorizationOptions {
  readonly target?: string;
  readonly namespace?: string;
  readonly metadata?: string;
  readonly provider?: string;
}

/** An AuthorizationPolicy that is attached to the Service web. */
export function authorization(
  name: string,
  action: string,
  rules: string,
  options: AuthorizationOptions = {},
): string {
  const {
    target = 'group: "", kind: Service, name: web',
    namespace = 'shop',
    metadata = '',
    provider,
  } = options;
  return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: ${namespace}, ${metadata} }
spec:
  targetRefs: [{ ${target} }]
  action: ${action}
  ${provider === undefined ? '' : `provider: { name: ${provider} }`}
  rules: ${rules}
---
`;
}

/** A DestinationRule of the Service web. */
export function destination(policy: string, more = ''): string {
  return `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: d, namespace: shop }
spec:
  host: web
  trafficPolicy: ${policy}
${more}
---
`;
}

function service(
  name: string,
  clusterIP: string,
  selector: object,
  port: number,
  appProtocol?: string,
): object {
  const ports = [{ name: 'port', port, targetPort: port === 80 ? 'port' : port, appProtocol }];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: { clusterIP, selector, ports },
  };
}

interface PodObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly spec: object;
  readonly status: object;
  readonly metadata: { readonly name: string; readonly namespace: string; readonly labels: object };
}

function enrolled<T extends PodObject>(made: T): T {
  const labels = { ...made.metadata.labels, 'culvert.dev/dataplane-mode': 'ambient' };
  const annotations = { 'culvert.dev/netns': `/run/netns/${made.metadata.name}` };
  return { ...made, metadata: { ...made.metadata, labels, annotations } };
}

function pod(
  name: string,
  podIP: string,
  labels: object,
  serviceAccountName: string,
  port: number,
): PodObject {
  const containers = [{ name: 'app', ports: [{ name: 'port', containerPort: port }] }];
  const spec = { nodeName: 'node-1', serviceAccountName, containers };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels },
    spec,
    status: { podIP },
  };
}
