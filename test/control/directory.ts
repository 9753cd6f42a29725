import { execFileSync } from 'node:child_process';
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import { type DirectoryState, type WatchDirectoryOptions, watchDirectory } from '../../control/directory.ts';
import { brief } from '../help/configuration.ts';

const account = (name: string, namespace = 'shop'): string =>
  `apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: ${name}, namespace: ${namespace} }\n`;

/** A watched directory whose states can be waited for. */
class Watched {
  readonly states: DirectoryState[] = [];
  readonly errors: unknown[] = [];
  #waiting: (() => void)[] = [];
  close: () => Promise<void> = async () => {};

  static async open(
    t: Test,
    directory: string,
    options: Partial<WatchDirectoryOptions> = {},
  ): Promise<Watched> {
    const watched = new Watched();
    const watch = await watchDirectory(directory, {
      signal: new AbortController().signal,
      // What is seen is seen because the kernel told of it.
      rescanMs: 3_600_000,
      onError: error => watched.errors.push(error),
      ...options,
      onChange: state => {
        watched.#add(state);
        options.onChange?.(state);
      },
    });
    watched.close = () => watch.close();
    t.teardown(() => watch.close());
    watched.#add(watch.current);
    return watched;
  }

  get current(): DirectoryState {
    const state = this.states.at(-1);
    if (state === undefined) throw new Error('no state');
    return state;
  }

  /** Names of what is in force. */
  get names(): string[] {
    return namesOf(this.current);
  }

