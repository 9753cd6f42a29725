/**
 * The kernel path while something changes: policies flip, the agent dies and comes back, a pod goes and another gets its
 * address. Nothing unauthorised passes, and nothing that is allowed is lost.
 */
import t from 'tap';
import { buildTools } from '../../bench/tools/build.ts';
import { KernelPathLab } from '../help/kernel-path-lab.ts';
import { authorizationPolicy, to } from '../help/policies.ts';
import { eventually } from '../lab/eventually.ts';
import type { LabProcess } from '../lab/process.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const tools = await buildTools();
const port = 7000;
const deny = [authorizationPolicy({ action: 'DENY', rules: [to(port)] })];

for (const mode of ['direct', 'join'] as const) {
  t.test(mode, { timeout: 180_000 }, async t => {
    const stage = await KernelPathLab.create(`path-${mode}`, { mode });
    t.teardown(() => stage[Symbol.asyncDispose]());
    const { client, server, agents } = stage;
    const serving = server.spawn(tools.pattern, ['server', String(port), 'nonblocking']);
    await serving.listensOn(port);

    const start = (...options: readonly string[]): LabProcess => {
      const args = ['client', server.address, String(port), '--nonblocking', '--stall', '60000'];
      return client.spawn(tools.pattern, [...args, ...options]);
    };
    const short = async (): Promise<boolean> => (await start('--up', '9', '--down', '9').exited).code === 0;
    const verdicts = (): Promise<number> => agents.agent('node-a').metric('culvert_kernel_path_verdicts');
    const carried = async (): Promise<number> => (await stage.decisions())('path_accepted');
    await stage.learn(server.address, port, short);
    await stage.learn(server.address, port, short);

    t.test('a policy that flips under load', async t => {
      for (let round = 1; round <= 5; round += 1) {
        const before = await stage.decisions();
        const long = start('--up', '1000000000000', '--down', '1000000000000');
        await eventually(async () => (await carried()) > before('path_accepted'));
        await agents.apply('policy.yaml', deny);
        const { code } = await long.exited;
        t.equal(code, 1, `round ${round}: cut`);
        t.match(long.stdout(), /Connection reset|Permission denied|Broken pipe/);
        t.match(await stage.line({ security: 'kernel', code: 'POLICY_CHANGED' }), {
          policy: 'shop/test',
          'src.workload': 'client',
        });
        const denied = await carried();
        t.notOk(await short(), 'and nothing new gets in');
        t.equal(await carried(), denied, 'by the kernel least of all');
        await agents.remove('policy.yaml');
        await eventually(async () => (await verdicts()) > 0, { what: 'the verdict to come back' });
        const asked = (await stage.decisions())('connect_captured');
        t.ok(await short(), 'and what is allowed again');
        t.equal(await carried(), denied + 1, 'is the kernel’s from the first connection on');
        t.equal((await stage.decisions())('connect_captured'), asked);
        if (mode === 'join') await stage.learn(server.address, port, short);
      }
    });

    t.test('nothing was lost on the way', async t => {
      const now = await stage.decisions();
      t.equal(now('path_joined') > 0, mode === 'join');
      t.equal(now('path_lost'), 0);
      t.equal(now('path_untold'), 0);
    });

    t.test('an agent that is killed is not missed', async t => {
      const before = await carried();
      const bytes = ['--up', '60000000', '--down', '60000000', '--pauses'];
      const long = start(...bytes, '--seed', '5');
      await eventually(async () => (await carried()) > before);
      await agents.agent('node-a').kill();
      t.ok(await short(), 'a connection with a verdict begins without it');
      await agents.startAgent('node-a');
      t.ok(await short(), 'and with the next one');
      const { code } = await long.exited;
      t.equal(code, 0, `what was open has every byte: ${long.stdout().slice(-300)}`);
      t.match(await stage.line({ security: 'kernel', bytes_sent: 60_000_048 }), {
        'src.identity': 'spiffe://cluster.local/ns/shop/sa/client',
        bytes_recv: 60_000_001,
      });
    });

    t.test('a drained agent lets go of what the kernel carries', async t => {
      const before = await carried();
      const long = start('--up', '60000000', '--down', '60000000', '--pauses', '--seed', '6');
      await eventually(async () => (await carried()) > before);
      const agent = agents.agent('node-a');
      agent.process.kill('SIGTERM');
      await agent.process.exited;
      t.ok(long.running || (await long.exited).code === 0, 'it did not wait for it, nor cut it');
      await agents.startAgent('node-a');
      t.equal((await long.exited).code, 0, long.stdout().slice(-300));
    });

    t.test('an agent that stays away is missed in the end', async t => {
      await agents.agent('node-a').stop();
      const args = ['--kernel-path', mode, '--limit', 'verdictGraceMs=1000'];
      await agents.startAgent('node-a', { args });
      await stage.learn(server.address, port, short);
      const before = await stage.decisions();
      await agents.agent('node-a').kill();
      await eventually(async () => !(await short()), { what: 'a connection that is refused' });
      t.notOk(await short(), 'fail-closed, verdict or not');
      await agents.startAgent('node-a');
      t.ok((await stage.decisions())('path_stale') > before('path_stale'), 'since nobody was heard of');
      t.ok(await short());
    });

    t.test('an address that goes to another pod takes no verdict along', async t => {
      const alice = await agents.lab.pod({
        name: 'alice',
        namespace: 'shop',
        node: 'node-a',
        serviceAccount: 'alice',
        slot: 50,
      });
      await agents.describe();
      await agents.untilEnrolled(alice);
      const first = alice.spawn(tools.pattern, ['server', String(port), 'nonblocking']);
      await first.listensOn(port);
      const reach = async (): Promise<boolean> => {
        const args = ['client', alice.address, String(port), '--nonblocking', '--up', '9', '--down', '9'];
        return (await client.run(tools.pattern, args, { check: false })).code === 0;
      };
      await stage.learn(alice.address, port, reach);
      await alice.delete();

      const mallory = await agents.lab.pod({
        name: 'mallory',
        namespace: 'shop',
        node: 'node-a',
        serviceAccount: 'mallory',
        slot: 50,
      });
      t.equal(mallory.address, alice.address, 'the same address');
      await agents.describe();
      await agents.untilEnrolled(mallory);
      const second = mallory.spawn(tools.pattern, ['server', String(port), 'nonblocking']);
      await second.listensOn(port);
      const before = await carried();
      t.ok(await reach());
      t.equal(await carried(), before, 'not by a verdict about another');
      t.match(await stage.line({ 'dst.workload': 'mallory', direction: 'local' }), {
        'dst.identity': 'spiffe://cluster.local/ns/shop/sa/mallory',
        security: 'local',
      });
      await mallory.delete();
    });
  });
}
