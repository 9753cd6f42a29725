/**
 * Nobody walks around a waypoint: a pod that has one admits it alone, whoever comes with whatever identity. And nobody
 * loses a request when its pods are replaced one after the other.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Authority } from '../../tunnel/authority.ts';
import { requestCertificate } from '../../tunnel/certificate-exchange.ts';
import { systemClock } from '../../tunnel/clock.ts';
import { AgentLab } from '../help/agent-lab.ts';
import { eventually } from '../lab/eventually.ts';
import { type KubernetesObject, serviceObject } from '../lab/kubernetes.ts';
import type { LabPod } from '../lab/pod.ts';
import type { LabProcess } from '../lab/process.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const launcher = fileURLToPath(new URL('../../cli/culvert', import.meta.url));
const tunnelClient = fileURLToPath(new URL('../help/connect-through.ts', import.meta.url));
const vip = '10.96.0.20';
const guarded = { app: 'web', 'culvert.dev/use-waypoint': 'waypoint' };
const gateway: KubernetesObject = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'waypoint', namespace: 'shop', labels: { 'culvert.dev/waypoint-for': 'workload' } },
  spec: {
    gatewayClassName: 'culvert-waypoint',
    listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
  },
};
const service = (name: string, clusterIP: string, port: number, targetPort: number): KubernetesObject =>
  serviceObject({
    name,
    namespace: 'shop',
    selector: { app: name },
    clusterIPs: [clusterIP],
    ports: [{ name: port === 80 ? 'http' : 'tunnel', port, targetPort }],
  });

const shop = { namespace: 'shop' };
const ofWaypoint = { app: 'waypoint', 'culvert.dev/dataplane-mode': 'none' };
const stage = await AgentLab.create({
  name: 'insists',
  pods: [
    { ...shop, name: 'client', serviceAccount: 'client', node: 'node-a' },
    { ...shop, name: 'near', serviceAccount: 'client', node: 'node-b' },
    { namespace: 'legacy', name: 'foreign', node: 'node-a' },
    { ...shop, name: 'web', serviceAccount: 'web', node: 'node-b', labels: { app: 'web' } },
    { ...shop, name: 'wp-1', serviceAccount: 'waypoint', node: 'node-a', labels: ofWaypoint },
    { ...shop, name: 'wp-2', serviceAccount: 'waypoint', node: 'node-b', labels: ofWaypoint },
  ],
  objects: [gateway, service('waypoint', '10.96.0.2', 15_008, 15_008), service('web', vip, 80, 8080)],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, foreign, web] = [stage.pod('client'), stage.pod('foreign'), stage.pod('web')];
const address = web.address;
const server = `require('node:http').createServer((q, r) => {
  r.end(q.headers['x-forwarded-client-cert'] === undefined ? 'directly' : 'through the waypoint');
}).listen(8080)`;
web.spawn(process.execPath, ['-e', server, 'web']);
await (await stage.sockets(web)).serve('0.0.0.0', 9090);

async function startWaypoint(pod: LabPod): Promise<LabProcess> {
  const options = ['--config', stage.configDir, '--name', 'shop/waypoint', '--access-log', ''];
  const waypoint = pod.spawn(launcher, ['waypoint', 'run', ...options]);
  const url = 'http://127.0.0.1:15021/healthz/ready';
  await eventually(
    async () => !waypoint.running || (await pod.run('curl', ['-sf', url], { check: false })).code === 0,
    { what: pod.name },
  );
  if (!waypoint.running) throw new Error(waypoint.stderr() + waypoint.stdout());
  return waypoint;
}

const waypoints = new Map<LabPod, LabProcess>();
for (const name of ['wp-1', 'wp-2']) waypoints.set(stage.pod(name), await startWaypoint(stage.pod(name)));

async function curl(from: LabPod, url: string): Promise<string> {
  const { stdout } = await from.run('curl', ['-sS', '--max-time', '10', url], { check: false });
  return stdout.trim();
}

/** A certificate of the mesh, in a file. */
async function certificateOf(account: string): Promise<string> {
  const authority = Authority.open({ path: join(stage.configDir, '.culvert', 'authority.pem') });
  const { signal } = new AbortController();
  const identity = `spiffe://cluster.local/ns/shop/sa/${account}`;
  const issued = await requestCertificate(authority, identity, systemClock, signal);
  authority.close();
  const path = join(stage.lab.directory, `${account}.json`);
  writeFileSync(path, JSON.stringify(issued));
  return path;
}

