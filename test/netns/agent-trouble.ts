/**
 * What is wrong is said: a pod that cannot be enrolled, and an agent that cannot start. Nothing of it stops anything else.
 */
import { join } from 'node:path';
import t from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { eventually } from '../lab/eventually.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const stage = await AgentLab.create({
  name: 'trouble',
  nodes: ['node-a'],
  pods: [{ name: 'client', namespace: 'shop', node: 'node-a' }],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [node, agent, client] = [stage.lab.node('node-a'), stage.agent('node-a'), stage.pod('client')];
const launcher = join(import.meta.dirname, '../../cli/culvert');

for (const [port, what] of [
  [15_001, 'connections of applications'],
  [15_006, 'plain TCP'],
  [15_008, 'tunnels'],
] as const) {
  t.test(`a pod whose program has the port of ${what} stays out of the mesh until it is free`, async t => {
    const pod = await stage.lab.pod({ name: `taken-${port}`, namespace: 'shop', node: 'node-a' });
    const program = await stage.sockets(pod);
    await program.serve('::', 8080);
    const taken = await program.listen('::', port);
    await stage.describe();
    const find = async () => (await stage.status('node-a')).pods.find(({ name }) => name === pod.name);
    const problem = await eventually(async () => (await find())?.problem, { what: 'its problem' });
    t.match(problem, new RegExp(`${port}.*(EADDRINUSE|in use)`), 'status says which port and why');
    t.equal(await agent.metric('workload_manager_pending_proxy_count'), 1, 'a metric counts it');
    const { code, stdout } = await node.run(launcher, ['status'], { check: false });
    t.equal(code, 1);
    t.match(stdout, new RegExp(`shop/${pod.name} .*FAILED.*${port}`));
    t.ok(stage.agent('node-a').process.stdout().includes('pod not enrolled'), 'and so does the log');

    const opened = await program
      .connect(stage.lab.outside.address, 1)
      .catch((error: { code: string }) => error.code);
    t.equal(opened, 'ECONNREFUSED', 'it is as it was: nothing of it is captured');

    await taken.close();
    await stage.untilEnrolled(pod);
    t.equal(await agent.metric('workload_manager_pending_proxy_count'), 0, 'once it is free all is well');
    const inside = await (await stage.sockets(client)).connect(pod.address, 8080);
    await inside.send('ping');
    t.equal(await inside.receive(4), 'ping');
    await inside.close();
    await stage.endProgram(pod);
    await pod.delete();
    await stage.describe();
  });
}

interface Refusal {
  readonly name: string;
  readonly argv: readonly string[];
  readonly code: number;
  readonly says: readonly RegExp[];
}

const state = ['--state-dir', join(stage.lab.directory, 'other'), '--bpffs', agent.bpffs];
const run = [launcher, 'run', '--node', 'node-z', ...state];
const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'];

const refusals: readonly Refusal[] = [
  { name: 'no configuration directory given', argv: run, code: 64, says: [/--config/] },
  {
    name: 'a configuration directory that is not there',
    argv: [...run, '--config', '/nowhere/at/all'],
    code: 64,
    says: [/CONFIG_/, /\/nowhere\/at\/all/],
  },
  {
    name: 'several wrong options',
    argv: [
      ...run,
      '--config',
      stage.configDir,
      '--shards',
      'many',
      '--admin-port',
      '0',
      '--limit',
      'speed=1',
    ],
    code: 64,
    says: [/--shards many/, /--admin-port 0/, /--limit speed=1/],
  },
  {
    name: 'in the place of an agent whose maps have other sizes',
    argv: [
      launcher,
      'run',
      '--node',
      'node-a',
      '--config',
      stage.configDir,
      '--state-dir',
      agent.stateDirectory,
    ],
    code: 69,
    says: [/HANDOVER_LAYOUT/, /stop the running agent first/],
  },
  {
    name: 'a cgroup root that is none',
    argv: [...run, '--config', stage.configDir, '--cgroup-root', stage.lab.directory],
    code: 69,
    says: [/cgroup v2/],
  },
  {
    name: 'no root',
    argv: ['env', '-u', 'NODE_OPTIONS', ...nobody, ...run, '--config', stage.configDir],
    code: 69,
    says: [/MACHINE_UNFIT/, /root/],
  },
  {
    name: 'an admin port that is taken',
    argv: [...run, '--config', stage.configDir, '--cgroup-root', node.cgroup, '--ready-port', '15321'],
    code: 69,
    says: [/15000/, /in use|EADDRINUSE/],
  },
];

for (const { name, argv, code, says } of refusals) {
  t.test(`it does not start, and says why: ${name}`, async t => {
    const [file = '', ...args] = argv;
    const ended = await node.run(file, args, { check: false, timeoutMs: 15_000 });
    t.equal(ended.code, code, ended.stderr);
    for (const pattern of says) t.match(ended.stderr, pattern);
    t.notMatch(ended.stderr, /^\s+at .*:\d+:\d+/m, 'in words, not in a stack trace');
    t.ok(ended.stderr.split('\n').length < 10, 'in a few lines');
  });
}

t.test('and the agent that runs has noticed nothing', async t => {
  t.equal((await stage.status('node-a')).ready, true);
  t.same(
    (await stage.status('node-a')).pods.map(pod => pod.problem),
    [null],
  );
});
