/**
 * What the control plane itself shows to its clients: a certificate for its DNS names by its own authority, with a new key
 * for every one, made anew long before it ends and whenever who signs has changed. Nothing of it touches a disk.
 */
import { X509Certificate } from 'node:crypto';
import { type CulvertError, asCulvertError } from '../base/errors.ts';
import { systemClock, type Clock } from '../tunnel/clock.ts';
import { renewalDelayMs, retryDelayMs } from '../tunnel/renewal.ts';
import { generateKey } from '../tunnel/x509.ts';
import type { ClusterAuthority } from './authority-store.ts';
import type { ControlMetrics } from './control-metrics.ts';
import type { ServingKey } from './grpc-server.ts';

export interface ServingCertificateOptions {
  readonly authority: Pick<ClusterAuthority, 'sign' | 'onRootsChanged'>;
  readonly dnsNames: readonly string[];
  /** Gets each certificate. */
  readonly use: (key: ServingKey) => void;
  readonly onFailure: (error: CulvertError) => void;
  readonly ttlMs: number;
  readonly metrics: Pick<ControlMetrics, 'servingExpiry' | 'certificatesIssued'> | null;
  readonly clock: Clock;
  readonly random: () => number;
}

/** The names under which a Service is found inside a cluster. */
export function serviceNames(service: string, namespace: string, clusterDomain: string): string[] {
  const base = `${service}.${namespace}`;
  return [service, base, `${base}.svc`, `${base}.svc.${clusterDomain}`];
}

const dayMs = 86_400_000;

export class ServingCertificate {
  readonly #options: ServingCertificateOptions;
  readonly #stopListening: () => void;
  #cancel: () => void = () => {};
  #failures = 0;

  /** Makes the first one at once. Throws CulvertError when the authority can't. */
  constructor(
    given: Pick<ServingCertificateOptions, 'authority' | 'dnsNames' | 'use'> &
      Partial<ServingCertificateOptions>,
  ) {
    this.#options = {
      ttlMs: dayMs,
      onFailure: () => {},
      metrics: null,
      clock: systemClock,
      random: Math.random,
      ...given,
    };
    this.#renew();
    this.#stopListening = this.#options.authority.onRootsChanged(() => this.#tryToRenew());
  }

  close(): void {
    this.#stopListening();
    this.#cancel();
  }

  #tryToRenew(): void {
    const { onFailure, clock, random } = this.#options;
    try {
      this.#renew();
      this.#failures = 0;
    } catch (thrown) {
      this.#failures += 1;
      this.#cancel();
      this.#cancel = clock.after(retryDelayMs(this.#failures, random()), () => this.#tryToRenew());
      onFailure(asCulvertError(thrown, 'CERTIFICATE_REQUEST_FAILED'));
    }
  }

  #renew(): void {
    const { authority, dnsNames, use, ttlMs, clock, random, metrics } = this.#options;
    const key = generateKey();
    const { chainPem } = authority.sign({ kind: 'server', dnsNames }, key.publicKey, ttlMs);
    use({
      certificatePem: chainPem,
      privateKeyPem: key.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    });
    const notAfter = new X509Certificate(chainPem).validToDate.getTime();
    metrics?.servingExpiry.set(notAfter / 1_000);
    metrics?.certificatesIssued.inc({ kind: 'serving' });
    this.#cancel();
    this.#cancel = clock.after(renewalDelayMs(notAfter - clock.now(), random()), () => this.#tryToRenew());
  }
}
