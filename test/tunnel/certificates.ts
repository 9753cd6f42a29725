/** The life of certificates: asked for, renewed, released, and followed by others when the roots are others. */
import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { makeRoot } from './pki.ts';
import { identity, nth, hourMs, ttlMs, root, setup } from './certificate-source.ts';

t.test('a held identity gets a certificate before anyone asks for it', async t => {
  const { clock, certificates, got } = setup(t);
  certificates.hold(identity);
  t.equal(certificates.current(identity), null);
  t.match(certificates.problem(identity), { code: 'CERTIFICATE_PENDING' });
  await clock.advance(0);
  const certificate = certificates.current(identity);
  t.equal(certificate, got[0]);
  t.equal(certificates.problem(identity), null);
  const leaf = new X509Certificate(certificate?.certificatePem ?? '');
  t.equal(leaf.subjectAltName, `URI:${identity}`);
  t.match(certificate, {
    identity,
    rootsPem: root.pem,
    serial: leaf.serialNumber,
    notAfter: clock.now() + ttlMs,
    notBefore: clock.now() - 120_000,
    privateKeyPem: /^-----BEGIN PRIVATE KEY-----/,
  });
  t.match(certificates.state(), [{ identity, state: 'valid', serial: leaf.serialNumber, lastError: null }]);
});

t.test('holders are counted, and the last one takes the key with it', async t => {
  const { clock, source, certificates } = setup(t);
  certificates.hold(identity);
  certificates.hold(identity);
  await clock.advance(0);
  t.equal(source.asked.length, 1);
  t.equal(certificates.release(identity), false);
  t.ok(certificates.current(identity));
  t.equal(certificates.release(identity), true);
  t.equal(certificates.current(identity), null);
  t.match(certificates.problem(identity), { code: 'CERTIFICATE_NOT_HELD' });
  t.equal(certificates.release(identity), false);
  await clock.advance(ttlMs);
  t.equal(source.asked.length, 1, 'and is not renewed');
});

t.test('renewed between 50 and 70 % of its life, with a new key', async t => {
  for (const [random, share] of [
    [0, 0.5],
    [0.5, 0.6],
    [0.999, 0.6998],
  ] as const) {
    const { clock, certificates, got } = setup(t, { random: () => random });
    certificates.hold(identity);
    await clock.advance(share * ttlMs - 1_000);
    t.equal(got.length, 1, `not before ${share}`);
    await clock.advance(2_000);
    t.equal(got.length, 2, `at ${share}`);
    t.not(got[0]?.serial, got[1]?.serial);
    t.not(got[0]?.privateKeyPem, got[1]?.privateKeyPem);
    t.equal(certificates.current(identity), got[1]);
  }
});

t.test('many are asked for at once, but not too many', async t => {
  const { clock, source, certificates } = setup(t, { concurrency: 3 });
  const waiting: (() => void)[] = [];
  source.answer = good => new Promise(resolve => waiting.push(() => resolve(good())));
  for (let n = 0; n < 10; n += 1) certificates.hold(nth(n));
  await clock.advance(0);
  t.equal(source.asked.length, 3);
  waiting.shift()?.();
  await clock.advance(0);
  t.equal(source.asked.length, 4);
  while (waiting.length > 0) {
    t.ok(waiting.length <= 3);
    waiting.shift()?.();
    await clock.advance(0);
  }
  t.equal(source.asked.length, 10);
  t.ok(certificates.state().every(line => line.state === 'valid'));
});

t.test('who has none goes before who has one', async t => {
  const { clock, source, certificates } = setup(t, { concurrency: 1 });
  for (let n = 0; n < 3; n += 1) certificates.hold(nth(n));
  await clock.advance(hourMs);
  source.asked.length = 0;
  let unblock = (): void => {};
  source.answer = good => new Promise(resolve => (unblock = () => resolve(good())));
  await clock.advance(0.6 * ttlMs - hourMs);
  certificates.hold(nth(9));
  unblock();
  await clock.advance(0);
  t.equal(source.asked[1], nth(9));
});

t.test('other roots are passed on at once, other certificates follow', async t => {
  const { clock, source, certificates, got } = setup(t, { concurrency: 1 });
  certificates.hold(nth(1));
  certificates.hold(nth(2));
  await clock.advance(0);
  const before = got.length;
  const roots = root.pem + makeRoot().pem;
  let unblock = (): void => {};
  source.answer = good => new Promise(resolve => (unblock = () => resolve(good())));
  source.changeRoots(roots);
  t.equal(got.length, before + 2, 'before anything is signed');
  t.strictSame(
    got.slice(before).map(({ serial, rootsPem }) => ({ serial, rootsPem })),
    got.slice(0, before).map(({ serial }) => ({ serial, rootsPem: roots })),
  );
  await clock.advance(0);
  unblock();
  await clock.advance(0);
  unblock();
  await clock.advance(0);
  t.equal(got.length, before + 4);
  t.equal(new Set(got.map(({ serial }) => serial)).size, 4);
});

t.test('roots that change while a request is under way', async t => {
  const { clock, source, certificates, got } = setup(t);
  let unblock = (): void => {};
  source.answer = good => {
    const signed = good();
    return new Promise(resolve => (unblock = () => resolve(signed)));
  };
  certificates.hold(identity);
  await clock.advance(0);
  const roots = root.pem + makeRoot().pem;
  source.changeRoots(roots);
  source.answer = good => good();
  unblock();
  await clock.advance(0);
  t.strictSame(
    got.map(({ rootsPem }) => rootsPem),
    [roots, roots],
    'the late answer gets the new roots',
  );
  t.equal(source.asked.length, 2, 'and is replaced');
});

t.test('released and held again while it is asked for', async t => {
  const { clock, source, certificates, got } = setup(t);
  const unblock: (() => void)[] = [];
  source.answer = good => new Promise(resolve => unblock.push(() => resolve(good())));
  certificates.hold(identity);
  await clock.advance(0);
  t.equal(certificates.release(identity), true);
  certificates.hold(identity);
  await clock.advance(0);
  t.equal(source.asked.length, 2);
  for (const answer of unblock) answer();
  await clock.advance(0);
  t.equal(got.length, 1, 'the first answer came too late for the first holder');
  t.equal(certificates.current(identity), got[0]);
});

t.test('released in the moment in which the answer comes', async t => {
  const { clock, source, certificates, got } = setup(t);
  certificates.hold(identity);
  t.equal(source.asked.length, 1, 'this source has answered already');
  certificates.release(identity);
  await clock.advance(0);
  t.strictSame(got, []);
});

t.test('after close nothing is called back', async t => {
  const { clock, source, certificates, got, failures } = setup(t);
  let unblock = (): void => {};
  source.answer = good => new Promise(resolve => (unblock = () => resolve(good())));
  certificates.hold(identity);
  await clock.advance(0);
  certificates.close();
  unblock();
  await clock.advance(ttlMs);
  t.strictSame([got, failures, source.asked.length], [[], [], 1]);
});
