import { X509Certificate } from 'node:crypto';
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import type { CulvertError } from '../../base/errors.ts';
import { Authority, authorityDefaults, newBundle } from '../../tunnel/authority.ts';
import type { AuthorityOptions } from '../../tunnel/authority.ts';
import { formatBundle, parseBundle } from '../../tunnel/authority-bundle.ts';
import { createRequest } from '../../tunnel/certificate-request.ts';
import { generateKey } from '../../tunnel/x509.ts';
import { eventually } from '../lab/eventually.ts';
import { FakeClock } from './fake-clock.ts';
import { makeRoot } from './pki.ts';

const identity = 'spiffe://cluster.local/ns/shop/sa/cart';
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

function open(t: Test, path: string, options: Partial<AuthorityOptions> = {}): Authority {
  const authority = Authority.open({ path, ...options });
  t.teardown(() => authority.close());
  return authority;
}

async function issue(authority: Authority): Promise<X509Certificate> {
  const { chainPem } = await authority.issue(identity, createRequest(identity, generateKey()));
  return new X509Certificate(chainPem);
}

/** As an editor that writes beside the file and renames. */
function replace(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

const rootsIn = (authority: Authority): string =>
  authority
    .status()
    .roots.map(root => root.state)
    .join();

t.test('made at first start, the same at the next', async t => {
  const path = join(t.testdir(), 'authority.pem');
  const first = open(t, path);
  const second = open(t, path);
  t.equal(first.roots(), second.roots());
  const root = new X509Certificate(first.roots());
  t.ok((await issue(second)).verify(root.publicKey));
  t.equal(first.status().path, path);
  t.equal(first.status().problem, null);
  t.notOk(first.status().expiresSoon);
});

t.test('a file that cannot be used stops the start with its reason', async t => {
  const path = join(t.testdir({ 'authority.pem': 'hello' }), 'authority.pem');
  chmodSync(path, 0o600);
  t.throws(() => Authority.open({ path }), { code: 'AUTHORITY_INVALID', fix: /backup/ });
  chmodSync(path, 0o644);
  t.throws(() => Authority.open({ path }), { code: 'AUTHORITY_PERMISSIONS' });
  t.equal(readFileSync(path, 'utf8'), 'hello', 'and is left as it is');
});

t.test('leaves live for a day, from a little earlier, and not longer than their root', async t => {
  const clock = new FakeClock();
  const path = join(t.testdir(), 'authority.pem');
  const authority = open(t, path, { clock });
  const { notAfter } = authority.status();
  const near = (date: Date, ms: number): void => {
    t.ok(Math.abs(date.getTime() - ms) <= 1_000, `${date.toISOString()} is ${new Date(ms).toISOString()}`);
  };
  const leaf = await issue(authority);
  near(leaf.validToDate, clock.now() + dayMs);
  near(leaf.validFromDate, clock.now() - 120_000);
  const short = open(t, path, { clock, leafTtlMs: hourMs });
  near((await issue(short)).validToDate, clock.now() + hourMs);
  clock.set(notAfter - hourMs);
  t.ok(authority.status().expiresSoon);
  near((await issue(authority)).validToDate, notAfter);
  clock.set(notAfter);
  await t.rejects(issue(authority), { code: 'AUTHORITY_EXPIRED', fix: /rotate/ });
  clock.set(Date.now() - 10 * dayMs);
  await t.rejects(issue(authority), { code: 'AUTHORITY_NOT_YET_VALID', fix: /clock/ });
});

t.test('signs only what is asked for properly', async t => {
  const authority = open(t, join(t.testdir(), 'authority.pem'));
  const key = generateKey();
  const other = 'spiffe://cluster.local/ns/shop/sa/other';
  await t.rejects(authority.issue(other, createRequest(identity, key)), {
    code: 'CERTIFICATE_REQUEST_INVALID',
    side: 'client',
  });
  await t.rejects(authority.issue('x', createRequest('x', key)), { code: 'CERTIFICATE_REQUEST_INVALID' });
  await t.rejects(authority.issue(identity, 'hello'), { code: 'CERTIFICATE_REQUEST_INVALID' });
});

t.test('edits take effect while it runs', async t => {
  const path = join(t.testdir(), 'authority.pem');
  const authority = open(t, path, { overlapMs: 100, pollMs: hourMs });
  authority.watch();
  let changes = 0;
  authority.onRootsChanged(() => (changes += 1));
  const old = parseBundle(readFileSync(path, 'utf8'), path);
  const added = parseBundle(newBundle(Date.now()), 'new');
  replace(path, formatBundle([...old, ...added]));
  await eventually(() => rootsIn(authority) === 'signing,trusted');
  t.equal(changes, 1);
  const [oldRoot, newRoot] = [old[0]?.certificate, added[0]?.certificate];
  if (oldRoot === undefined || newRoot === undefined) throw new Error('no roots');
  t.ok((await issue(authority)).verify(oldRoot.publicKey));
  replace(path, formatBundle(added));
  await eventually(() => rootsIn(authority) === 'signing');
  t.equal(authority.roots(), newRoot.toString());
  t.ok((await issue(authority)).verify(newRoot.publicKey));
});

t.test('an edit in place counts too', async t => {
  const path = join(t.testdir(), 'authority.pem');
  const authority = open(t, path, { overlapMs: 100, pollMs: hourMs });
  authority.watch();
  writeFileSync(path, `${readFileSync(path, 'utf8')}\n${makeRoot().pem}`);
  await eventually(() => rootsIn(authority) === 'signing,trusted');
  t.pass('seen');
});

t.test('a broken edit is refused, said, and forgotten when it is mended', async t => {
  const path = join(t.testdir(), 'authority.pem');
  const problems: (CulvertError | null)[] = [];
  const authority = open(t, path, { pollMs: hourMs, onProblem: problem => problems.push(problem) });
  authority.watch();
  authority.onRootsChanged(() => t.fail('nothing may change'));
  const good = readFileSync(path, 'utf8');
  const roots = authority.roots();
  const breaks: [string, () => void][] = [
    ['AUTHORITY_INVALID', () => replace(path, good.slice(0, -60))],
    ['AUTHORITY_INVALID', () => replace(path, '')],
    ['AUTHORITY_MISSING', () => rmSync(path)],
    ['AUTHORITY_PERMISSIONS', () => (replace(path, newBundle(Date.now())), chmodSync(path, 0o644))],
  ];
  for (const [code, damage] of breaks) {
    damage();
    await eventually(() => authority.status().problem?.code === code, { what: code });
    t.equal(authority.roots(), roots);
    t.ok((await issue(authority)).verify(new X509Certificate(roots).publicKey));
    replace(path, good);
    await eventually(() => authority.status().problem === null);
  }
  t.ok(problems.length >= 2 * breaks.length, 'each was said, and its end');
  t.equal(problems.at(-1), null);
});

t.test('finds a change even where the kernel reports none', async t => {
  const clock = new FakeClock();
  const path = join(t.testdir(), 'authority.pem');
  const authority = open(t, path, { clock });
  // The look that a report of the kernel asks for does not happen, as this clock stands still.
  authority.watch();
  writeFileSync(path, `${readFileSync(path, 'utf8')}\n${makeRoot().pem}`);
  t.equal(rootsIn(authority), 'signing');
  await clock.advance(authorityDefaults.pollMs);
  t.equal(rootsIn(authority), 'signing,trusted');
});

t.test('after close nothing is called back', async t => {
  const clock = new FakeClock();
  const path = join(t.testdir(), 'authority.pem');
  const authority = open(t, path, { clock, onProblem: () => t.fail('still looking') });
  authority.onRootsChanged(() => t.fail('still looking'));
  authority.watch();
  authority.close();
  writeFileSync(path, 'broken');
  await clock.advance(hourMs);
  t.pass('quiet');
});
