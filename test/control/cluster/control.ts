/**
 * The whole control plane on loopback, against the small API server, with the client halves that agents have.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import pino from 'pino';
import { Reports } from '../../../agent/cluster/reports.ts';
import { createLogger } from '../../../base/log.ts';
import { Control } from '../../../control/control.ts';
import { Surface } from '../../../control/surface.ts';
import type { MeshSettings, NodePod } from '../../../model/node-pod.ts';
import type { Workload } from '../../../model/workload.ts';
import { newBundle } from '../../../tunnel/authority.ts';
import { parseBundle } from '../../../tunnel/authority-bundle.ts';
import { systemClock } from '../../../tunnel/clock.ts';
import { requestCertificate } from '../../../tunnel/certificate-exchange.ts';
import { CertificateService } from '../../../xds/certificate-service.ts';
import type { ControlEndpoint } from '../../../xds/channel.ts';
import { XdsClient } from '../../../xds/client.ts';
import { discoveryNode } from '../../../xds/node.ts';
import { testControlConfig, testNamespace } from './config.ts';
import { FakeApi, refuse } from './fake-api.ts';
import { until } from './until.ts';

const log = pino({ level: 'silent' });
createLogger({ component: 'control', level: 'silent' });
const namespace = testNamespace;

/** Tokens are `<node>.<namespace>:<account>`. */
function review({ token = '', audiences = [] }: { token?: string; audiences?: string[] }): unknown {
  const [node = '', account] = token.split('.');
  if (account === undefined) return { authenticated: false, error: 'invalid bearer token' };
  const extra = { 'node-name': [node], 'pod-name': ['agent'], 'pod-uid': [`agent-${node}`] };
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

async function cluster(t: Test): Promise<FakeApi> {
  const fake = await FakeApi.start();
  fake.review = review;
  fake.serve('culvert.dev/v1', 'AuthorizationPolicy', 'authorizationpolicies', true);
  fake.serve('culvert.dev/v1', 'MeshConfig', 'meshconfigs', false);
  fake.put('namespaces', { metadata: { name: 'shop', labels: { 'culvert.dev/dataplane-mode': 'ambient' } } });
  for (const name of ['node-a', 'node-b']) fake.put('nodes', { metadata: { name } });
  t.teardown(() => fake[Symbol.asyncDispose]());
  return fake;
}

function pod(fake: FakeApi, name: string, node: string, address: string, metadata = {}): string {
  const { metadata: made } = fake.put('pods', {
    metadata: { namespace: 'shop', name, labels: { app: 'web' }, ...metadata },
    spec: { nodeName: node, serviceAccountName: name, containers: [] },
    status: {
      phase: 'Running',
      podIP: address,
      podIPs: [{ ip: address }],
      startTime: '2026-01-01T00:00:00Z',
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:10Z' }],
    },
  });
  return made.uid ?? '';
}

async function plane(t: Test, fake: FakeApi, identity = 'one') {
  const config = testControlConfig({ kubeconfig: fake.kubeconfig(t.testdir({})), identity });
  const control = new Control(config);
  const surface = new Surface(control);
  await surface.start();
  t.teardown(async () => {
    await surface.stop();
    await control.stop();
  });
  const [admin = 0, metrics = 0, ready = 0] = surface.ports;
  const get = async (port: number, path: string): Promise<{ status: number; body: string }> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, body: await response.text() };
  };
  return {
    control,
    admin: (path: string) => get(admin, path),
    metrics: () => get(metrics, '/metrics'),
    ready: () => get(ready, '/healthz/ready'),
  };
}

/** The files an agent has: roots as they are distributed, and its token. */
function endpoint(t: Test, fake: FakeApi, port: number, token: string): ControlEndpoint {
  const directory = t.testdir({});
  const data = fake.get('configmaps', namespace, 'culvert-root')?.data as Record<string, string>;
  const [rootPath, tokenPath] = [join(directory, 'root.pem'), join(directory, 'token')];
  writeFileSync(rootPath, data['root.pem'] ?? '');
  writeFileSync(tokenPath, token);
  return { address: `localhost:${port}`, rootPath, tokenPath, serverName: null, headers: {} };
}

