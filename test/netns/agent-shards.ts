/**
 * Several shards in one agent: each carries its share, whatever the kernel's hash says, and of one that hangs only what it
 * carried is lost. What had come to it in the meantime is served by its successor.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import type { RemoteConnection } from '../help/remote-sockets.ts';
import { eventually } from '../lab/eventually.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const stage = await AgentLab.create({
  name: 'shards',
  pods: [
    { name: 'client', namespace: 'shop', node: 'node-a' },
    { name: 'near', namespace: 'shop', node: 'node-a' },
    { name: 'far', namespace: 'shop', node: 'node-b' },
  ],
  // What the kernel carries is no shard's.
  agent: { shards: 2, args: ['--limit', 'shardHangMs=1500', '--kernel-path', 'off'] },
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, near, far] = [stage.pod('client'), stage.pod('near'), stage.pod('far')];
const agent = stage.agent('node-a');
const port = 8080;
for (const server of [near, far]) await (await stage.sockets(server)).serve('::', port);
const frozen = 'shard-0';

async function open(to = near): Promise<RemoteConnection> {
  const opened = await (await stage.sockets(client)).connect(to.address, port);
  await opened.send('ping');
  if ((await opened.receive(4)) !== 'ping') throw new Error('no answer');
  return opened;
}

/** Connections by the shard that carries them. */
async function byShard(all: readonly RemoteConnection[]): Promise<Record<'0' | '1', RemoteConnection[]>> {
  const views = JSON.parse(await agent.admin('/connections')) as { id: string; source: string }[];
  const shardOf = new Map(views.map(({ id, source }) => [source, id.split('-')[0]]));
  const of = (shard: string): RemoteConnection[] =>
    all.filter(it => shardOf.get(it.local.join(':')) === shard);
  return { 0: of('0'), 1: of('1') };
}

/** What each shard of a node's agent has, in the order of shards. */
function ofShards(node: string, metric: string, labels: Readonly<Record<string, string>> = {}) {
  const of = (shard: number) => stage.agent(node).metric(metric, { ...labels, shard: String(shard) });
  return Promise.all([of(0), of(1)]);
}

/** Connections to the other node, and who carries them: a hash would deal out evenly one time in a few. */
async function spread(t: Test): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    const opened = await Promise.all(Array.from({ length: 24 }, () => open(far)));
    for (const node of ['node-a', 'node-b']) {
      const [first, second] = await ofShards(node, 'culvert_shard_connections');
      t.equal(first + second, 24, `${node} carries all`);
      t.ok(Math.min(first, second) >= 10, `${node}: ${first} and ${second}`);
    }
    t.same(await ofShards('node-b', 'culvert_tunnels', { direction: 'inbound' }), [1, 1], 'tunnels as well');
    await Promise.all(opened.map(connection => connection.close()));
    for (const node of ['node-a', 'node-b'])
      await eventually(async () => (await stage.agent(node).metric('culvert_shard_connections')) === 0);
  }
}

function threadOf(name: string): string {
  const tasks = `/proc/${agent.pid}/task`;
  const thread = readdirSync(tasks).find(id => readFileSync(join(tasks, id, 'comm'), 'utf8').trim() === name);
  if (thread === undefined) throw new Error(`the agent has no thread ${name}`);
  return thread;
}

t.test('both shards of both agents carry their share', t => spread(t));

t.test('and with more listeners than shards, that an agent with more has left', async t => {
  for (const shards of [3, 2]) await stage.replaceAgent('node-b', { shards });
  await spread(t);
});

t.test('a shard that hangs is replaced, and the other one goes on', async t => {
  const opened = await Promise.all(Array.from({ length: 24 }, () => open()));
  const of = await byShard(opened);
  t.ok(of[0].length > 0 && of[1].length > 0, `${of[0].length} and ${of[1].length} connections`);

  const program = join(import.meta.dirname, '../help/freeze-thread.py');
  const freezer = stage.lab.node('node-a').spawn('python3', [program, threadOf(frozen)]);
  await freezer.says(/frozen/);
  for (const connection of of[1]) {
    await connection.send('pong');
    t.equal(await connection.receive(4), 'pong', 'a connection of the other shard goes on');
  }
  const lost = of[0].map(it => it.receive(1).catch((error: { code: string }) => error.code));
  const waiting = Array.from({ length: 24 }, () => open());
  await agent.process.says(/"shard":0,.*a shard hangs; terminating it/);
  freezer.stdin.end();
  for (const end of await Promise.all(lost)) t.ok(['', 'ECONNRESET'].includes(end), 'what it carried ends');
  await t.resolves(Promise.all(waiting), 'who came meanwhile is served, by the other or by the successor');
  for (const connection of of[1]) {
    await connection.send('pong');
    t.equal(await connection.receive(4), 'pong', 'the other shard has noticed nothing');
  }
  await eventually(async () => (await agent.metric('culvert_shards', { state: 'running' })) === 2);
  t.equal(await agent.metric('culvert_shard_restarts_total'), 1, 'counted');

  const again = await Promise.all(Array.from({ length: 24 }, () => open()));
  t.ok((await byShard(again))[0].length > 0, 'and the successor has its share');
  t.equal((await stage.status('node-a')).ready, true);
});