/** The answer to a CONNECT that goes to the pod itself, from a pod that nobody redirects. */
async function directly(account: string): Promise<string> {
  const { stdout } = await foreign.run(process.execPath, [
    tunnelClient,
    await certificateOf(account),
    address,
    'spiffe://cluster.local/ns/shop/sa/web',
    `${address}:8080`,
  ]);
  return stdout.trim();
}

async function counted(code: string): Promise<number> {
  const samples = await stage.agent('node-b').metrics();
  return samples
    .filter(({ labels }) => Object.values(labels).includes(code))
    .reduce((sum, { value }) => sum + value, 0);
}

t.test('where it has no waypoint everybody may', async t => {
  t.equal(await curl(client, `http://${address}:8080/`), 'directly');
  t.equal(await curl(foreign, `http://${address}:8080/`), 'directly');
  t.equal(await directly('client'), '200');
});

t.test('what is open when it gets one ends, and what comes then passes it', async t => {
  const open = await (await stage.sockets(client)).connect(address, 9090);
  await open.send('ping');
  t.equal(await open.receive(4), 'ping');
  await stage.describe(web, { labels: guarded });
  await t.rejects(open.receive(1), { code: 'ECONNRESET' });
  await stage.line('node-b', { code: 'POLICY_CHANGED', 'src.workload': 'client' });
  for (const from of [client, stage.pod('near')]) {
    t.equal(await curl(from, `http://${address}:8080/`), 'through the waypoint', 'by its address');
    t.equal(await curl(from, `http://${vip}/`), 'through the waypoint', 'by a service without one');
  }
});

t.test('no other identity may, and none without one', async t => {
  t.equal(await directly('client'), '401');
  const line = await stage.line('node-b', { code: 'WAYPOINT_BYPASSED', direction: 'inbound' });
  t.match(line, {
    'src.identity': 'spiffe://cluster.local/ns/shop/sa/client',
    error: /shop\/web is reached through its waypoint shop\/waypoint\.shop\.svc\.cluster\.local/,
    side: 'client',
  });
  t.equal(await curl(foreign, `http://${address}:8080/`), '', 'nobody in the clear');
  await eventually(async () => (await counted('WAYPOINT_BYPASSED')) >= 2, { what: 'both to be counted' });
  t.equal(await directly('waypoint'), '200', 'its own identity, from wherever');
});

t.test('whoever reads the log of the destination sees for whom a waypoint came', async t => {
  const open = await (await stage.sockets(client)).connect(address, 9090);
  await open.send('ping');
  t.equal(await open.receive(4), 'ping');
  await open.close();
  const line = await stage.line('node-b', {
    'dst.addr': `${address}:9090`,
    'src.original_identity': 'spiffe://cluster.local/ns/shop/sa/client',
  });
  t.match(line, { 'src.original_addr': open.local.join(':'), 'src.identity': /sa\/waypoint$/ });
});

t.test('its pods are replaced one after the other, and no request fails', async t => {
  const program = `const http = require('node:http');
    const agent = new http.Agent({ keepAlive: true });
    let done = 0, failed = 0, stop = false;
    process.on('SIGTERM', () => { stop = true; });
    const next = () => new Promise(over => {
      const failure = error => { failed += 1; console.error(error.message); over(); };
      http.get({ host: '${address}', port: 8080, agent }, response => {
        let text = '';
        response.on('data', part => { text += part; }).on('error', failure).on('end', () => {
          if (response.statusCode === 200 && text === 'through the waypoint') done += 1;
          else { failed += 1; console.error(response.statusCode, text); }
          over();
        });
      }).on('error', failure);
    });
    const lane = async () => { while (!stop) await next(); };
    Promise.all(Array.from({ length: 8 }, lane)).then(() => {
      console.log(JSON.stringify({ done, failed }));
      process.exit();
    });`;
  const load = client.spawn(process.execPath, ['-e', program]);
  for (const [pod, waypoint] of waypoints) {
    // As a kubelet does it: no new traffic first, then the signal.
    await stage.describe(pod, { ready: false });
    await waypoint.stop('SIGTERM', 30_000);
    waypoints.set(pod, await startWaypoint(pod));
    await stage.describe(pod, { ready: true });
  }
  await load.stop('SIGTERM', 10_000);
  const { done, failed } = JSON.parse(load.stdout()) as { done: number; failed: number };
  t.ok(done > 100, `${done} requests`);
  t.equal(failed, 0, load.stderr());
});

t.test('several pods share the work', async t => {
  await Promise.all(Array.from({ length: 20 }, () => curl(client, `http://${address}:8080/`)));
  const used = new Set(
    stage
      .lines('node-a')
      .flatMap(line => (String(line['dst.workload']).startsWith('wp-') ? [line['dst.workload']] : [])),
  );
  t.same(used, new Set(['wp-1', 'wp-2']));
});
