/** A state directory in which nothing can be written any more: it is said, and nothing that holds is lost by it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { isOurs, lock, takeLock } from '../../base/lock.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'a file system of a few pages needs root');
  process.exit();
}

const directory = mkdtempSync(join(tmpdir(), 'culvert-full-'));
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', directory]);
t.teardown(() => {
  execFileSync('umount', ['--lazy', directory]);
  rmSync(directory, { recursive: true });
});
const path = join(directory, 'agent.lock');
const filler = join(directory, 'filler');

function fill(): void {
  try {
    for (let size = 4_096; ; size += 4_096) writeFileSync(filler, Buffer.alloc(size));
  } catch {
    // Full.
  }
}

const full = { code: 'STATE_DIR_UNUSABLE', message: /ENOSPC/, fix: /make room/ };

t.test('a lock that is held stays held, and can be taken back', async t => {
  const release = lock(path);
  fill();
  t.ok(isOurs(path));
  takeLock(path);
  t.ok(isOurs(path), 'by who has it already nothing is written');
  rmSync(filler);
  release();
});

t.test("one that is somebody else's stays theirs", async t => {
  const theirs = '1 0';
  writeFileSync(path, theirs);
  fill();
  t.throws(() => takeLock(path), full);
  t.throws(() => lock(path), full, 'though nobody alive has it');
  t.equal(readFileSync(path, 'utf8'), theirs);
  rmSync(filler);
  lock(path)();
});

t.test('a first one is not taken, and is once there is room', async t => {
  fill();
  t.throws(() => lock(path), full);
  rmSync(filler);
  const release = lock(path);
  t.ok(isOurs(path));
  release();
});