/** What an agent knows of the mesh. */
function agent(t: Test, at: ControlEndpoint) {
  const known = {
    workloads: new Map<string, Workload>(),
    pods: new Map<string, NodePod>(),
    settings: null as MeshSettings | null,
  };
  const identity = { podName: 'agent', podNamespace: namespace, serviceAccount: 'culvert-agent' };
  const client = new XdsClient({
    endpoint: at,
    node: discoveryNode({ nodeName: 'ignored', podIp: '', clusterId: '', version: '', ...identity }),
    subscriptions: ['address', 'authorization', 'nodePod', 'settings'],
    log,
    onUpdate: ({ delta, settings, nodePods }) => {
      for (const workload of delta.workloads) known.workloads.set(workload.name, workload);
      for (const uid of delta.removedWorkloads)
        for (const [name, workload] of known.workloads)
          if (workload.uid === uid) known.workloads.delete(name);
      for (const pod of nodePods.set) known.pods.set(pod.name, pod);
      for (const uid of nodePods.removed)
        for (const [name, { podUid }] of known.pods) if (podUid === uid) known.pods.delete(name);
      known.settings = settings ?? known.settings;
    },
  });
  client.start();
  t.teardown(() => client.close());
  return { client, known };
}

const rootsThere = (fake: FakeApi) => (): boolean =>
  fake.get('configmaps', namespace, 'culvert-root') !== undefined;
const agentToken = 'node-a.culvert-system:culvert-agent';

t.test('from objects to agents, and from agents to pods', async t => {
  const fake = await cluster(t);
  const uid = pod(fake, 'web', 'node-a', '10.0.0.1');
  pod(fake, 'db', 'node-b', '10.0.0.2');
  const { control, admin, metrics, ready } = await plane(t, fake);
  await control.start();
  await until('roots are distributed', rootsThere(fake));
  t.equal((await ready()).body, 'ready\n');

  const at = endpoint(t, fake, control.port, agentToken);
  const { client, known } = agent(t, at);
  await until('the agent knows', () => client.state().synced && known.workloads.size === 2);
  t.match(known.settings, { trustDomain: 'cluster.local', enrolledNamespaces: ['shop'] });
  t.strictSame([...known.pods.keys()], ['web'], 'only pods of its own node');
  t.match(known.pods.get('web'), { podUid: uid, wanted: true, serviceAccount: 'web' });
  t.equal(known.workloads.get('web')?.tunnelProtocol, 'NONE', 'nobody has said that it is redirected');
  t.match(JSON.parse((await admin('/findings')).body), [
    { object: 'Pod shop/db', code: 'not-redirected' },
    { object: 'Pod shop/web', code: 'not-redirected' },
  ]);

  const reports = new Reports({ endpoint: at, log });
  t.teardown(() => reports.close());
  reports.set([{ podUid: uid, enrolled: true, code: '', message: '' }]);
  reports.start();
  await until(
    'others reach it through its tunnel',
    () => known.workloads.get('web')?.tunnelProtocol === 'HBONE',
  );
  t.match(fake.get('pods', 'shop', 'web')?.metadata.annotations, { 'culvert.dev/redirection': 'enabled' });
  t.match(JSON.parse((await admin('/status')).body), {
    ready: true,
    leads: true,
    problems: [],
    clients: { streams: 1, agents: 1 },
    resources: { address: 2, 'node-pod': 2, settings: 1 },
    findings: { error: 1 },
  });
  t.match((await metrics()).body, /culvert_control_objects\{kind="Pod"\} 2\n/);
  t.match((await metrics()).body, /culvert_control_redirections_written_total\{result="written"\} 1\n/);
  t.match(JSON.parse((await admin('/config_dump')).body), {
    workloads: { length: 2 },
    kinds: [{ synced: true }],
  });

  fake.put('namespaces', { metadata: { name: 'shop' } });
  await until('it is wanted no more', () => known.pods.get('web')?.wanted === false);
  fake.delete('pods', 'shop', 'web');
  await until('it is gone', () => !known.pods.has('web') && !known.workloads.has('web'));
});

