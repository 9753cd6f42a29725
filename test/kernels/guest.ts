/**
 * What is tried on another kernel, inside the emulated machine: programs load, two real agents carry bytes between pods
 * of one node and of two, ends and addresses are right, policy refuses, a killed agent leaves its pods closed.
 *
 * Reports by lines that the host turns into assertions: `CHECK ok NAME` or `CHECK failed NAME: why`.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { closeAll } from '../../agent/redirect-pins.ts';
import { createMaps } from '../../agent/redirect-programs.ts';
import type { AgentStatus } from '../../agent/status.ts';
import { openObject, probe } from '../../native/native.ts';
import type { AgentProcess } from '../lab/agent-process.ts';
import { eventually } from '../lab/eventually.ts';
import { enrolled, serviceObject, writeObjects, type KubernetesObject } from '../lab/kubernetes.ts';
import { Lab } from '../lab/lab.ts';
import type { LabPod } from '../lab/pod.ts';

const patternPort = 7000;
const loadPort = 7001;
const splicePort = 7002;
const nonblocking = { NONBLOCKING: '1' };
const program = (name: string): string => `/culvert/bench/build/${name}`;
/** Emulation is slow; nothing here is about speed. */
const patience = 180_000;

function report(name: string, problem: string | null): void {
  process.stdout.write(
    problem === null ? `CHECK ok ${name}\n` : `CHECK failed ${name}: ${problem.replaceAll('\n', ' ')}\n`,
  );
}

async function check(name: string, act: () => Promise<void> | void): Promise<void> {
  try {
    await act();
    report(name, null);
  } catch (error) {
    report(name, error instanceof Error ? error.message : String(error));
  }
}

function must(condition: boolean, why: string): void {
  if (!condition) throw new Error(why);
}

/** Bytes both ways with random sizes and half-close, each compared; throws with what was wrong. */
async function pattern(client: LabPod, address: string, ...more: readonly string[]): Promise<void> {
  await patternAt(patternPort, client, address, ...more);
}

async function patternAt(
  port: number,
  client: LabPod,
  address: string,
  ...more: readonly string[]
): Promise<void> {
  const args = [
    'client',
    address,
    String(port),
    '--up',
    '3000000',
    '--down',
    '2000000',
    '--sessions',
    '2',
    ...more,
  ];
  const result = await client.run(program('pattern'), args, {
    check: false,
    timeoutMs: patience,
  });
  must(result.code === 0, `exit ${result.code}: ${result.stdout.slice(-300)} ${result.stderr.slice(-300)}`);
}

/** How often the kernel has decided so. */
function decided(agent: AgentProcess, decision: string): Promise<number> {
  return agent.metric('culvert_redirect_decisions_total', { decision });
}

async function lines(agent: AgentProcess, count: number): Promise<Record<string, unknown>[]> {
  let found: Record<string, unknown>[] = [];
  await eventually(
    () => {
      const text = readFileSync(agent.accessLogPath, 'utf8').trim();
      found = text === '' ? [] : text.split('\n').map(line => JSON.parse(line) as Record<string, unknown>);
      return found.length >= count;
    },
    { timeoutMs: patience, what: `${count} access lines` },
  );
  return found;
}

const vip = '10.96.0.10';
const service = serviceObject({
  name: 'near',
  namespace: 'shop',
  selector: { app: 'near' },
  clusterIPs: [vip],
  ports: [{ name: 'tcp', port: patternPort }],
});

const deny: KubernetesObject = {
  apiVersion: 'culvert.dev/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'deny-client', namespace: 'shop' },
  spec: {
    action: 'DENY',
    rules: [{ from: [{ source: { principals: ['cluster.local/ns/shop/sa/client'] } }] }],
  },
};

await check('every kernel feature that is needed', () => {
  const missing = probe().filter(feature => !feature.available && !/set_retval|BTF/.test(feature.name));
  must(missing.length === 0, missing.map(feature => `${feature.name} (${feature.detail})`).join(', '));
});

// The agent falls back to what every kernel has, and would do so in silence.
const [major = 0, minor = 0] = release().split('.').map(Number);
if (major > 6 || (major === 6 && minor >= 2)) {
  await check('joined writes read the kernel by loads', () => {
    const reuseMaps = createMaps();
    const options = { rodata: { have_cast: 1 }, reuseMaps, maxEntries: {}, skipPrograms: [] };
    const object = openObject('/culvert/bpf/build/join.bpf.o', options);
    try {
      object.load();
    } finally {
      object.close();
      closeAll(reuseMaps);
    }
  });
}

