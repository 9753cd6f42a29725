/**
 * An agent that takes the place of another: nobody is refused, nothing hangs, and what goes wrong leaves everything as it
 * was.
 */
import t, { type Test } from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { Steady } from '../help/steady.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const stage = await AgentLab.create({
  name: 'handover',
  pods: [
    { name: 'client', namespace: 'shop', node: 'node-a', serviceAccount: 'client' },
    { name: 'near', namespace: 'shop', node: 'node-a', serviceAccount: 'near' },
    { name: 'far', namespace: 'shop', node: 'node-b', serviceAccount: 'far' },
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, near, far] = [stage.pod('client'), stage.pod('near'), stage.pod('far')];
const port = 8080;
for (const server of [client, near, far]) await (await stage.sockets(server)).serve('::', port);

async function under(t: Test, disturb: () => Promise<void>): Promise<void> {
  const traffic = await Promise.all([
    Steady.start(client, far.address, port, { streams: 2, life: 3 }),
    Steady.start(client, near.address, port, { streams: 1, life: 3 }),
    Steady.start(far, client.address, port, { streams: 2, life: 3 }),
  ]);
  await disturb();
  for (const [index, steady] of traffic.entries()) {
    const { asked, failed, lost, streams, examples, slowestMs } = await steady.end();
    t.comment(`flow ${index}: ${asked} connections, ${streams} streams, slowest ${slowestMs} ms`);
    t.same({ failed, lost }, { failed: {}, lost: {} }, `${asked} connections, ${streams} streams: all well`);
    if (examples.length > 0) t.comment(JSON.stringify(examples));
    t.ok(asked > 0 && streams > 0);
  }
}

t.test('one after the other takes over', t =>
  under(t, async () => {
    for (let n = 0; n < 4; n += 1) {
      const { old } = await stage.replaceAgent(n % 2 === 0 ? 'node-a' : 'node-b');
      t.same(await old.process.exited, { code: 0, signal: null }, 'the old one ends');
    }
  }),
);
