import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { newBundle } from '../../tunnel/authority.ts';
import { createAuthorityFile, editAuthorityFile, readAuthorityFile } from '../../tunnel/authority-file.ts';

const child = join(import.meta.dirname, 'open-authority.ts');
const isRoot = process.getuid?.() === 0;

t.test('made for us only, and read back', async t => {
  const path = join(t.testdir(), 'new', 'folder', 'authority.pem');
  t.equal(readAuthorityFile(path), null);
  t.equal(createAuthorityFile(path, 'one'), true);
  t.equal(readAuthorityFile(path), 'one');
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
  t.equal(createAuthorityFile(path, 'two'), false);
  t.equal(readAuthorityFile(path), 'one');
  t.strictSame(readdirSync(join(path, '..')), ['authority.pem'], 'and nothing is left beside it');
});

t.test('processes that start at once agree on one root', async t => {
  for (let round = 0; round < 2; round += 1) {
    const path = join(t.testdir(), `round-${round}`, 'authority.pem');
    const runs = Array.from({ length: 4 }, () => promisify(execFile)(process.execPath, [child, path]));
    const roots = (await Promise.all(runs)).map(run => run.stdout);
    t.match(roots[0], /^[0-9a-f]{64}\n$/);
    t.equal(new Set(roots).size, 1);
    t.strictSame(readdirSync(join(path, '..')), ['authority.pem']);
  }
});

t.test('a file that others may read or that is not one is refused', async t => {
  const path = join(t.testdir({ 'authority.pem': newBundle(Date.now()) }), 'authority.pem');
  for (const mode of [0o644, 0o640, 0o604, 0o660, 0o602, 0o601]) {
    chmodSync(path, mode);
    t.throws(
      () => readAuthorityFile(path),
      { code: 'AUTHORITY_PERMISSIONS', fix: /chmod 600/ },
      mode.toString(8),
    );
  }
  chmodSync(path, 0o400);
  t.ok(readAuthorityFile(path));
  const folder = join(path, '..');
  t.throws(() => readAuthorityFile(folder), { code: 'AUTHORITY_FILE', message: /not a file/ });
  const link = join(folder, 'link.pem');
  symlinkSync(path, link);
  t.ok(readAuthorityFile(link), 'a mounted secret is a link');
  writeFileSync(path, 'x'.repeat(2_000_000));
  t.throws(() => readAuthorityFile(path), { code: 'AUTHORITY_INVALID' });
});

t.test('a pipe in its place does not stop us', async t => {
  const path = join(t.testdir(), 'authority.pem');
  await promisify(execFile)('mkfifo', ['-m', '600', path]);
  t.throws(() => readAuthorityFile(path), { code: 'AUTHORITY_FILE', message: /not a file/ });
});

t.test('a file of another user is refused', { skip: isRoot ? false : 'needs root' }, async t => {
  const path = join(t.testdir({ 'authority.pem': newBundle(Date.now()) }), 'authority.pem');
  chmodSync(path, 0o600);
  chownSync(path, 12_345, 0);
  t.throws(() => readAuthorityFile(path), { code: 'AUTHORITY_OWNER', message: /user 12345/, fix: /chown 0/ });
});

t.test('nothing is made where others could replace it', async t => {
  const folder = join(t.testdir(), 'open');
  mkdirSync(folder);
  chmodSync(folder, 0o777);
  t.throws(() => createAuthorityFile(join(folder, 'authority.pem'), 'x'), {
    code: 'AUTHORITY_PERMISSIONS',
    fix: /chmod 700/,
  });
  t.strictSame(readdirSync(folder), []);
});

t.test('a place that cannot be written to is an error that says so', async t => {
  t.throws(() => createAuthorityFile('/dev/null/authority.pem', 'x'), {
    code: 'AUTHORITY_FILE',
    message: /cannot create/,
  });
});

t.test('an edit replaces the file as a whole', async t => {
  const path = join(t.testdir({ 'authority.pem': 'old' }), 'authority.pem');
  chmodSync(path, 0o600);
  const before = statSync(path);
  const result = editAuthorityFile(path, (text, changedAt) => {
    t.equal(text, 'old');
    t.equal(changedAt, before.mtimeMs);
    t.equal(readFileSync(path, 'utf8'), 'old', 'readers still see the old one');
    return { text: 'new', result: 7 };
  });
  t.equal(result, 7);
  t.equal(readAuthorityFile(path), 'new');
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.not(statSync(path).ino, before.ino);
  t.strictSame(readdirSync(join(path, '..')), ['authority.pem']);
});

t.test('an edit that fails changes nothing and can be tried again', async t => {
  const path = join(t.testdir({ 'authority.pem': 'old' }), 'authority.pem');
  chmodSync(path, 0o600);
  t.throws(() =>
    editAuthorityFile(path, () => {
      throw new Error('no');
    }),
  );
  t.equal(readAuthorityFile(path), 'old');
  editAuthorityFile(path, () => ({ text: 'new', result: null }));
  t.equal(readAuthorityFile(path), 'new');
});

t.test('of two edits at once one is told to wait', async t => {
  const path = join(t.testdir({ 'authority.pem': 'old' }), 'authority.pem');
  chmodSync(path, 0o600);
  editAuthorityFile(path, () => {
    t.throws(() => editAuthorityFile(path, () => ({ text: 'other', result: null })), {
      code: 'AUTHORITY_BUSY',
      fix: /\.lock/,
    });
    return { text: 'new', result: null };
  });
  t.equal(readAuthorityFile(path), 'new');
});

t.test('an edit of nothing', async t => {
  const none = () => ({ text: '', result: null });
  t.throws(() => editAuthorityFile(join(t.testdir(), 'authority.pem'), none), { code: 'AUTHORITY_MISSING' });
  t.throws(() => editAuthorityFile(join(t.testdir(), 'no', 'authority.pem'), none), {
    code: 'AUTHORITY_MISSING',
  });
});
