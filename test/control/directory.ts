/** What files of a directory are in force: good ones, edited ones, and what stays of broken ones. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, renameSync, symlinkSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { watchDirectory } from '../../control/directory.ts';
import { brief } from '../help/configuration.ts';
import { account, has, hasErrors, namesOf, Watched } from './watched.ts';

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
