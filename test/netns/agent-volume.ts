/**
 * A lot at once through whole agents: many bytes, many connections, and a reader that does not read.
 */
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import type { RemoteConnection } from '../help/remote-sockets.ts';
import { WaysLab } from '../help/ways-lab.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

// More shards than one, on whatever machine: one of its own for some of the crowd.
const lab = await WaysLab.create('volume', { shards: 2 });
t.teardown(() => lab[Symbol.asyncDispose]());
const { agents: stage, all: ways } = lab;

const megabytes = 100;
const mebibyte = 1 << 20;

const residents = (): number =>
  ['node-a', 'node-b'].reduce((sum, node) => sum + stage.agent(node).residentBytes(), 0);

for (const way of ways) {
  t.test(`${way.name}: 100 MiB each way at the same time arrive whole`, async t => {
    const [opened, accepted] = await lab.connected(way, 7100);
    const [up, upSeen, down, downSeen] = await Promise.all([
      opened.pour(megabytes, 1),
      accepted.drink(),
      accepted.pour(megabytes, 2),
      opened.drink(),
    ]);
    t.equal(up.bytes, megabytes * mebibyte);
    t.same(upSeen, up, 'client to server');
    t.same(downSeen, down, 'server to client');
    await Promise.all([opened.close(), accepted.close()]);
  });

  for (const writer of ['client', 'server']) {
    t.test(`${way.name}: a reader that does not read holds back the ${writer}`, async t => {
      const [opened, accepted] = await lab.connected(way, 7200);
      const [from, to] = writer === 'client' ? [opened, accepted] : [accepted, opened];
      const before = residents();
      const pouring = from.pour(megabytes, 3);
      const stuck = await untilStuck(from);
      t.ok(stuck < 40 * mebibyte, `the writer is held back after ${stuck} bytes`);
      t.ok(residents() - before < 40 * mebibyte, 'and the agents do not keep what nobody takes');
      t.same(await to.drink(), await pouring, 'when it reads at last, everything is there');
      await Promise.all([opened.close(), accepted.close()]);
    });
  }

  t.test(`${way.name}: 2 000 connections at once`, async t => {
    const [clients, servers] = await Promise.all([stage.sockets(way.from), stage.sockets(way.to)]);
    const port = 7300 + ways.indexOf(way);
    await servers.serve(way.to.address, port);
    t.same(await clients.crowd(way.to.address, port, 2_000), {}, 'each got its own answer');
  });
}

t.test('both shards had their share', async t => {
  for (const node of ['node-a', 'node-b']) {
    const running = await stage.agent(node).metric('culvert_shards', { state: 'running' });
    t.equal(running, 2, node);
    t.equal(await stage.agent(node).metric('culvert_shard_restarts_total'), 0, `${node}: and none has died`);
  }
});

/** Waits until the writer gets no further: the same number in ten answers, one after the other. */
async function untilStuck(writer: RemoteConnection): Promise<number> {
  let last = 0;
  let times = 0;
  await eventually(
    async () => {
      const now = await writer.progress();
      times = now === last ? times + 1 : 0;
      last = now;
      return now > 0 && times >= 10;
    },
    { what: 'a writer that waits', intervalMs: 50, timeoutMs: 30_000 },
  );
  return last;
}
