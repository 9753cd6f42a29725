import { chmodSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { activateRoot, addRoot, listRoots, retireRoot } from '../../cli/authority.ts';
import { newBundle } from '../../tunnel/authority.ts';
import { makeRoot } from '../tunnel/pki.ts';

const hourMs = 3_600_000;
const patient = { now: Date.now() + hourMs, force: false };

function authorityFile(t: Test): string {
  const path = join(t.testdir({ 'authority.pem': newBundle(Date.now() - hourMs) }), 'authority.pem');
  chmodSync(path, 0o600);
  return path;
}

const states = (path: string) => listRoots(path).map(root => [root.fingerprint, root.state]);

t.test('add, activate, retire', async t => {
  const path = authorityFile(t);
  const [old] = listRoots(path);
  t.match(listRoots(path), [{ state: 'signing', hasKey: true, subject: /^O=culvert, CN=culvert root/ }]);
  const added = addRoot(path, Date.now());
  t.strictSame(states(path), [
    [old?.fingerprint, 'signing'],
    [added.fingerprint, 'trusted'],
  ]);
  t.strictSame(added.roots, listRoots(path), 'the result is what the file says');
  t.equal(activateRoot(path, null).fingerprint, added.fingerprint);
  t.strictSame(states(path), [
    [added.fingerprint, 'signing'],
    [old?.fingerprint, 'trusted'],
  ]);
  t.equal(retireRoot(path, null, patient).fingerprint, old?.fingerprint);
  t.strictSame(states(path), [[added.fingerprint, 'signing']]);
});

t.test('a root is named by the beginning of its fingerprint, as tools print it', async t => {
  const path = authorityFile(t);
  const [first, second] = [addRoot(path, Date.now()), addRoot(path, Date.now())];
  t.throws(() => retireRoot(path, null, patient), { code: 'AUTHORITY_ROOT_UNKNOWN', fix: /fingerprint/ });
  const colons = first.fingerprint.toUpperCase().replace(/..(?=.)/g, '$&:');
  t.equal(activateRoot(path, colons).fingerprint, first.fingerprint);
  t.equal(retireRoot(path, second.fingerprint.slice(0, 10), patient).fingerprint, second.fingerprint);
  for (const wanted of ['', 'zz', second.fingerprint]) {
    t.throws(() => activateRoot(path, wanted), { code: 'AUTHORITY_ROOT_UNKNOWN' });
    t.throws(() => retireRoot(path, wanted, patient), { code: 'AUTHORITY_ROOT_UNKNOWN' });
  }
});

t.test('without a name the newest root is activated', async t => {
  const path = authorityFile(t);
  addRoot(path, Date.now() - 2 * hourMs);
  const newest = addRoot(path, Date.now());
  addRoot(path, Date.now() - hourMs);
  t.equal(activateRoot(path, null).fingerprint, newest.fingerprint);
});

t.test('what would leave the mesh without a signer is refused, and changes nothing', async t => {
  const path = authorityFile(t);
  const [only] = listRoots(path);
  const before = readFileSync(path, 'utf8');
  t.throws(() => activateRoot(path, null), { code: 'AUTHORITY_ROOT_UNKNOWN', fix: /rotate add/ });
  t.throws(() => retireRoot(path, null, patient), { code: 'AUTHORITY_ROOT_UNKNOWN' });
  t.throws(() => retireRoot(path, only?.fingerprint ?? '', patient), {
    code: 'AUTHORITY_ROOT_SIGNS',
    fix: /activate/,
  });
  t.equal(readFileSync(path, 'utf8'), before);
});

t.test('a root whose key is elsewhere is trusted and can be retired, but not activated', async t => {
  const path = authorityFile(t);
  writeFileSync(path, readFileSync(path, 'utf8') + makeRoot().pem);
  const foreign = listRoots(path)[1];
  t.match(foreign, { state: 'trusted', hasKey: false });
  t.throws(() => activateRoot(path, foreign?.fingerprint ?? ''), { code: 'AUTHORITY_ROOT_UNKNOWN' });
  retireRoot(path, foreign?.fingerprint ?? '', patient);
  t.equal(listRoots(path).length, 1);
});

t.test('nothing is retired while agents may still use it, unless forced', async t => {
  const path = authorityFile(t);
  addRoot(path, Date.now());
  activateRoot(path, null);
  const now = Date.now();
  utimesSync(path, now / 1_000, (now - 10_000) / 1_000);
  t.throws(() => retireRoot(path, null, { now, force: false }), {
    code: 'AUTHORITY_TOO_SOON',
    message: /10 s ago/,
    fix: /in 20 s/,
  });
  t.equal(listRoots(path).length, 2);
  retireRoot(path, null, { now, force: true });
  t.equal(listRoots(path).length, 1);
});

t.test('a file that is missing or broken is said so', async t => {
  const path = join(t.testdir(), 'authority.pem');
  for (const act of [() => listRoots(path), () => addRoot(path, 0), () => activateRoot(path, null)]) {
    t.throws(act, { code: 'AUTHORITY_MISSING', fix: /--authority/ });
  }
  writeFileSync(path, 'hello', { mode: 0o600 });
  t.throws(() => listRoots(path), { code: 'AUTHORITY_INVALID' });
  t.throws(() => addRoot(path, 0), { code: 'AUTHORITY_INVALID' });
  t.equal(readFileSync(path, 'utf8'), 'hello');
});