t.test('certificates: what runs on the node of the token, and nothing else', async t => {
  const fake = await cluster(t);
  pod(fake, 'web', 'node-a', '10.0.0.1');
  pod(fake, 'db', 'node-b', '10.0.0.2');
  const { control } = await plane(t, fake);
  await control.start();
  await until('roots are distributed', rootsThere(fake));
  const ask = async (token: string, account: string) => {
    const service = new CertificateService({
      endpoint: endpoint(t, fake, control.port, token),
      ttlMs: () => 3_600_000,
    });
    t.teardown(() => service.close());
    const identity = `spiffe://cluster.local/ns/shop/sa/${account}`;
    return requestCertificate(service, identity, systemClock, AbortSignal.timeout(10_000));
  };
  t.match(await ask(agentToken, 'web'), { identity: 'spiffe://cluster.local/ns/shop/sa/web' });
  await t.rejects(ask(agentToken, 'db'), /CERTIFICATE_NOT_ON_NODE/);
  await t.rejects(ask('node-a.shop:web', 'web'), /CERTIFICATE_NOT_AN_AGENT/);
  await t.rejects(ask('forged', 'web'), /not authenticated/);
  fake.put('pods', {
    metadata: { namespace: 'shop', name: 'web' },
    spec: { nodeName: 'node-a', serviceAccountName: 'web' },
    status: { phase: 'Succeeded' },
  });
  await until('it is known to have ended', () => !control.pods.runs('node-a', 'shop', 'web'));
  await t.rejects(ask(agentToken, 'web'), /CERTIFICATE_NOT_ON_NODE/);
});

t.test('while the API server is away everything goes on with what is known', async t => {
  const fake = await cluster(t);
  pod(fake, 'web', 'node-a', '10.0.0.1');
  const { control, admin, ready } = await plane(t, fake);
  await control.start();
  await until('roots are distributed', rootsThere(fake));
  const at = endpoint(t, fake, control.port, agentToken);
  const first = agent(t, at);
  await until('the agent knows', () => first.client.state().synced);
  const { port } = fake;
  await fake.close();
  await until('it is noticed', () => control.problems().length > 0);
  t.equal((await ready()).status, 200);
  const second = agent(t, at);
  await until('who comes now is told too', () => second.known.workloads.has('web'));
  const service = new CertificateService({ endpoint: at, ttlMs: () => 3_600_000 });
  t.teardown(() => service.close());
  const identity = 'spiffe://cluster.local/ns/shop/sa/web';
  t.ok(await requestCertificate(service, identity, systemClock, AbortSignal.timeout(10_000)));
  t.match(JSON.parse((await admin('/status')).body).problems, [/KUBERNETES_UNREACHABLE/]);
  await fake.listen(port);
  pod(fake, 'late', 'node-a', '10.0.0.3');
  await until('changes come again', () => first.known.pods.has('late'));
  await until('all is well', () => control.problems().length === 0);
});

