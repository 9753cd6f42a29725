/** A source of certificates that a test has in its hand, and what holds its certificates over a clock of the test. */
import type { CulvertError } from '../../base/errors.ts';
import type { CertificateSource, SignedCertificate } from '../../tunnel/certificate-exchange.ts';
import { readRequest } from '../../tunnel/certificate-request.ts';
import { Certificates, type CertificatesOptions, type IssuedCertificate } from '../../tunnel/certificates.ts';
import { createLeaf } from '../../tunnel/x509.ts';
import { FakeClock } from './fake-clock.ts';
import { makeRoot } from './pki.ts';

export const identity = 'spiffe://cluster.local/ns/shop/sa/cart';
export const nth = (n: number): string => `spiffe://cluster.local/ns/shop/sa/w${n}`;
export const hourMs = 3_600_000;
export const ttlMs = 24 * hourMs;
export const root = makeRoot();

/** Signs what it is asked for, unless a test says otherwise. */
export class FakeSource implements CertificateSource {
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

/** Certificates over a source and a clock of the test. */
export function setup(
  t: { teardown(ending: () => unknown): void },
  options: Partial<CertificatesOptions> = {},
) {
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
