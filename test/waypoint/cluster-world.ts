/**
 * A waypoint of a cluster in this process: a whole control plane on loopback behind a small API server, a waypoint that
 * follows it over gRPC, an endpoint that is a port of this machine, and a client that comes through a tunnel.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import { createLogger } from '../../base/log.ts';
import { defaultAudiences } from '../../control/control-config.ts';
import { Control } from '../../control/control.ts';
import { CertificateService } from '../../xds/certificate-service.ts';
import type { ControlEndpoint } from '../../xds/channel.ts';
import { XdsClient, type XdsClientOptions } from '../../xds/client.ts';
import { discoveryNode } from '../../xds/node.ts';
import { requestCertificate } from '../../tunnel/certificate-exchange.ts';
import { systemClock } from '../../tunnel/clock.ts';
import { defaultWaypointLimits, type WaypointLimits } from '../../waypoint/config.ts';
import { Waypoint } from '../../waypoint/waypoint.ts';
import { FakeApi } from '../control/cluster/fake-api.ts';
import { until } from '../control/cluster/until.ts';
import { poolOf } from '../direct/tunnel-world.ts';
import { request, throughTunnel } from './application.ts';
import { dialHere, onLoopback, patient } from './on-loopback.ts';
import { vip } from './world-objects.ts';

/** What of a test is needed here. */
export interface Test {
  testdir(content: Record<string, never>): string;
  teardown(ending: () => unknown): void;
}

createLogger({ component: 'control', level: 'silent' });
const namespace = 'culvert-system';
const gatewayApi = 'gateway.networking.k8s.io/v1';
export const waypointIdentity = 'spiffe://cluster.local/ns/shop/sa/wp';

/** Tokens are `<pod uid> <pod name> <namespace>:<account>`, of pods of node-a. */
function review({ token = '', audiences = [] }: { token?: string; audiences?: string[] }): unknown {
  const [uid = '', name = '', account] = token.split(',');
  if (account === undefined) return { authenticated: false, error: 'invalid bearer token' };
  const extra = { 'node-name': ['node-a'], 'pod-name': [name], 'pod-uid': [uid] };
  return {
    authenticated: true,
    audiences: audiences.slice(0, 1),
    user: {
      username: `system:serviceaccount:${account}`,
      extra: Object.fromEntries(
        Object.entries(extra).map(([key, value]) => [`authentication.kubernetes.io/${key}`, value]),
      ),
    },
  };
}

export class ClusterWorld {
  readonly fake: FakeApi;
  readonly control: Control;
  readonly #t: Test;
  readonly #directory: string;
  #endpoints = 0;

  private constructor(t: Test, directory: string, fake: FakeApi, control: Control) {
    this.#t = t;
    this.#directory = directory;
    this.fake = fake;
    this.control = control;
  }

  /**
   * A control plane, a Gateway `wp` for everything in `shop`, and a Service `web` that uses it.
   * @param prepare called before the control plane looks at its API server
   */
  static async create(t: Test, prepare: (fake: FakeApi) => void = () => {}): Promise<ClusterWorld> {
    // One for each test: asked for again it would be emptied.
    const directory = t.testdir({});
    const fake = await FakeApi.start();
    fake.review = review;
    fake.serve(gatewayApi, 'Gateway', 'gateways', true);
    fake.serve(gatewayApi, 'HTTPRoute', 'httproutes', true);
    prepare(fake);
    fake.put('namespaces', { metadata: { name: 'shop', labels: { 'culvert.dev/use-waypoint': 'wp' } } });
    fake.put('nodes', { metadata: { name: 'node-a' } });
    const control = new Control({
      kubeconfig: fake.kubeconfig(directory),
      namespace,
      identity: 'one',
      address: '127.0.0.1',
      port: 0,
      metricsPort: 0,
      readyPort: 0,
      adminPort: 0,
      agents: [`${namespace}/culvert-agent`],
      audiences: defaultAudiences,
      dnsNames: ['localhost'],
      logLevel: 'silent',
      waypoints: null,
      limits: { noticeMs: 10, drainMs: 500, newPodMs: 10_000 },
    });
    t.teardown(async () => {
      await control.stop();
      await fake[Symbol.asyncDispose]();
    });
    const world = new ClusterWorld(t, directory, fake, control);
    fake.put('gateways', {
      metadata: { namespace: 'shop', name: 'wp', labels: { 'culvert.dev/waypoint-for': 'all' } },
      spec: {
        gatewayClassName: 'culvert-waypoint',
        listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      },
    });
    world.service('wp', '10.96.0.2', 15_008);
    await control.start();
    await until('roots are there', () => fake.get('configmaps', namespace, 'culvert-root') !== undefined);
    return world;
  }

  service(name: string, clusterIP: string, port: number, targetPort = port): void {
    this.fake.put('services', {
      metadata: { namespace: 'shop', name },
      spec: {
        type: 'ClusterIP',
        clusterIP,
        clusterIPs: [clusterIP],
        selector: { app: name },
        ports: [{ name: port === 80 ? 'http' : 'hbone', port, targetPort, protocol: 'TCP' }],
      },
    });
  }

