/**
 * A waypoint in a mesh: client → its agent → waypoint → the endpoint's agent → server, every hop a real process on nodes made of
 * network namespaces.
 */
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { eventually } from '../lab/eventually.ts';
import { type KubernetesObject, serviceObject } from '../lab/kubernetes.ts';
import type { LabPod } from '../lab/pod.ts';
import { makeOddCertificate, makeRoot } from '../tunnel/pki.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const launcher = fileURLToPath(new URL('../../cli/culvert', import.meta.url));
const vip = '10.96.0.20';

function service(
  name: string,
  clusterIP: string,
  selector: Record<string, string>,
  port: number,
): KubernetesObject {
  const ports = [{ name: port === 80 ? 'http' : 'tunnel', port, targetPort: port === 80 ? 8080 : port }];
  return serviceObject({ name, namespace: 'shop', selector, clusterIPs: [clusterIP], ports });
}

function routeObject(rules: readonly object[]): KubernetesObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { parentRefs: [{ group: '', kind: 'Service', name: 'web' }], rules },
  };
}

const canary = routeObject([
  {
    matches: [{ headers: [{ name: 'x-canary', value: 'yes' }] }],
    backendRefs: [{ name: 'v2', port: 80 }],
  },
  {
    matches: [{ path: { value: '/retry' } }],
    retry: { codes: [503], attempts: 3 },
    backendRefs: [{ name: 'web', port: 80 }],
  },
  {
    backendRefs: [
      { name: 'v1', port: 80, weight: 70 },
      { name: 'v2', port: 80, weight: 30 },
    ],
  },
]);

const web = service('web', vip, { app: 'web' }, 80);
const usesWaypoint: KubernetesObject = {
  ...web,
  metadata: { ...web.metadata, labels: { 'culvert.dev/use-waypoint': 'waypoint' } },
};
const gateway: KubernetesObject = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'waypoint', namespace: 'shop' },
  spec: {
    gatewayClassName: 'culvert-waypoint',
    listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
  },
};

const shop = { namespace: 'shop', ports: { http: 8080 } };
const stage = await AgentLab.create({
  name: 'waypoint',
  pods: [
    { ...shop, name: 'client', node: 'node-a', labels: { app: 'client' } },
    { ...shop, name: 'one', node: 'node-b', labels: { app: 'web', version: 'v1' } },
    { ...shop, name: 'two', node: 'node-a', labels: { app: 'web', version: 'v2' } },
    {
      namespace: 'shop',
      name: 'waypoint',
      serviceAccount: 'waypoint',
      node: 'node-b',
      labels: { app: 'waypoint', 'culvert.dev/dataplane-mode': 'none' },
    },
  ],
  objects: [
    gateway,
    service('waypoint', '10.96.0.2', { app: 'waypoint' }, 15008),
    usesWaypoint,
    service('v1', '10.96.0.21', { version: 'v1' }, 80),
    service('v2', '10.96.0.22', { version: 'v2' }, 80),
    canary,
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, one, two, proxy] = ['client', 'one', 'two', 'waypoint'].map(name => stage.pod(name)) as [
  LabPod,
  LabPod,
  LabPod,
  LabPod,
];

/** Says its name, and 503 to every other request for /retry. */
const server = `let n = 0; require('node:http').createServer((q, r) => {
  if (q.url === '/retry' && n++ % 2 === 0) r.writeHead(503);
  r.end(process.argv[1] + ' ' + q.socket.remoteAddress + '\\n');
}).listen(8080)`;
for (const pod of [one, two]) pod.spawn(process.execPath, ['-e', server, pod.name]);
const accessLog = join(stage.lab.directory, 'waypoint.log');
const waypoint = proxy.spawn(launcher, [
  'waypoint',
  'run',
  '--config',
  stage.configDir,
  '--name',
  'shop/waypoint',
  '--access-log',
  accessLog,
]);
await eventually(
  async () =>
    !waypoint.running ||
    (await proxy.run('curl', ['-sf', 'http://127.0.0.1:15021/healthz/ready'], { check: false })).code === 0,
  { what: 'the waypoint' },
);
if (!waypoint.running) throw new Error(waypoint.stderr() + waypoint.stdout());

async function curl(...args: readonly string[]): Promise<string> {
  return (await client.run('curl', ['-sS', '--max-time', '10', ...args], { check: false })).stdout.trim();
}

function lines(): Record<string, unknown>[] {
  const text = readFileSync(accessLog, 'utf8');
  return text
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as Record<string, unknown>);
}

t.test('a request goes through the waypoint, with identities from end to end', async t => {
  const answer = await eventually(async () => (await curl(`http://${vip}/hello`)) || undefined, {
    what: 'an answer',
  });
  t.match(answer, /^(one|two) /);
  const line = await eventually(() => lines().find(({ path }) => path === '/hello'), { what: 'its line' });
  t.match(line, {
    'src.workload': 'client',
    'src.identity': /\/ns\/shop\/sa\//,
    'dst.service': 'web.shop.svc.cluster.local',
    'dst.identity': /\/ns\/shop\/sa\//,
    security: 'mutual_tls',
    route: /^HTTPRoute shop\/web rule 3/,
    status: 200,
  });
  t.match(await stage.line('node-a', { 'src.workload': 'client', direction: 'outbound' }), {
    'dst.workload': 'waypoint',
    security: 'mutual_tls',
  });
  const node = answer.startsWith('one') ? 'node-b' : 'node-a';
  t.match(await stage.line(node, { 'src.workload': 'waypoint', direction: 'inbound' }), {
    security: 'mutual_tls',
  });
});

t.test('a canary by header, and weights for the others', async t => {
  for (let n = 0; n < 5; n += 1) t.match(await curl('-H', 'x-canary: yes', `http://${vip}/`), /^two /);
  const urls = Array.from({ length: 1_000 }, () => `http://${vip}/`);
  const { stdout } = await client.run('curl', ['-sS', ...urls]);
  const answers = stdout.trim().split('\n');
  const share = answers.filter(text => text.startsWith('two')).length / urls.length;
  t.equal(answers.length, urls.length);
  t.ok(Math.abs(share - 0.3) < 0.06, `${share}`);
});

t.test('retries save every request', async t => {
  const urls = Array.from({ length: 20 }, () => [
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}\n',
    `http://${vip}/retry`,
  ]);
  const { stdout } = await client.run('curl', ['-sS', ...urls.flat()]);
  t.same(new Set(stdout.trim().split('\n')), new Set(['200']));
  await eventually(() => lines().some(({ attempts }) => attempts === 2), { what: 'a second try' });
});

