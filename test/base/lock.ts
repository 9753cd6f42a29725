/** One process per directory, and how one takes the place of another. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { holderOf, isOurs, lock, takeLock } from '../../base/lock.ts';
import { eventually } from '../lab/eventually.ts';

const directory = mkdtempSync(join(tmpdir(), 'culvert-lock-'));
t.teardown(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'agent.lock');
const module = JSON.stringify(new URL('../../base/lock.ts', import.meta.url).href);

/** Another process that does something with the lock and stays. */
async function other(act: string) {
  const program = `import { lock, takeLock } from ${module}; ${act}; console.log('done'); setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()));
  await new Promise<void>(resolve => child.stdout.once('data', () => resolve()));
  const end = (): Promise<void> => {
    child.kill('SIGKILL');
    return gone;
  };
  t.teardown(end);
  return { pid: child.pid, end };
}

t.test('held by one, free when that one has died', async t => {
  const holder = await other(`lock(${JSON.stringify(path)})`);
  t.equal(holderOf(path), holder.pid);
  t.throws(() => lock(path), { code: 'ALREADY_RUNNING', message: new RegExp(`process ${holder.pid}`) });
  t.notOk(isOurs(path));
  await holder.end();
  t.equal(holderOf(path), null);
  const release = lock(path);
  t.ok(isOurs(path));
  t.equal(holderOf(path), process.pid);
  release();
  t.notOk(existsSync(path));
});

t.test('taken by the next one, and not given back for it', async t => {
  const release = lock(path);
  const next = await other(`takeLock(${JSON.stringify(path)})`);
  t.notOk(isOurs(path));
  release();
  t.equal(holderOf(path), next.pid, 'what the one before releases is not its own any more');
  const back = takeLock(path);
  t.ok(isOurs(path));
  back();
  t.notOk(existsSync(path));
});

t.test('nor has it one that has ended and that nobody has buried', async t => {
  const careless = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 1000'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => careless.kill('SIGKILL'));
  const pid = await new Promise<string>(resolve => {
    careless.stdout.once('data', (text: Buffer) => resolve(text.toString().trim()));
  });
  const fields = await eventually(() => {
    const all = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ');
    return all?.[0] === 'Z' && all;
  });
  writeFileSync(path, `${pid} ${fields[19]}`);
  t.equal(holderOf(path), null);
  lock(path)();
});

t.test('a PID that was used again is not its holder', async t => {
  writeFileSync(path, `${process.pid} 1`);
  t.equal(holderOf(path), null);
  lock(path)();
  writeFileSync(path, 'nonsense');
  t.equal(holderOf(path), null);
  const release = lock(path);
  t.match(readFileSync(path, 'utf8'), `${process.pid} `);
  release();
});