  /** Makes a pod of the Service of its app; returns its uid. */
  pod(name: string, app: string, address: string, port: number, node = 'node-a'): string {
    const { metadata } = this.fake.put('pods', {
      metadata: { namespace: 'shop', name, labels: { app } },
      spec: { nodeName: node, serviceAccountName: app, containers: [] },
      status: {
        phase: 'Running',
        podIP: address,
        podIPs: [{ ip: address }],
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    });
    this.fake.put('endpointslices', {
      metadata: { namespace: 'shop', name: `${app}-${name}`, labels: { 'kubernetes.io/service-name': app } },
      addressType: 'IPv4',
      endpoints: [
        {
          addresses: [address],
          conditions: { ready: true, serving: true },
          targetRef: { kind: 'Pod', namespace: 'shop', name },
        },
      ],
      ports: [{ name: port === 15_008 ? 'hbone' : 'http', port }],
    });
    return metadata.uid ?? '';
  }

  route(rules: readonly object[]): void {
    this.fake.put('httproutes', {
      metadata: { namespace: 'shop', name: 'web' },
      spec: { parentRefs: [{ group: '', kind: 'Service', name: 'web' }], rules },
    });
  }

  /** An HTTP server that says its name, as the one pod of a Service of this name. */
  async backend(name: string, address: string, clusterIP: string): Promise<void> {
    const server = http.createServer((_request, response) => response.end(name));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.#t.teardown(() => server.close());
    const { port } = server.address() as AddressInfo;
    this.service(name, clusterIP, 80, port);
    this.pod(`${name}-1`, name, address, port);
  }

  /** What a pod has to reach the control plane with. */
  endpoint(token: string): ControlEndpoint {
    const number = ++this.#endpoints;
    const data = this.fake.get('configmaps', namespace, 'culvert-root')?.data as Record<string, string>;
    const [rootPath, tokenPath] = ['root.pem', 'token'].map(name =>
      join(this.#directory, `${number}-${name}`),
    ) as [string, string];
    writeFileSync(rootPath, data['root.pem'] ?? '');
    writeFileSync(tokenPath, token);
    return {
      address: `localhost:${this.control.port}`,
      rootPath,
      tokenPath,
      serverName: null,
      headers: {},
    };
  }

  /** Somebody who asks the control plane as a waypoint does, whoever's the token is. */
  discover(
    token: string,
    subscriptions: XdsClientOptions['subscriptions'],
    onUpdate: XdsClientOptions['onUpdate'] = () => {},
  ): XdsClient {
    const client = new XdsClient({
      endpoint: this.endpoint(token),
      node: discoveryNode({
        nodeName: 'node-a',
        podName: 'x',
        podNamespace: 'shop',
        serviceAccount: 'x',
        podIp: '',
        clusterId: 'Kubernetes',
        version: '1',
        type: 'waypoint',
      }),
      subscriptions,
      log: pino({ level: 'silent' }),
      onUpdate,
    });
    client.start();
    this.#t.teardown(() => client.close());
    return client;
  }

  /** A waypoint as the pod `wp-1`, started but perhaps not ready. */
  waypoint(token: string, limits: Partial<WaypointLimits> = {}): Waypoint {
    const { address, rootPath, tokenPath } = this.endpoint(token);
    const waypoint = new Waypoint(
      {
        source: {
          kind: 'cluster',
          control: {
            address,
            root: rootPath ?? '',
            token: tokenPath ?? '',
            serverName: null,
            clusterId: 'Kubernetes',
          },
          pod: { namespace: 'shop', name: 'wp-1', address: '10.0.0.9', serviceAccount: 'wp', node: 'node-a' },
        },
        gateway: { namespace: 'shop', name: 'wp' },
        ...onLoopback,
        accessLog: '',

        limits: patient(limits),
      },
      dialHere,
    );
    this.#t.teardown(() => waypoint.stop());
    void waypoint.start().catch(() => {});
    return waypoint;
  }

  /** GET requests of an application of `shop/client`; each resolves with status and body. */
  async client(
    waypoint: Waypoint,
  ): Promise<(path: string, headers?: http.OutgoingHttpHeaders) => Promise<string>> {
    const uid = this.pod('client-1', 'client', '10.0.0.7', 1);
    await until('the client is known', () => this.control.pods.pod(uid) !== null);
    const signer = new CertificateService({
      endpoint: this.endpoint(`${uid},client-1,shop:client`),
      ttlMs: () => 3_600_000,
      forOthers: false,
    });
    const { signal } = new AbortController();
    const identity = 'spiffe://cluster.local/ns/shop/sa/client';
    const certificate = await requestCertificate(signer, identity, systemClock, signal);
    const pool = poolOf(certificate, defaultWaypointLimits);
    this.#t.teardown(() => {
      pool.close(new Error('over') as never);
      signer.close();
    });
    return async (path, headers = {}) => {
      const way = { port: waypoint.port, waypointIdentity, authority: `${vip}:80` };
      const { status, text } = await request(await throughTunnel(pool, way), path, { headers });
      return `${status} ${text}`;
    };
  }
}
