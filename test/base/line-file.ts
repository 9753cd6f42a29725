import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { LineFile, type LineFileOptions } from '../../base/line-file.ts';
import { eventually } from '../lab/eventually.ts';

const oneLine = 'x'.repeat(99) + '\n';

function open(
  t: Test,
  path: string,
  given: Partial<LineFileOptions> = {},
): { file: LineFile; troubles: string[] } {
  const troubles: string[] = [];
  const file = new LineFile({
    path,
    flushMs: 5,
    onTrouble: error => troubles.push(error.code ?? error.message),
    ...given,
  });
  t.teardown(() => file.close());
  return { file, troubles };
}

t.test('lines arrive in order, soon, in a file whose directory is made', async t => {
  const path = join(t.testdir(), 'a', 'b', 'log');
  const { file } = open(t, path);
  let expected = '';
  for (let number = 0; number < 10_000; number += 1) {
    file.write(`line ${number} ö\n`);
    expected += `line ${number} ö\n`;
  }
  await eventually(() => existsSync(path) && readFileSync(path, 'utf8') === expected);
  t.equal(file.dropped, 0);
  file.write('later\n');
  await file.flush();
  t.equal(readFileSync(path, 'utf8'), `${expected}later\n`);
});

t.test('flush without lines is done at once, and close writes what is left', async t => {
  const path = join(t.testdir(), 'log');
  const { file } = open(t, path, { flushMs: 60_000 });
  await file.flush();
  t.notOk(existsSync(path), 'nothing was opened');
  file.write('left\n');
  await file.close();
  t.equal(readFileSync(path, 'utf8'), 'left\n');
  file.write('too late\n');
  t.equal(file.dropped, 1);
});

t.test('a file that was moved away is opened anew', async t => {
  const path = join(t.testdir(), 'log');
  const { file } = open(t, path);
  file.write('before\n');
  await file.flush();
  renameSync(path, `${path}.1`);
  file.reopen();
  file.write('after\n');
  await file.flush();
  t.equal(readFileSync(`${path}.1`, 'utf8'), 'before\n');
  t.equal(readFileSync(path, 'utf8'), 'after\n');
});

t.test('a full disk loses lines, is reported once, and does no harm', async t => {
  const { file, troubles } = open(t, '/dev/full');
  for (let number = 0; number < 3; number += 1) {
    file.write(oneLine);
    file.write(oneLine);
    await file.flush();
  }
  t.strictSame(troubles, ['ENOSPC']);
  t.equal(file.dropped, 6);
  file.write(oneLine);
  file.flushSync();
  t.equal(file.dropped, 7, 'nor does it hold up the end');
});

t.test('a path that cannot be opened is tried again', async t => {
  const directory = t.testdir({ taken: 'a file where a directory should be' });
  const path = join(directory, 'taken', 'log');
  const { file, troubles } = open(t, path);
  file.write(oneLine);
  await file.flush();
  t.strictSame(troubles, ['ENOTDIR']);
  renameSync(join(directory, 'taken'), join(directory, 'gone'));
  file.write('back\n');
  await file.flush();
  t.equal(readFileSync(path, 'utf8'), 'back\n');
  t.equal(file.dropped, 1);
});

t.test('memory is bounded', async t => {
  const path = join(t.testdir(), 'log');
  const { file } = open(t, path, { maxBuffered: 1_000, flushMs: 60_000 });
  for (let number = 0; number < 25; number += 1) file.write(oneLine);
  t.equal(file.dropped, 15);
  await file.flush();
  t.equal(readFileSync(path, 'utf8'), oneLine.repeat(10));
});

t.test('two writers on one path never mix their lines', async t => {
  const path = join(t.testdir(), 'log');
  const writers = ['a', 'b'].map(letter => ({ letter, file: open(t, path).file }));
  for (let round = 0; round < 200; round += 1) {
    for (const { letter, file } of writers) file.write(`${letter.repeat(500)}\n`);
    if (round % 20 === 0) await Promise.all(writers.map(({ file }) => file.flush()));
  }
  await Promise.all(writers.map(({ file }) => file.flush()));
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  t.equal(lines.length, 400);
  t.ok(lines.every(line => line === 'a'.repeat(500) || line === 'b'.repeat(500)));
});

/** Starts a process that has `LineFile` at hand and runs `script`. */
function start(t: Test, script: string): ChildProcessByStdio<null, Readable, Readable> {
  const source = `import { LineFile } from ${JSON.stringify(join(import.meta.dirname, '../../base/line-file.ts'))};${script}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

t.test('last words of a process that exits at once', async t => {
  const child = start(
    t,
    `
    const file = new LineFile({ path: null, flushMs: 1000 });
    process.on('exit', () => file.flushSync());
    file.write('last words\\n');
    process.exit(3);`,
  );
  const [words, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  t.strictSame([words, code], ['last words\n', 3]);
});

t.test('a reader of standard output that sleeps holds up neither work nor exit', async t => {
  // Nobody reads child.stdout.
  const child = start(
    t,
    `
    const file = new LineFile({ path: null, flushMs: 0, maxBuffered: 300_000 });
    process.on('exit', () => file.flushSync());
    const startedAt = performance.now();
    const work = setInterval(() => {
      for (let line = 0; line < 100; line += 1) file.write('y'.repeat(999) + '\\n');
      if (file.dropped === 0 || performance.now() - startedAt < 1500) return;
      console.error('dropped');
      process.exit(0);
    }, 1);`,
  );
  const [words, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  t.strictSame([words, code], ['dropped\n', 0]);
});

t.test('a reader that goes away is a trouble like others', async t => {
  const child = start(
    t,
    `
    const file = new LineFile({ path: null, flushMs: 0, onTrouble: error => console.error(error.code) });
    const work = setInterval(() => {
      file.write('z\\n');
      if (file.dropped > 5) clearInterval(work);
    }, 1);`,
  );
  child.stdout.destroy();
  const [words, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  t.strictSame([words, code], ['EPIPE\n', 0]);
});
