/**
 * Services through whole agents: a virtual address leads to a fit endpoint and the client never sees which.
 */
import t from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { type KubernetesObject, serviceObject, type ServicePort } from '../lab/kubernetes.ts';
import type { LabPod } from '../lab/pod.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const vip = {
  web: '10.96.0.10',
  self: '10.96.0.11',
  shaky: '10.96.0.12',
  empty: '10.96.0.13',
  sticky: '10.96.0.14',
};
/** Of a ServiceEntry. */
const ledger = '240.0.0.10';
const vip6 = 'fd00:10:96::10';

const web: ServicePort = { name: 'http', port: 80, targetPort: 'http' };

function service(
  name: string,
  labels: Readonly<Record<string, string>>,
  ...clusterIPs: readonly string[]
): KubernetesObject {
  return serviceObject({ name, namespace: 'shop', selector: labels, clusterIPs, ports: [web] });
}

function sticky(): KubernetesObject {
  const object = service('sticky', { app: 'web' }, vip.sticky);
  return { ...object, spec: { ...(object['spec'] as object), sessionAffinity: 'ClientIP' } };
}

const shop = { namespace: 'shop', ports: { http: 8080 } };
const stage = await AgentLab.create({
  name: 'services',
  agent: { shards: 2 },
  pods: [
    { ...shop, name: 'client', node: 'node-a', labels: { app: 'client' } },
    { ...shop, name: 'near', node: 'node-a', labels: { app: 'web', also: 'shaky' } },
    { ...shop, name: 'far', node: 'node-b', labels: { app: 'web', also: 'shaky' } },
    { ...shop, name: 'dead-near', node: 'node-a', labels: { also: 'shaky' } },
    { ...shop, name: 'dead-far', node: 'node-b', labels: { also: 'shaky' } },
  ],
  objects: [
    service('web', { app: 'web' }, vip.web, vip6),
    service('self', { app: 'client' }, vip.self),
    service('empty', { app: 'nobody' }, vip.empty),
    service('shaky', { also: 'shaky' }, vip.shaky),
    sticky(),
    {
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name: 'ledger', namespace: 'shop' },
      spec: {
        hosts: ['ledger.example'],
        addresses: [ledger],
        ports: [{ number: 5432, name: 'tcp', targetPort: 8080 }],
        resolution: 'STATIC',
        workloadSelector: { labels: { app: 'web' } },
      },
    },
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, near, far] = [stage.pod('client'), stage.pod('near'), stage.pod('far')];
for (const server of [client, near, far]) await (await stage.sockets(server)).serve('::', 8080);

/** Asks once and returns where the client thinks it is, and the line of its own agent. */
async function ask(
  address: string,
  port: number,
  from: LabPod = client,
): Promise<{ peer: unknown; local: string }> {
  const opened = await (await stage.sockets(from)).connect(address, port);
  await opened.send('ping');
  const answer = await opened.receive(4);
  if (answer !== 'ping') throw new Error(`"${answer}" instead of an answer`);
  await opened.close();
  const [host, localPort] = opened.local;
  return { peer: opened.peer, local: host.includes(':') ? `[${host}]:${localPort}` : `${host}:${localPort}` };
}

for (const address of [vip.web, vip6]) {
  t.test(`${address}: all endpoints have their share, and the client sees only the Service`, async t => {
    const sources: string[] = [];
    for (let n = 0; n < 30; n += 1) {
      const { peer, local } = await ask(address, 80);
      t.same(peer, [address, 80], 'getpeername()');
      sources.push(local);
    }
    const served = new Set<unknown>();
    for (const source of sources) {
      const line = await stage.line('node-a', { 'src.addr': source });
      t.equal(line['dst.service'], 'web.shop.svc.cluster.local');
      served.add(line['dst.workload']);
    }
    t.same(served, new Set(['far', 'near']), 'in 30 connections');
  });
}

t.test('an endpoint that is not ready gets nothing', async t => {
  await stage.describe(near, { ready: false });
  const sources: string[] = [];
  for (let n = 0; n < 10; n += 1) sources.push((await ask(vip.web, 80)).local);
  for (const source of sources) {
    t.match(await stage.line('node-a', { 'src.addr': source }), {
      'dst.workload': 'far',
      security: 'mutual_tls',
    });
  }
  await stage.describe(near);
});

t.test('endpoints that refuse are passed over, and no connection fails', async t => {
  const before = stage.lines('node-a').length;
  await Promise.all(Array.from({ length: 40 }, () => ask(vip.shaky, 80)));
  await t.resolves(ask(vip.shaky, 80));
  await stage.line('node-a', { 'dst.service': 'shaky.shop.svc.cluster.local', msg: 'connection complete' });
  const failed = stage
    .lines('node-a')
    .slice(before)
    .filter(line => line['code'] !== undefined);
  t.ok(failed.length > 0, 'though some were dialled in vain');
  for (const line of failed) t.match(line['dst.workload'], /^dead-/);
});

t.test('a Service whose only endpoint is the client itself', async t => {
  const opened = await (await stage.sockets(client)).connect(vip.self, 80);
  await opened.send('ping');
  t.equal(await opened.receive(4), 'ping');
  t.same(opened.peer, [vip.self, 80]);
  await opened.close();
  t.match(await stage.line('node-a', { 'src.addr': opened.local.join(':') }), { 'dst.workload': 'client' });
});

t.test('what leads nowhere is refused with its reason', async t => {
  for (const [address, port, code] of [
    [vip.empty, 80, 'NO_HEALTHY_ENDPOINT'],
    [vip.web, 81, 'UNKNOWN_PORT'],
  ] as const) {
    const opened = await (await stage.sockets(client)).connect(address, port);
    await t.rejects(opened.receive(1), { code: 'ECONNRESET' }, `${address}:${port}`);
    t.match(await stage.line('node-a', { 'src.addr': opened.local.join(':') }), { code });
  }
});

t.test('a Service that keeps its clients sends one of them always to the same endpoint', async t => {
  const served = async (times: number): Promise<unknown[]> => {
    const names = new Set<unknown>();
    for (let n = 0; n < times; n += 1) {
      const { local } = await ask(vip.sticky, 80);
      names.add((await stage.line('node-a', { 'src.addr': local }))['dst.workload']);
    }
    return [...names];
  };
  const before = await served(12);
  t.equal(before.length, 1);
  const [first, other] = before[0] === 'near' ? [near, far] : [far, near];
  await stage.describe(first, { ready: false });
  t.same(await served(1), [other.name], 'to another when that is not ready');
  await stage.describe(first);
  t.same(await served(12), [other.name], 'and it stays there, whichever shard it comes to');
});

t.test('a ServiceEntry leads to the pods it selects, with all that protects them', async t => {
  const { peer, local } = await ask(ledger, 5432);
  t.same(peer, [ledger, 5432]);
  t.match(await stage.line('node-a', { 'src.addr': local }), {
    'dst.service': 'ledger.example',
    'dst.workload': /^(near|far)$/,
    security: /^(local|mutual_tls)$/,
  });
});