t.test('two replicas: one authority, one that writes, and a change of who does', async t => {
  const fake = await cluster(t);
  const one = await plane(t, fake, 'one');
  const two = await plane(t, fake, 'two');
  await Promise.all([one.control.start(), two.control.start()]);
  t.equal(one.control.authority?.roots(), two.control.authority?.roots());
  await until('one writes', () => one.control.lease.isLeader || two.control.lease.isLeader);
  const [leader, other] = one.control.lease.isLeader ? [one, two] : [two, one];
  await until('roots are distributed', rootsThere(fake));
  const { client } = agent(t, endpoint(t, fake, leader.control.port, agentToken));
  await until('the agent is there', () => client.state().synced);
  fake.delete('configmaps', namespace, 'culvert-root');
  await leader.control.drain();
  t.equal((await leader.ready()).body, 'not ready, draining\n');
  await until('the agent was let go', () => !client.state().connected);
  await until('the other writes', () => other.control.lease.isLeader);
  await until('what is missing is put back', rootsThere(fake));
  fake.put('authorizationpolicies', {
    metadata: { namespace: 'shop', name: 'deny', generation: 1 },
    spec: { action: 'DENY', rules: [{}] },
  });
  await until(
    'status is written',
    () => fake.get('authorizationpolicies', 'shop', 'deny')?.status !== undefined,
  );
});

/** An authority of somebody's own, in the entries of a Secret. */
function cacerts(): Record<string, string> {
  const [entry] = parseBundle(newBundle(Date.now()), 'test');
  if (entry === undefined || entry.privateKey === null) throw new Error('nothing was made');
  const pem = {
    'ca-cert.pem': entry.certificate.toString(),
    'ca-key.pem': entry.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    'root-cert.pem': entry.certificate.toString(),
  };
  return Object.fromEntries(
    Object.entries(pem).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
  );
}

t.test('a plugged-in authority is taken over with overlap, and none is made beside it', async t => {
  const fake = await cluster(t);
  fake.put('secrets', { metadata: { namespace, name: 'cacerts' }, data: cacerts() });
  const { control } = await plane(t, fake);
  await control.start();
  await until('roots are distributed', rootsThere(fake));
  t.equal(fake.get('secrets', namespace, 'culvert-ca'), undefined);
  const roots = (): string => control.authority?.roots() ?? '';
  const before = roots();
  fake.put('secrets', { metadata: { namespace, name: 'cacerts' }, data: cacerts() });
  await until('both are trusted', () => roots().length > before.length);
  t.ok(roots().startsWith(before), 'the one before signs until everybody trusts the new one');
  const distributed = (): unknown => fake.get('configmaps', namespace, 'culvert-root')?.data;
  await until(
    'both are distributed',
    () => JSON.stringify(distributed()) === JSON.stringify({ 'root.pem': roots() }),
  );
});

t.test('a plugged-in authority that can not be used does not stop the one before', async t => {
  const fake = await cluster(t);
  const { control } = await plane(t, fake);
  await control.start();
  await until('roots are distributed', rootsThere(fake));
  const before = control.authority?.roots();
  t.match(fake.get('secrets', namespace, 'culvert-ca')?.data, { 'authority.pem': /.{100}/ });
  fake.put('secrets', { metadata: { namespace, name: 'cacerts' }, data: { 'ca-cert.pem': 'aGVsbG8=' } });
  await until('it is refused', () =>
    control.problems().some(problem => problem.includes('AUTHORITY_INVALID')),
  );
  t.equal(control.authority?.roots(), before);
  fake.delete('secrets', namespace, 'cacerts');
  await until('all is well', () => control.problems().length === 0);
});

t.test('it waits for what it needs, says so, and can be stopped meanwhile', async t => {
  const fake = await cluster(t);
  fake.intercept = (request, response) => {
    if (request.url?.includes('/secrets') !== true) return false;
    refuse(response, 403, 'Forbidden', 'secrets is forbidden');
    return true;
  };
  const { control, ready } = await plane(t, fake);
  const started = control.start();
  await until('it has tried', () =>
    control.ready.pending().some(task => task.includes('secrets is forbidden')),
  );
  t.match(await ready(), { status: 500, body: /serving \(KUBERNETES_REFUSED/ });
  await Promise.all([t.rejects(started, /abort/i), control.stop()]);
});
