/**
 * Names as programs in an enrolled pod look them up: those of the mesh, all others, and with no agent at all.
 */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { serviceObject } from '../lab/kubernetes.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const vip = ['10.96.0.10', 'fd00:10:96::10'] as const;
const named = { namespace: 'shop', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] };
const stage = await AgentLab.create({
  name: 'dns',
  pods: [
    { name: 'client', namespace: 'shop', node: 'node-a' },
    { name: 'near', namespace: 'shop', node: 'node-a', labels: { app: 'web' } },
    { name: 'far', namespace: 'shop', node: 'node-b', labels: { app: 'web' } },
    { name: 'foreign', namespace: 'legacy', node: 'node-a' },
  ],
  objects: [
    serviceObject({ ...named, name: 'web', clusterIPs: vip }),
    serviceObject({ ...named, name: 'headless', clusterIPs: [] }),
    {
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name: 'ledger', namespace: 'shop' },
      spec: {
        hosts: ['ledger.example'],
        ports: [{ number: 5432, name: 'tcp', targetPort: 8080 }],
        resolution: 'STATIC',
        workloadSelector: { labels: { app: 'web' } },
      },
    },
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, near, far, { outside }] = [
  stage.pod('client'),
  stage.pod('near'),
  stage.pod('far'),
  stage.lab,
];
const server = outside.spawn('python3', [
  join(import.meta.dirname, '../help/dns-server.py'),
  outside.address,
]);
await server.says(/listening/);
for (const pod of [near, far]) await (await stage.sockets(pod)).serve('::', 8080);

/** Everything that the C library finds, by UDP or, with `use-vc`, by TCP. */
async function lookUp(name: string, way: 'udp' | 'tcp', database = 'ahosts'): Promise<string[]> {
  const env = { RES_OPTIONS: way === 'tcp' ? 'use-vc' : '' };
  const { stdout } = await client.run('getent', [database, name], { env, check: false });
  return [...new Set(stdout.split('\n').flatMap(line => line.split(/\s+/)[0] || []))].sort();
}

/** What the server outside was asked. */
const asked = (): string[] =>
  server
    .stdout()
    .split('\n')
    .filter(line => /^(udp|tcp)/.test(line));

for (const way of ['udp', 'tcp'] as const) {
  t.test(`${way}: a Service by all of its names`, async t => {
    const before = asked().length;
    for (const name of [
      'web',
      'web.shop',
      'web.shop.svc',
      'web.shop.svc.cluster.local',
      'web.shop.svc.cluster.local.',
    ]) {
      t.same(await lookUp(name, way), [...vip].sort(), name);
      t.same(await lookUp(name, way, 'ahostsv4'), [vip[0]], `${name}, IPv4 alone`);
    }
    t.same(asked().slice(before), [], 'nobody outside was asked');
  });

  t.test(`${way}: a headless Service is its pods`, async t => {
    const pods = [near, far].flatMap(pod => [pod.address, pod.address6]);
    t.same(await lookUp('headless', way), pods.sort());
  });

  t.test(`${way}: all other names are asked where the pod would have asked`, async t => {
    await resolvesOthers(t, way);
  });

  t.test(`${way}: a name that nobody knows does not exist`, async t => {
    t.same(await lookUp('nowhere.invalid', way), []);
    t.same(await lookUp('nothing.shop.svc.cluster.local.', way), []);
  });
}

async function resolvesOthers(t: Test, way: 'udp' | 'tcp'): Promise<void> {
  const before = asked().length;
  t.same(await lookUp('www.example.', way, 'ahostsv4'), ['192.0.2.7']);
  const queries = asked().slice(before);
  t.ok(
    queries.includes(`${way} ${client.address} www.example. 1`),
    `the same way and by the pod itself: ${queries.join('; ')}`,
  );
}

t.test('a program that knows only names comes through the mesh', async t => {
  const python = [
    'import socket',
    's = socket.create_connection(("web", 80))',
    's.sendall(b"ping")',
    'print(s.recv(4))',
  ];
  const { stdout } = await client.run('python3', ['-c', python.join('\n')]);
  t.equal(stdout.trim(), "b'ping'");
  t.match(await stage.line('node-a', { 'dst.service': 'web.shop.svc.cluster.local' }), {
    'src.workload': 'client',
  });
});

t.test('a host without addresses gets one, by which it is known where a connection goes', async t => {
  const before = asked().length;
  const [v6 = '', v4 = ''] = await lookUp('ledger.example.', 'udp');
  t.match([v4, v6], [/^240\.240\./, /^2001:2::f0f0:/]);
  t.same(asked().slice(before), [], 'nobody outside was asked');
  for (const address of [v4, v6]) {
    const opened = await (await stage.sockets(client)).connect(address, 5432);
    await opened.send('ping');
    t.equal(await opened.receive(4), 'ping', address);
    await opened.close();
  }
  await stage.line('node-a', { 'dst.service': 'ledger.example' });
});

t.test('a pod outside the mesh asks its own server alone', async t => {
  const { code } = await stage.pod('foreign').run('getent', ['ahosts', 'web.shop'], { check: false });
  t.not(code, 0, 'which knows nothing of Services');
});

t.test('queries are counted', async t => {
  const agent = stage.agent('node-a');
  t.ok((await agent.metric('istio_dns_requests_total', { request_protocol: 'udp' })) > 0);
  t.ok((await agent.metric('istio_dns_upstream_requests_total', { request_protocol: 'tcp' })) > 0);
});

t.test('without an agent names still resolve, though the pod is fail-closed', async t => {
  await stage.agent('node-a').kill();
  await t.rejects((await stage.sockets(client)).connect(far.address, 8080), { code: 'ECONNREFUSED' });
  for (const way of ['udp', 'tcp'] as const) await resolvesOthers(t, way);
  await stage.startAgent('node-a');
  t.same(await lookUp('web', 'udp', 'ahostsv4'), [vip[0]], 'and with a new one those of the mesh as well');
});