await using lab = await Lab.create({ name: 'vm', nodes: ['node-a', 'node-b'], ipv6: true });
const [client, near, far] = await lab.pods([
  { name: 'client', namespace: 'shop', node: 'node-a', serviceAccount: 'client' },
  { name: 'near', namespace: 'shop', node: 'node-a', serviceAccount: 'near', labels: { app: 'near' } },
  { name: 'far', namespace: 'shop', node: 'node-b', serviceAccount: 'far' },
]);
if (client === undefined || near === undefined || far === undefined) throw new Error('the lab made no pods');
const configDir = join(lab.directory, 'config');
mkdirSync(configDir, { recursive: true });
lab.writeConfig(configDir, { namespaceLabels: { shop: enrolled }, objects: [service] });
for (const pod of [near, far]) pod.spawn(program('pattern'), ['server', String(patternPort), 'nonblocking']);
near.spawn(program('pattern'), ['server', String(splicePort), 'nonblocking', 'splice']);
far.spawn(program('load'), ['server', String(loadPort)], { env: nonblocking });

const start = async (name: string): Promise<AgentProcess> => {
  const agent = await lab.agent(lab.node(name), {
    configDir,
    waitUntilReady: false,
    args: ['--kernel-path', 'join'],
  });
  try {
    await agent.ready(patience);
  } catch (error) {
    process.stdout.write(
      `${agent.process.stdout().slice(-3_000)}\n${agent.process.stderr().slice(-3_000)}\n`,
    );
    throw error;
  }
  return agent;
};
const [a, b] = [await start('node-a'), await start('node-b')];

await check('same node, IPv4', () => pattern(client, near.addresses.v4));
await check('other node, IPv4', () => pattern(client, far.addresses.v4));
if (far.addresses.v6 !== null) {
  const [nearV6, farV6] = [near.addresses.v6 ?? '', far.addresses.v6];
  await check('same node, IPv6', () => pattern(client, nearV6));
  await check('other node, IPv6', () => pattern(client, farV6));
}
await check('identities and addresses in the access log', async () => {
  const [line] = (await lines(b, 1)).filter(it => it['direction'] === 'inbound');
  const { 'src.identity': identity, 'src.addr': address, security } = line ?? {};
  must(identity === 'spiffe://cluster.local/ns/shop/sa/client', `source is ${String(identity)}`);
  must(String(address).startsWith(client.addresses.v4), `source address is ${String(address)}`);
  must(security === 'mutual_tls', `security is ${String(security)}`);
});
await check('the kernel path is fit', async () => {
  const { kernelPath } = JSON.parse(await a.admin('/status')) as AgentStatus;
  must(kernelPath.mode === 'join' && kernelPath.problem === null, JSON.stringify(kernelPath));
});
await check('same node, joined by the kernel', async () => {
  await pattern(client, near.addresses.v4, '--nonblocking');
  const before = await decided(a, 'path_joined');
  // The first by the agent, the second to see what the programs are like.
  await eventually(
    async () => {
      await pattern(client, near.addresses.v4, '--nonblocking');
      return (await decided(a, 'path_joined')) > before;
    },
    { timeoutMs: patience, what: 'a join' },
  );
});
await check('same node, a program that splices is seen and not joined', async () => {
  const before = await decided(a, 'path_unfit');
  await eventually(
    async () => {
      await patternAt(splicePort, client, near.addresses.v4, '--nonblocking');
      return (await decided(a, 'path_unfit')) > before;
    },
    { timeoutMs: patience, what: 'a connection that is not joined' },
  );
});
await check('same node by a Service, drawn by the kernel', async () => {
  await eventually(
    async () => {
      await pattern(client, vip);
      return (await decided(a, 'path_service')) > 0;
    },
    { timeoutMs: patience, what: 'a draw' },
  );
});
await check('other node, with joined legs', async () => {
  const before = await decided(a, 'leg_joined');
  // One small message at a time: what is slow hands a stream over in large pieces, which are not worth a join.
  const args = ['rtt', far.addresses.v4, String(loadPort), '1'];
  await client.run(program('load'), args, { env: nonblocking, timeoutMs: patience });
  must((await decided(a, 'leg_joined')) > before, 'no leg was joined');
});
await check('policy refuses', async () => {
  writeObjects(join(configDir, 'deny.yaml'), [deny]);
  await eventually(async () => (await b.admin('/config_dump')).includes('deny-client'), {
    timeoutMs: patience,
    what: 'the policy',
  });
  const refused = await pattern(client, far.addresses.v4).then(
    () => null,
    (error: unknown) => error,
  );
  must(refused !== null, 'the connection went through');
});
await check('a killed agent leaves its pods closed', async () => {
  await a.kill();
  const refused = await pattern(client, near.addresses.v4).then(
    () => null,
    (error: unknown) => error,
  );
  must(refused !== null, 'the connection went through');
});
