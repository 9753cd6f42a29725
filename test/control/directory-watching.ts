/** How changes of a directory are noticed whatever is done to it: links, mounts, directories that go and come, and that nothing is left behind. */
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { brief } from '../help/configuration.ts';
import { account, has, hasErrors, namesOf, Watched } from './watched.ts';

t.test('a mounted ConfigMap: files lead through ..data, which is swapped', async t => {
  const directory = t.testdir({
    '..one': { 'a.yaml': account('a1'), 'b.yaml': account('b1') },
    '..two': { 'a.yaml': account('a2'), 'b.yaml': account('b2') },
  });
  symlinkSync('..one', join(directory, '..data'));
  for (const name of ['a.yaml', 'b.yaml']) symlinkSync(`..data/${name}`, join(directory, name));
  const watched = await Watched.open(t, directory);
  t.same(watched.names, ['a1', 'b1'], 'each once, though the hidden directories hold them too');
  symlinkSync('..two', join(directory, '..data_tmp'));
  renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
  await watched.until(has('a2', 'b2'));
  t.same(
    watched.states.map(state => namesOf(state).join()),
    ['a1,b1', 'a2,b2'],
    'at once',
  );
  rmSync(join(directory, '..one'), { recursive: true });
  writeFileSync(join(directory, '..two', 'b.yaml'), account('b3'));
  await watched.until(has('a2', 'b3'));
});

t.test('links are followed, and what they lead to is watched', async t => {
  const directory = t.testdir({
    outside: { 'real.yaml': account('a'), tree: { 'b.yaml': account('b') } },
    inside: {},
  });
  const inside = join(directory, 'inside');
  symlinkSync('../outside/real.yaml', join(inside, 'a.yaml'));
  symlinkSync('../outside/tree', join(inside, 'linked'));
  symlinkSync('..', join(inside, 'linked', 'circle'));
  symlinkSync('nowhere.yaml', join(inside, 'z.yaml'));
  const watched = await Watched.open(t, inside);
  t.same(watched.names.toSorted(), ['a', 'a', 'b'], 'a circle ends; outside is reached through it once');
  t.same(brief(watched.current.findings), ['error unreadable null null']);
  t.match(watched.current.findings[0]?.message, /z\.yaml is refused, it is a link that leads nowhere/);
  writeFileSync(join(directory, 'outside', 'real.yaml'), account('a2'));
  await watched.until(state => namesOf(state).filter(name => name === 'a2').length === 2);
});

t.test('directories come and go', async t => {
  const directory = t.testdir({ 'a.yaml': account('a') });
  const watched = await Watched.open(t, directory);
  mkdirSync(join(directory, 'x', 'y'), { recursive: true });
  writeFileSync(join(directory, 'x', 'y', 'b.yaml'), account('b'));
  await watched.until(has('a', 'b'));
  writeFileSync(join(directory, 'x', 'y', 'b.yaml'), account('b2'));
  await watched.until(has('a', 'b2'));
  rmSync(join(directory, 'x'), { recursive: true });
  await watched.until(has('a'));
});

t.test('while the directory is gone everything stays as it was', async t => {
  const parent = t.testdir({ mesh: { 'a.yaml': account('a') } });
  const directory = join(parent, 'mesh');
  const watched = await Watched.open(t, directory);
  renameSync(directory, join(parent, 'away'));
  const gone = await watched.until(hasErrors);
  t.same(brief(gone.findings), ['error directory-missing null null']);
  t.same(namesOf(gone), ['a']);
  mkdirSync(directory);
  writeFileSync(join(directory, 'b.yaml'), account('b'));
  await watched.until(has('b'));
  t.same(watched.current.findings, []);
  writeFileSync(join(directory, 'b.yaml'), account('b2'));
  await watched.until(has('b2'));
});

t.test('what nobody tells of is found by looking now and then', async t => {
  const directory = t.testdir({ elsewhere: {}, mesh: { 'a.yaml': account('a') } });
  const mesh = join(directory, 'mesh');
  // inotify tells of a directory's entry by the name that was written through, and this is another name.
  linkSync(join(mesh, 'a.yaml'), join(directory, 'elsewhere', 'same-file'));
  const watched = await Watched.open(t, mesh, { rescanMs: 50 });
  writeFileSync(join(directory, 'elsewhere', 'same-file'), account('a2'));
  await watched.until(has('a2'));
});

