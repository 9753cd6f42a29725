/**
 * Has certificates signed by the control plane, over the certificate service of Istio's public API.
 *
 * Only the request travels: keys stay with who made them. The answer brings the roots of the mesh, so this is also where an
 * agent hears that they changed.
 */
import { Metadata, status } from '@grpc/grpc-js';
import { CulvertError } from '../base/errors.ts';
import { protocols } from '../proto/load.ts';
import type { WireCertificateResponse } from '../proto/messages.ts';
import { toStruct } from '../proto/struct.ts';
import type { CertificateSource, SignedCertificate } from '../tunnel/certificate-exchange.ts';
import { callError } from './channel-errors.ts';
import { ControlChannel } from './channel.ts';
import type { ControlEndpoint } from './channel.ts';
import { certificatesOf } from './pem.ts';

export interface CertificateServiceOptions {
  readonly endpoint: ControlEndpoint;
  /** Life to ask for, asked at every request; more than the control plane gives is refused by it. */
  readonly ttlMs: () => number;
  /** Whether it asks for pods of its node, as agents do, or for whose token it shows. */
  readonly forOthers: boolean;
  /** Of one request. */
  readonly timeoutMs: number;
}

/** The name of the metadata field that says for which pod an agent asks. */
const impersonatedIdentity = 'ImpersonatedIdentity';

const method = protocols.services.certificates.CreateCertificate;

export class CertificateService implements CertificateSource {
  readonly #options: CertificateServiceOptions;
  readonly #channel: ControlChannel;
  readonly #listeners = new Set<() => void>();
  #rootsPem = '';
  /** Of the roots, in order. */
  #fingerprints = '';

  constructor(
    given: Pick<CertificateServiceOptions, 'endpoint' | 'ttlMs'> & Partial<CertificateServiceOptions>,
  ) {
    this.#options = { timeoutMs: 10_000, forOthers: true, ...given };
    this.#channel = new ControlChannel(this.#options.endpoint);
  }

  /** Rejects with a CulvertError CONTROL_*, CERTIFICATE_MISMATCH, or the signal's reason. */
  async issue(identity: string, requestPem: string, signal: AbortSignal): Promise<SignedCertificate> {
    const signed = readAnswer(await this.#ask(identity, requestPem, signal), this.#options.endpoint.address);
    this.#trust(signed.rootsPem);
    return signed;
  }

  /** Empty before the first answer. */
  roots(): string {
    return this.#rootsPem;
  }

  /** Not called for the roots of the first answer, which whoever asked has from there. */
  onRootsChanged(callback: () => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  /** Requests under way end by themselves. */
  close(): void {
    this.#channel.disconnect();
    this.#listeners.clear();
  }

  #ask(identity: string, csr: string, signal: AbortSignal): Promise<WireCertificateResponse> {
    const { endpoint, timeoutMs, ttlMs, forOthers } = this.#options;
    const request = protocols.certificateRequest.create({
      csr,
      validityDuration: Math.floor(ttlMs() / 1_000),
      ...(forOthers && { metadata: toStruct({ [impersonatedIdentity]: identity }) }),
    });
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const call = this.#channel
        .client()
        .makeUnaryRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          request,
          new Metadata(),
          { deadline: Date.now() + timeoutMs },
          (error, response) => {
            signal.removeEventListener('abort', stop);
            if (error === null && response !== undefined) {
              resolve(response);
              return;
            }
            // A way that leads nowhere is not taken again; what others ask on it ends by itself.
            if (error === null || wayLost.has(error.code)) this.#channel.disconnect();
            reject(
              error === null
                ? new CulvertError('CONTROL_FAILED', `${endpoint.address} answered nothing`, {
                    side: 'server',
                  })
                : callError(error, endpoint),
            );
          },
        );
      const stop = (): void => {
        reject(signal.reason instanceof Error ? signal.reason : new Error('stopped'));
        call.cancel();
      };
      signal.addEventListener('abort', stop, { once: true });
    });
  }

  #trust(rootsPem: string): void {
    const fingerprints = certificatesOf(rootsPem)
      .map(({ fingerprint256 }) => fingerprint256)
      .sort()
      .join();
    if (fingerprints === this.#fingerprints) return;
    const isFirst = this.#rootsPem === '';
    this.#rootsPem = rootsPem;
    this.#fingerprints = fingerprints;
    if (!isFirst) for (const listener of this.#listeners) listener();
  }
}

const wayLost: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.DEADLINE_EXCEEDED]);

/** Leaf and intermediates, and last all roots in one entry. */
function readAnswer({ certChain }: WireCertificateResponse, address: string): SignedCertificate {
  const mismatch = (what: string, cause?: unknown): CulvertError =>
    new CulvertError('CERTIFICATE_MISMATCH', `the certificate service of ${address} answered ${what}`, {
      side: 'server',
      fix: 'check that this is a certificate service, and its roots',
      cause,
    });
  const chain = certChain.map(pem => pem.trim()).filter(pem => pem !== '');
  const roots = chain.pop();
  if (roots === undefined) throw mismatch('without a certificate');
  if (chain.length === 0) throw mismatch('without a root');
  try {
    certificatesOf(roots);
  } catch (thrown) {
    throw mismatch('with roots that cannot be read', thrown);
  }
  return { chainPem: `${chain.join('\n')}\n`, rootsPem: `${roots}\n` };
}
