/**
 * The L7 hop of a waypoint alone: plain TCP in, everything a request goes through, plain TCP out to a server on this machine.
 * Runs as a process of its own, so that it can be pinned: `node bench/waypoint-hop.ts LISTEN UPSTREAM ACCESS-LOG`.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultWaypointLimits } from '../waypoint/config.ts';
import type { Client } from '../waypoint/context.ts';
import { serveHttp1 } from '../waypoint/http1-in.ts';
import { destinationOf } from '../waypoint/tunnel-in.ts';
import { dialTcp } from '../waypoint/tunnel-out.ts';
import { Waypoint } from '../waypoint/waypoint.ts';

const [listen = '0', upstream = '0', accessLog = ''] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), 'culvert-bench-waypoint-'));
const service = (name: string, clusterIP: string, port: number, targetPort: number): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop', labels: name === 'web' ? { 'culvert.dev/use-waypoint': 'wp' } : {} },
  spec: { clusterIP, selector: { app: name }, ports: [{ name: 'http', port, targetPort }] },
});
const pod = (name: string, podIP: string): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels: { app: name } },
  spec: { nodeName: 'node-1' },
  status: { podIP },
});
const objects = [
  {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'wp', namespace: 'shop' },
    spec: { gatewayClassName: 'culvert-waypoint' },
  },
  service('wp', '10.96.0.2', 15008, 15008),
  pod('wp', '10.0.0.1'),
  service('web', '10.96.0.10', 80, Number(upstream)),
  pod('web', '10.0.0.2'),
  {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
      rules: [
        { matches: [{ headers: [{ name: 'x-canary', value: 'yes' }] }] },
        { backendRefs: [{ name: 'web', port: 80 }] },
      ],
    },
  },
];
writeFileSync(join(directory, 'mesh.yaml'), objects.map(object => JSON.stringify(object)).join('\n---\n'));

const waypoint = new Waypoint(
  {
    source: { kind: 'directory', directory, authority: null },
    gateway: { namespace: 'shop', name: 'wp' },
    address: '127.0.0.1',
    hbonePort: 0,
    adminPort: 0,
    metricsAddress: '127.0.0.1',
    metricsPort: 0,
    readyAddress: '127.0.0.1',
    readyPort: 0,
    accessLog,
    logLevel: 'error',
    limits: defaultWaypointLimits,
  },
  (_address, port, timeoutMs) => dialTcp('127.0.0.1', port, timeoutMs),
);
await waypoint.start();
const { context } = waypoint;
const identity = 'spiffe://cluster.local/ns/shop/sa/client';
const client: Client = { identity, namespace: 'shop', address: '10.0.0.9', port: 1, workload: null };
const destination = destinationOf(context, '10.96.0.10:80', identity);
if (destination === null) throw new Error('the service is not served');
net
  .createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    socket.on('error', () => {});
    serveHttp1(context, client, destination, socket);
  })
  .listen(Number(listen), '127.0.0.1', () => process.stdout.write('ready\n'));