t.test('what did not change is no news', async t => {
  const directory = t.testdir({ 'a.yaml': account('a'), 'bad.yaml': 'kind: [' });
  const watched = await Watched.open(t, directory, { rescanMs: 5 });
  for (let n = 0; n < 5; n++) {
    writeFileSync(join(directory, 'a.yaml'), account('a'));
    writeFileSync(join(directory, 'bad.yaml'), 'kind: [');
    writeFileSync(join(directory, '.a.yaml.swp'), String(n));
  }
  writeFileSync(join(directory, 'b.yaml'), account('b'));
  await watched.until(has('a', 'b'));
  t.equal(watched.current.generation, 2);
});

t.test('whoever is told may fail: watching goes on', async t => {
  const directory = t.testdir({ 'a.yaml': account('a') });
  const watched = await Watched.open(t, directory, {
    onChange: state => {
      if (has('a1')(state)) throw new Error('a fault of the one who is told');
    },
  });
  writeFileSync(join(directory, 'a.yaml'), account('a1'));
  await watched.until(has('a1'));
  writeFileSync(join(directory, 'a.yaml'), account('a2'));
  await watched.until(has('a2'));
  t.match(watched.errors, [{ message: 'a fault of the one who is told' }]);
});

t.test('ends when told to, by either way, and lets go of everything', async t => {
  const directory = t.testdir({ 'a.yaml': account('a'), x: { 'b.yaml': account('b') } });
  const before = watches();
  const ending = new AbortController();
  const first = await Watched.open(t, directory, { signal: ending.signal });
  const second = await Watched.open(t, directory);
  t.equal(watches() - before, 2, 'the kernel counts a directory once for all who watch it');
  ending.abort();
  await second.close();
  await first.close();
  t.equal(watches(), before);
  writeFileSync(join(directory, 'a.yaml'), account('a2'));
  const third = await Watched.open(t, directory);
  writeFileSync(join(directory, 'a.yaml'), account('a3'));
  await third.until(has('a3', 'b'));
  t.equal(first.states.length, 1);
  t.equal(second.states.length, 1);
});

t.test('thousands of edits leave nothing behind', async t => {
  const directory = t.testdir({ 'a.yaml': account('a') });
  const watched = await Watched.open(t, directory, { debounceMs: 0, settleMs: 0 });
  const edit = async (round: number): Promise<void> => {
    writeFileSync(join(directory, 'a.yaml'), account(`a${round}`));
    mkdirSync(join(directory, 'sub'));
    writeFileSync(join(directory, 'sub', 'b.yaml'), `kind: [${round}`);
    await watched.until(state => namesOf(state).includes(`a${round}`) && state.files.length === 2);
    rmSync(join(directory, 'sub'), { recursive: true });
    await watched.until(state => state.files.length === 1);
    watched.states.splice(0, watched.states.length - 1);
  };
  for (let round = 0; round < 100; round++) await edit(round);
  const before = { heap: await heapUsed(), watches: watches() };
  for (let round = 100; round < 400; round++) await edit(round);
  const after = { heap: await heapUsed(), watches: watches() };
  t.equal(after.watches, before.watches);
  const perRound = (after.heap - before.heap) / 300;
  t.comment(`${perRound.toFixed(0)} bytes of heap for each round of four changes`);
  t.ok(perRound < 2_000, 'less than the objects of one state');
  t.same(watched.errors, []);
});

/** How many directories this process watches, as the kernel counts. */
function watches(): number {
  const kept = readdirSync('/proc/self/fdinfo').flatMap(fd => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').split('\n');
    } catch {
      return [];
    }
  });
  return kept.filter(line => line.startsWith('inotify wd:')).length;
}

async function heapUsed(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
  await setImmediate();
  gc();
  return process.memoryUsage().heapUsed;
}
