/**
 * What applications do with their sockets, over connections that the kernel carries alone: both ends see what they see where
 * there is no mesh, whether sockets are joined or not. A program that does for the first time what no join can serve, while
 * joined bytes wait for it, is told so; never is anything missing or out of its order.
 */
import t from 'tap';
import { Habits, type Transcripts } from '../help/habits.ts';
import { KernelPathLab } from '../help/kernel-path-lab.ts';
import { eventually } from '../lab/eventually.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const port = 9100;
/** The first time, in a join: what either end may see instead, and nothing else. */
const told: Readonly<Record<string, RegExp>> = {
  'splice-later': /ECONNABORTED|ECONNRESET/,
  'urgent-inline': /EACCES|^\["END"\]|ECONNRESET|abc/,
};

/** What is not noticed where the kernel has no fentry; `culvert check` says so (KERNEL_PATH_LIMITED). */
const unnoticed: readonly string[] = ['splice', 'splice-later', 'fionread', 'urgent', 'urgent-inline'];

for (const mode of ['direct', 'join'] as const) {
  t.test(mode, { timeout: 240_000 }, async t => {
    const stage = await KernelPathLab.create(`habits-${mode}`, { mode });
    t.teardown(() => stage[Symbol.asyncDispose]());
    const { client, server } = stage;
    const habits = await Habits.serve(server, port);
    const { problem } = (await stage.agents.status('node-a')).kernelPath;
    const notices = mode === 'direct' || problem === null;
    t.ok(notices || problem?.startsWith('programs that splice, or ask'), problem ?? 'all is noticed');
    const cases = habits.cases.filter(name => notices || !unnoticed.includes(name));
    const verdicts = (): Promise<number> =>
      stage.agents.agent('node-a').metric('culvert_kernel_path_verdicts');

    /** Until the kernel has a verdict for each case and, for a join, knows the programs. */
    async function learn(address: string): Promise<void> {
      const before = await verdicts();
      await habits.warm(client, address);
      await eventually(async () => (await verdicts()) >= before + habits.cases.length, {
        what: 'a verdict for each case',
      });
      if (mode === 'direct') return;
      // What asks for word of its memory must have been seen before its first join: no word comes of what is in one.
      await habits.play(client, address, 'zerocopy');
      await habits.warm(client, address);
    }

    function compare(seen: Transcripts, lenient: boolean): void {
      for (const [key, expected] of habits.expected) {
        const [end, name = ''] = key.split(' ');
        if (!cases.includes(name)) continue;
        const got = seen.get(key);
        const excuse = lenient ? told[name] : undefined;
        if (got === expected || excuse === undefined) t.equal(got, expected, `${name}, ${end}`);
        else t.match(got, excuse, `${name}, ${end}: told so`);
      }
    }

    for (const [family, address] of [
      ['IPv4', server.address],
      ['IPv6', server.address6],
    ] as const) {
      await learn(address);
      const before = await stage.decisions();
      compare(await habits.play(client, address, ...cases), mode === 'join');
      const after = await stage.decisions();
      const count = (decision: string): number => after(decision) - before(decision);
      // All but that of MPTCP.
      t.equal(count('path_accepted'), cases.length - 1, `${family}: by the kernel`);
      if (mode === 'join') t.ok(count('path_joined') > cases.length / 2, 'and joined, at first');
      else t.equal(count('path_joined'), 0);
      if (mode === 'join') compare(await habits.play(client, address, ...cases), false);
    }
    compare(await habits.play(client, `::ffff:${server.address}`, ...cases), false);
    const now = await stage.decisions();
    t.equal(now('path_untold'), 0);
    if (mode === 'join' && notices) {
      t.ok(now('path_leaves') > 0);
      t.match(await stage.line({ code: 'JOIN_UNSERVED', security: 'kernel' }), { side: 'us' });
    }
  });
}
