/** Certificates that do not come, come late, or are not what was asked for, and clocks that are wrong. */
import t from 'tap';
import { CulvertError } from '../../base/errors.ts';
import type { SignedCertificate } from '../../tunnel/certificate-exchange.ts';
import { readRequest } from '../../tunnel/certificate-request.ts';
import { createLeaf, generateKey } from '../../tunnel/x509.ts';
import { identity, nth, hourMs, ttlMs, root, setup } from './certificate-source.ts';

const down = (): never => {
  throw new CulvertError('AUTHORITY_DOWN', 'no route to the authority', { fix: 'start it' });
};

t.test('after a failure the pauses grow, while the old certificate serves', async t => {
  const { clock, source, certificates, got, failures } = setup(t);
  certificates.hold(identity);
  await clock.advance(0);
  source.answer = down;
  await clock.advance(0.6 * ttlMs + 30 * 60_000);
  t.strictSame(
    failures.slice(0, 12).map(({ retryMs }) => retryMs),
    [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000, 150_000],
  );
  t.equal(certificates.current(identity), got[0]);
  t.match(certificates.state(), [{ state: 'failing', lastError: { code: 'AUTHORITY_DOWN' } }]);
  source.answer = good => good();
  await clock.advance(200_000);
  t.equal(certificates.current(identity), got[1]);
  t.match(certificates.state(), [{ state: 'valid', lastError: null }]);
  const before = failures.length;
  source.answer = down;
  await clock.advance(0.6 * ttlMs);
  t.equal(failures[before]?.retryMs, 500, 'success began the count anew');
});

t.test('pauses of those that fail together differ', async t => {
  const { clock, source, certificates, failures } = setup(t, { random: Math.random });
  source.answer = down;
  for (let n = 0; n < 8; n += 1) certificates.hold(nth(n));
  await clock.advance(1);
  t.equal(failures.length, 8);
  t.ok(new Set(failures.map(({ retryMs }) => retryMs)).size > 1);
  for (const { retryMs } of failures) t.ok(retryMs >= 400 && retryMs <= 600);
});

t.test('an expired certificate is never handed out, and the reason is known', async t => {
  const { clock, source, certificates, got } = setup(t);
  certificates.hold(identity);
  await clock.advance(0);
  source.answer = down;
  await clock.advance(ttlMs - 1);
  t.equal(certificates.current(identity), got[0]);
  await clock.advance(1);
  t.equal(certificates.current(identity), null);
  const ended = new Date(clock.now()).toISOString();
  t.match(certificates.problem(identity), {
    code: 'CERTIFICATE_EXPIRED',
    message: `the certificate of ${identity} ended at ${ended}: no route to the authority`,
    fix: 'start it',
  });
  t.match(certificates.state(), [{ state: 'expired' }]);
});

t.test('a first certificate that does not come says why', async t => {
  const { clock, source, certificates } = setup(t);
  source.answer = down;
  certificates.hold(identity);
  await clock.advance(1);
  t.match(certificates.problem(identity), {
    code: 'CERTIFICATE_PENDING',
    message: /no route/,
    fix: 'start it',
  });
  t.match(certificates.state(), [
    { state: 'pending', serial: null, notAfter: null, lastError: { code: 'AUTHORITY_DOWN' } },
  ]);
});

t.test('a source that never answers is given up on, and asked again', async t => {
  const { clock, source, certificates, failures } = setup(t, { timeoutMs: 5_000 });
  source.answer = () => new Promise(() => {});
  certificates.hold(identity);
  await clock.advance(5_000);
  t.match(failures, [{ error: { code: 'CERTIFICATE_TIMEOUT' } }]);
  source.answer = good => good();
  await clock.advance(1_000);
  t.ok(certificates.current(identity));
});

t.test('answers that are not what was asked for are failures', async t => {
  const sign = (named: string, lifeMs: number) => {
    const now = Date.now();
    const content = {
      identity: named,
      publicKey: generateKey().publicKey,
      notBefore: now - hourMs,
      notAfter: now + lifeMs,
    };
    return { chainPem: createLeaf(root.issuer, content), rootsPem: root.pem };
  };
  const answers: [(good: () => SignedCertificate) => SignedCertificate, RegExp][] = [
    [() => sign(identity, hourMs), /another key/],
    [() => sign(nth(1), hourMs), /it names spiffe:\/\/cluster\.local\/ns\/shop\/sa\/w1/],
    [good => ({ ...good(), rootsPem: '' }), /no root/],
    [good => ({ ...good(), chainPem: 'hello' }), /cannot be read/],
    [() => ({ chainPem: '', rootsPem: '' }), /cannot be read/],
  ];
  for (const [answer, message] of answers) {
    const { clock, source, certificates, failures } = setup(t);
    source.answer = answer;
    certificates.hold(identity);
    await clock.advance(0);
    t.match(failures, [{ error: { code: 'CERTIFICATE_MISMATCH', message } }]);
    t.equal(certificates.current(identity), null);
  }
  const { clock, source, certificates, failures } = setup(t);
  source.answer = good => {
    const signed = good();
    clock.set(clock.now() + 2 * ttlMs);
    return signed;
  };
  certificates.hold(identity);
  await clock.advance(0);
  t.match(failures, [{ error: { code: 'CERTIFICATE_CLOCK', message: /ended at .*, and here it is / } }]);
});

t.test('a clock that is behind is said, and one that was wrong and is right again does no harm', async t => {
  const { clock, source, certificates, got } = setup(t);
  const right = clock.now() + hourMs;
  source.answer = (_good, named, requestPem) => {
    const { publicKey } = readRequest(requestPem);
    const content = { identity: named, publicKey, notBefore: right - 120_000, notAfter: right + ttlMs };
    return { chainPem: createLeaf(root.issuer, content), rootsPem: root.pem };
  };
  certificates.hold(identity);
  await clock.advance(0);
  t.equal(certificates.current(identity), got[0], 'others take it');
  t.match(certificates.state(), [
    { state: 'failing', lastError: { code: 'CERTIFICATE_CLOCK', message: /begins at .*, and here it is / } },
  ]);
  source.answer = good => good();
  clock.set(right + 2 * ttlMs);
  await clock.advance(60_000);
  t.equal(got.length, 2, 'one that has ended while nobody looked is asked for anew');
  t.match(certificates.state(), [{ state: 'valid', lastError: null }]);
});

t.test('a root near its end cuts certificates short without a storm of requests', async t => {
  const { clock, source, certificates } = setup(t, { random: () => 0 });
  const end = clock.now() + 60_000;
  source.answer = (_good, named, requestPem) => {
    const { publicKey } = readRequest(requestPem);
    const content = { identity: named, publicKey, notBefore: clock.now() - 1_000, notAfter: end };
    return { chainPem: createLeaf(root.issuer, content), rootsPem: root.pem };
  };
  certificates.hold(identity);
  await clock.advance(59_999);
  t.ok(certificates.current(identity));
  t.ok(source.asked.length < 20, `${source.asked.length} requests`);
});

t.test('a clock that was set forward is noticed', async t => {
  const { clock, certificates, got } = setup(t);
  certificates.hold(identity);
  await clock.advance(0);
  clock.set(clock.now() + 30 * ttlMs);
  t.equal(certificates.current(identity), null);
  await clock.advance(30_000);
  t.equal(got.length, 2);
  t.ok(certificates.current(identity));
});