  /** Resolves when a state holds, the present one included; the test's own limit is the deadline. */
  async until(holds: (state: DirectoryState) => boolean): Promise<DirectoryState> {
    while (!holds(this.current)) await new Promise<void>(resolve => this.#waiting.push(resolve));
    return this.current;
  }

  #add(state: DirectoryState): void {
    this.states.push(state);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function namesOf(state: DirectoryState): string[] {
  return state.objects.map(({ name }) => name);
}

function has(...names: string[]): (state: DirectoryState) => boolean {
  return state => namesOf(state).join() === names.join();
}

const hasErrors = (state: DirectoryState): boolean =>
  state.findings.some(({ severity }) => severity === 'error');

t.test('reads what is configuration, at any depth, in the order of the paths', async t => {
  const directory = t.testdir({
    'b.yaml': account('b'),
    'a.yml': account('a'),
    'c.json': '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "c"}}',
    nested: { deeper: { 'd.yaml': account('d') } },
    'README.md': 'not: [configuration',
    '.hidden.yaml': account('hidden'),
    '.git': { 'e.yaml': account('e') },
    '#f.yaml': account('f'),
    '.#g.yaml': account('g'),
    'h.yaml~': account('h'),
    '.b.yaml.swp': account('i'),
    'empty.yaml': '',
  });
  const watched = await Watched.open(t, directory);
  t.same(watched.names, ['a', 'b', 'c', 'd']);
  t.match(watched.current, {
    generation: 1,
    findings: [],
    files: [
      { path: 'a.yml', refused: false, objects: 1 },
      { path: 'b.yaml' },
      { path: 'c.json' },
      { path: 'empty.yaml', refused: false, objects: 0 },
      { path: 'nested/deeper/d.yaml' },
    ],
  });
});

t.test('a directory that is not there is an error with what to do', async t => {
  const directory = t.testdir({ file: 'x' });
  const options = { onChange: () => {}, onError: () => {}, signal: new AbortController().signal };
  const missing = { code: 'CONFIG_DIRECTORY', message: /it does not exist/, fix: /--config/ };
  await t.rejects(watchDirectory(join(directory, 'nowhere'), options), missing);
  await t.rejects(watchDirectory(join(directory, 'file'), options), {
    code: 'CONFIG_DIRECTORY',
    message: /not a directory/,
  });
  await t.rejects(watchDirectory(directory, { ...options, signal: AbortSignal.abort() }));
});

t.test('files that are edited, made, renamed and removed', async t => {
  const directory = t.testdir({ 'a.yaml': account('a') });
  const watched = await Watched.open(t, directory);
  writeFileSync(join(directory, 'a.yaml'), account('a2'));
  await watched.until(has('a2'));
  writeFileSync(join(directory, 'b.yaml'), account('b'));
  await watched.until(has('a2', 'b'));
  writeFileSync(join(directory, 'b.yaml.tmp'), account('b2'));
  renameSync(join(directory, 'b.yaml.tmp'), join(directory, 'b.yaml'));
  await watched.until(has('a2', 'b2'));
  renameSync(join(directory, 'b.yaml'), join(directory, 'c.yaml'));
  const renamed = await watched.until(
    state => has('a2', 'b2')(state) && state.files.at(-1)?.path === 'c.yaml',
  );
  t.same(
    renamed.files.map(({ path }) => path),
    ['a.yaml', 'c.yaml'],
  );
  unlinkSync(join(directory, 'a.yaml'));
  await watched.until(has('b2'));
  t.same(
    watched.states.map(({ generation }) => generation),
    [...watched.states.keys()].map(index => index + 1),
  );
  t.same(watched.errors, []);
});

t.test('an edit is in force soon after it is written', async t => {
  const directory = t.testdir({ 'a.yaml': account('a0') });
  const watched = await Watched.open(t, directory);
  const took: number[] = [];
  for (let edit = 1; edit <= 20; edit++) {
    writeFileSync(join(directory, 'a.yaml'), account(`a${edit}`));
    const written = performance.now();
    await watched.until(has(`a${edit}`));
    took.push(performance.now() - written);
  }
  const sorted = took.toSorted((a, b) => a - b);
  t.comment(`edit to state: median ${sorted[10]?.toFixed(1)} ms, worst ${sorted.at(-1)?.toFixed(1)} ms`);
});

t.test('a broken file is refused as a whole, and its last good contents stay in force', async t => {
  const directory = t.testdir({ 'a.yaml': `${account('a1')}---\n${account('a2')}`, 'b.yaml': account('b') });
  const watched = await Watched.open(t, directory);
  writeFileSync(join(directory, 'a.yaml'), `${account('a3')}---\n${account('A4')}`);
  const refused = await watched.until(hasErrors);
  t.same(namesOf(refused), ['a1', 'a2', 'b']);
  t.same(brief(refused.findings), ['error file-refused null null', 'error invalid-value 7 metadata.name']);
  t.match(
    refused.findings[0]?.message,
    /a\.yaml is refused, it has errors: its last good contents stay in force \(2 objects\)/,
  );
  t.match(refused.files, [
    { path: 'a.yaml', refused: true, objects: 2 },
    { path: 'b.yaml', refused: false },
  ]);

  writeFileSync(join(directory, 'b.yaml'), account('b2'));
  const other = await watched.until(has('a1', 'a2', 'b2'));
  t.ok(hasErrors(other), 'the other file goes on');

  writeFileSync(join(directory, 'a.yaml'), 'kind: [');
  const worse = await watched.until(state => state.findings.some(({ code }) => code === 'yaml-syntax'));
  t.same(namesOf(worse), ['a1', 'a2', 'b2']);

  writeFileSync(join(directory, 'a.yaml'), account('a5'));
  const good = await watched.until(has('a5', 'b2'));
  t.same(good.findings, []);
});

t.test('a file that is broken from the start is not in force, and is once it is mended', async t => {
  const directory = t.testdir({ 'a.yaml': 'kind: [', 'b.yaml': account('b') });
  const watched = await Watched.open(t, directory);
  t.same(watched.names, ['b']);
  t.match(watched.current.findings[0], { code: 'file-refused', message: /nothing of it is in force/ });
  writeFileSync(join(directory, 'a.yaml'), account('a'));
  await watched.until(has('a', 'b'));
});

t.test('a file written in pieces is never half in force', async t => {
  const directory = t.testdir({ 'a.yaml': `${account('a1')}---\n${account('a2')}` });
  const watched = await Watched.open(t, directory);
  const fd = openSync(join(directory, 'a.yaml'), 'w');
  const text = `${account('a3')}---\n${account('a4')}`;
  writeSync(fd, text.slice(0, 40));
  await watched.until(hasErrors);
  writeSync(fd, text.slice(40));
  closeSync(fd);
  await watched.until(has('a3', 'a4'));
  t.same([...new Set(watched.states.map(state => namesOf(state).join()))], ['a1,a2', 'a3,a4']);
});

t.test('a file that is empty or gone for a moment stays in force; for good, it does not', async t => {
  const directory = t.testdir({ 'a.yaml': account('a'), 'b.yaml': account('b') });
  // The moment is as long as the test needs to write again: an event of another file shows that it was looked at.
  const watched = await Watched.open(t, directory, { settleMs: 60_000 });
  writeFileSync(join(directory, 'a.yaml'), '');
  unlinkSync(join(directory, 'b.yaml'));
  writeFileSync(join(directory, 'c.yaml'), account('c'));
  await watched.until(has('a', 'b', 'c'));
  writeFileSync(join(directory, 'a.yaml'), account('a2'));
  writeFileSync(join(directory, 'b.yaml'), account('b2'));
  await watched.until(has('a2', 'b2', 'c'));
  await watched.close();

  const again = await Watched.open(t, directory);
  writeFileSync(join(directory, 'a.yaml'), '# nothing any more\n');
  await again.until(has('b2', 'c'));
  writeFileSync(join(directory, 'b.yaml'), '');
  await again.until(has('c'));
});

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

t.test('what can not be read keeps what was in force', async t => {
  const directory = t.testdir({
    'a.yaml': account('a'),
    'b.yaml': account('b'),
    'c.yaml': account('c'),
    'd.yaml': account('d'),
  });
  const watched = await Watched.open(t, directory, { maxFileBytes: 1000 });
  const replace = (name: string, make: (path: string) => void): void => {
    make(join(directory, `${name}.new`));
    renameSync(join(directory, `${name}.new`), join(directory, name));
  };
  // Reading from address 0 of one's own memory is an I/O error, for root too.
  replace('a.yaml', path => symlinkSync('/proc/self/mem', path));
  replace('b.yaml', path => execFileSync('mkfifo', [path]));
  replace('c.yaml', path => writeFileSync(path, `${account('c')}#${'x'.repeat(1000)}`));
  replace('d.yaml', path => writeFileSync(path, Buffer.from([0x61, 0xff, 0xfe, 0x0a])));
  const state = await watched.until(({ findings }) => findings.length === 4);
  t.same(namesOf(state), ['a', 'b', 'c', 'd']);
  t.same(
    state.findings.map(({ code, file }) => `${file} ${code}`),
    ['a.yaml unreadable', 'b.yaml unreadable', 'c.yaml file-too-large', 'd.yaml not-utf8'],
  );
  t.ok(state.files.every(({ refused }) => refused));
  for (const name of ['a', 'b', 'c', 'd'])
    replace(`${name}.yaml`, path => writeFileSync(path, account(name)));
  const mended = await watched.until(({ findings }) => findings.length === 0);
  t.same(namesOf(mended), ['a', 'b', 'c', 'd']);
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
