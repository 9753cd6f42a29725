import { X509Certificate } from 'node:crypto';
import t from 'tap';
import type { Test } from 'tap';
import { CulvertError } from '../../base/errors.ts';
import type { CertificateSource, SignedCertificate } from '../../tunnel/certificate-exchange.ts';
import { readRequest } from '../../tunnel/certificate-request.ts';
import { Certificates } from '../../tunnel/certificates.ts';
import type { CertificatesOptions, IssuedCertificate } from '../../tunnel/certificates.ts';
import { createLeaf, generateKey } from '../../tunnel/x509.ts';
import { FakeClock } from './fake-clock.ts';
import { makeRoot } from './pki.ts';

const identity = 'spiffe://cluster.local/ns/shop/sa/cart';
const nth = (n: number): string => `spiffe://cluster.local/ns/shop/sa/w${n}`;
const hourMs = 3_600_000;
const ttlMs = 24 * hourMs;
const root = makeRoot();

/** Signs what it is asked for, unless a test says otherwise. */
class FakeSource implements CertificateSource {
  readonly #clock: FakeClock;
  readonly asked: string[] = [];
  rootsPem = root.pem;
  /** Replaces the answer. */
  answer: (
    good: () => SignedCertificate,
    identity: string,
    requestPem: string,
  ) => SignedCertificate | Promise<SignedCertificate> = good => good();
  #listener: () => void = () => {};

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  async issue(identity: string, requestPem: string): Promise<SignedCertificate> {
    this.asked.push(identity);
    return this.answer(() => this.sign(identity, requestPem), identity, requestPem);
  }

  sign(identity: string, requestPem: string): SignedCertificate {
    const now = this.#clock.now();
    const { publicKey } = readRequest(requestPem);
    const chainPem = createLeaf(root.issuer, {
      identity,
      publicKey,
      notBefore: now - 120_000,
      notAfter: now + ttlMs,
    });
    return { chainPem, rootsPem: this.rootsPem };
  }

  roots(): string {
    return this.rootsPem;
  }

  onRootsChanged(callback: () => void): () => void {
    this.#listener = callback;
    return () => (this.#listener = () => {});
  }

  changeRoots(pem: string): void {
    this.rootsPem = pem;
    this.#listener();
  }
}

function setup(t: Test, options: Partial<CertificatesOptions> = {}) {
  // Whole seconds, as certificates have them.
  const clock = new FakeClock(Math.floor(Date.now() / 1_000) * 1_000);
  const source = new FakeSource(clock);
  const got: IssuedCertificate[] = [];
  const failures: { error: CulvertError; retryMs: number }[] = [];
  const certificates = new Certificates({
    source,
    clock,
    random: () => 0.5,
    onCertificate: (_identity, certificate) => got.push(certificate),
    onFailure: (_identity, error, retryMs) => failures.push({ error, retryMs }),
    ...options,
  });
  t.teardown(() => certificates.close());
  return { clock, source, certificates, got, failures };
}

const down = (): never => {
  throw new CulvertError('AUTHORITY_DOWN', 'no route to the authority', { fix: 'start it' });
};

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
