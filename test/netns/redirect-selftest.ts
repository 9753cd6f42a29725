/**
 * The self-test passes where redirection works, and names what is wrong where it does not.
 */
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { abi } from '../../agent/redirect-abi.ts';
import { uncoveredProcesses } from '../../agent/redirect-coverage.ts';
import type { SelfTestResult } from '../../agent/redirect-selftest.ts';
import * as native from '../../native/native.ts';
import { RedirectLab } from './redirect-lab.ts';

const stage = await RedirectLab.create('selftest', ['a']);
t.teardown(() => stage[Symbol.asyncDispose]());
const a = stage.pod('a');
const netnsFd = native.openNetns(a.netnsPath);
t.teardown(() => native.close(netnsFd));
const cookie = native.netnsCookie(netnsFd);
const check = (): Promise<SelfTestResult[]> => stage.redirect.selfTest({ cookie, netnsFd });
const wrong = (results: readonly SelfTestResult[]): string[] =>
  results.filter(({ ok }) => !ok).map(({ name }) => name);

t.test('an unknown pod', async t => {
  t.same(wrong(await check()), ['enrolled']);
});

t.test('all is well', async t => {
  const agent = await stage.enrol(a);
  const counted = await stage.counted(async () => {
    t.same(
      (await check()).map(({ name, ok }) => [name, ok]),
      [
        ['hooks attached', true],
        ['plain TCP steered', true],
        ['processes covered', true],
        ['capture (IPv4)', true],
        ['source address (IPv4)', true],
        ['capture (IPv6)', true],
        ['source address (IPv6)', true],
      ],
    );
  });
  t.match(counted, { connect_captured: 2, flow_accepted: 2, peer_accepted: 2 });
  await agent.stop();
});

t.test('no listeners', async t => {
  const results = await check();
  t.same(wrong(results), ['plain TCP steered', 'capture (IPv4)', 'capture (IPv6)']);
  t.match(results.find(({ name }) => name === 'capture (IPv4)')?.detail, /connect_passed_listener/);
});

t.test('a hook is missing', async t => {
  const agent = await stage.enrol(a);
  const link = native.openPinned(join(stage.bpffs, `culvert/node%2Etest/v${abi}/links/getpeername4`)) ?? -1;
  native.detachLink(link);
  native.close(link);
  t.same(wrong(await check()), ['hooks attached', 'capture (IPv4)', 'source address (IPv4)']);
  stage.redirect.close();
  stage.redirect = stage.open();
  t.same(wrong(await check()), [], 'the next open attaches it again');
  await agent.stop();
});

t.test('processes that the hooks do not see', async t => {
  const agent = await stage.enrol(a);
  const inode = statSync(a.netnsPath).ino;
  const { cgroup } = stage.node;
  const agentCgroup = join(cgroup, '_agent');
  const program = a.spawn('sh', ['-c', 'echo ready; exec sleep 60']);
  await program.says(/ready/);
  t.same(uncoveredProcesses(inode, cgroup, agentCgroup), []);
  writeFileSync(join(agentCgroup, 'cgroup.procs'), String(program.pid));
  t.match(uncoveredProcesses(inode, cgroup, agentCgroup), [
    { pid: program.pid, program: 'sleep', why: "in the agent's cgroup" },
  ]);
  writeFileSync(join(stage.lab.outside.cgroup, 'cgroup.procs'), String(program.pid));
  t.match(uncoveredProcesses(inode, cgroup, agentCgroup), [
    { pid: program.pid, why: 'outside the cgroup root' },
  ]);
  t.same(wrong(await check()), ['processes covered']);
  await program.stop();
  await agent.stop();
});
