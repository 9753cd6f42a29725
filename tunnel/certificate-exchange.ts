/**
 * One exchange with whoever signs: a new key, a request for it, and the check that what came back is what was asked for.
 */
import { X509Certificate } from 'node:crypto';
import { CulvertError } from '../base/errors.ts';
import { createRequest } from './certificate-request.ts';
import type { IssuedCertificate } from './certificates.ts';
import type { Clock } from './clock.ts';
import { peerIdentity } from './subject-alt-name.ts';
import { generateKey } from './x509.ts';

/** What a signer gives back: leaf and intermediates, and the roots to trust from now on. */
export interface SignedCertificate {
  readonly chainPem: string;
  readonly rootsPem: string;
}

/** Who signs: the embedded authority, or a certificate service elsewhere. */
export interface CertificateSource {
  /** Has `requestPem` (see certificate-request.ts) signed. Rejects with what went wrong, or when the signal says stop. */
  issue(identity: string, requestPem: string, signal: AbortSignal): Promise<SignedCertificate>;
  /** Roots to trust now, in PEM. */
  roots(): string;
  /** Calls back when roots or signer changed; returns what ends that. */
  onRootsChanged(callback: () => void): () => void;
}

/** The key is new for every certificate and exists in memory only. */
export async function requestCertificate(
  source: CertificateSource,
  identity: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<IssuedCertificate> {
  const key = generateKey();
  const answer = source.issue(identity, createRequest(identity, key), signal);
  const { chainPem, rootsPem } = await Promise.race([answer, aborted(signal)]);
  const leaf = leafOf(chainPem);
  const notAfter = leaf.validToDate.getTime();
  const problem = whatIsWrong();
  if (problem !== null) {
    throw new CulvertError(
      'CERTIFICATE_MISMATCH',
      `the certificate that came for ${identity} cannot be used: ${problem}`,
      {
        fix: 'check the certificate service and the clocks of both machines',
      },
    );
  }
  return {
    identity,
    certificatePem: chainPem,
    privateKeyPem: key.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    rootsPem,
    notBefore: leaf.validFromDate.getTime(),
    notAfter,
    serial: leaf.serialNumber,
  };

  function whatIsWrong(): string | null {
    const { identity: named } = peerIdentity(leaf.subjectAltName);
    if (named !== identity) return `it names ${named ?? 'nobody'}`;
    if (!leaf.checkPrivateKey(key.privateKey)) return 'it is for another key';
    if (notAfter <= clock.now()) return `it ended at ${leaf.validTo}`;
    if (!rootsPem.includes('-----BEGIN CERTIFICATE-----')) return 'no root came with it';
    return null;
  }
}

function leafOf(chainPem: string): X509Certificate {
  try {
    return new X509Certificate(chainPem);
  } catch (cause) {
    throw new CulvertError('CERTIFICATE_MISMATCH', 'what came instead of a certificate cannot be read', {
      cause,
    });
  }
}

/** Rejects when the signal says so, for sources that don't look at it. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void => reject(signal.reason instanceof Error ? signal.reason : new Error('stopped'));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