t.test('TLS goes to the pod that its name says, and nobody on the way opens it', async t => {
  const root = makeRoot();
  const secureServer = `const [name, cert, key] = process.argv.slice(1);
    require('node:https').createServer({ cert, key }, (q, r) => r.end(name)).listen(8443)`;
  for (const pod of [one, two]) {
    const host = `${pod.name}.example.org`;
    const { certificatePem, privateKeyPem } = makeOddCertificate(root, { names: [[2, host]] });
    pod.spawn(process.execPath, ['-e', secureServer, pod.name, certificatePem, privateKeyPem]);
  }
  const secure = (name: string, clusterIP: string, selector: Record<string, string>): KubernetesObject =>
    serviceObject({
      name,
      namespace: 'shop',
      selector,
      clusterIPs: [clusterIP],
      ports: [{ name: 'tls', port: 443, targetPort: 8443 }],
    });
  const route = (pod: string, version: string): KubernetesObject => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'TLSRoute',
    metadata: { name: pod, namespace: 'shop' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'secure' }],
      hostnames: [`${pod}.example.org`],
      rules: [{ backendRefs: [{ name: version, port: 443 }] }],
    },
  });
  const target = secure('secure', '10.96.0.30', { app: 'web' });
  await stage.apply('secure.yaml', [
    { ...target, metadata: { ...target.metadata, labels: { 'culvert.dev/use-waypoint': 'waypoint' } } },
    secure('s1', '10.96.0.31', { version: 'v1' }),
    secure('s2', '10.96.0.32', { version: 'v2' }),
    route('one', 's1'),
    route('two', 's2'),
  ]);
  writeFileSync(join(stage.lab.directory, 'root.pem'), root.pem);
  const ask = (name: string): Promise<string> =>
    curl(
      '--cacert',
      join(stage.lab.directory, 'root.pem'),
      '--resolve',
      `${name}.example.org:443:10.96.0.30`,
      `https://${name}.example.org/`,
    );
  await eventually(async () => (await ask('one')) === 'one', { what: 'an answer of one' });
  t.equal(await ask('two'), 'two');
  t.equal(await ask('three'), '', 'no route is for it');
  const line = await eventually(() => lines().find(({ sni }) => sni === 'three.example.org'), {
    what: 'why it was refused',
  });
  t.match(line, { code: 'NO_ROUTE', 'src.workload': 'client' });
});

t.test('without the label nothing passes it', async t => {
  await stage.apply('objects.yaml', [web, service('v1', '10.96.0.21', { version: 'v1' }, 80)]);
  t.match(await curl('-H', 'x-canary: yes', `http://${vip}/direct`), /^(one|two) /);
  t.notOk(lines().some(({ path }) => path === '/direct'));
});

t.test('no waypoint, no way around it', async t => {
  await stage.apply('objects.yaml', [
    gateway,
    service('waypoint', '10.96.0.2', { app: 'waypoint' }, 15008),
    usesWaypoint,
  ]);
  t.match(await curl(`http://${vip}/`), /^(one|two) /, 'a service without routes gets its requests itself');
  await waypoint.stop('SIGTERM', 10_000);
  t.equal(await curl(`http://${vip}/`), '');
});
