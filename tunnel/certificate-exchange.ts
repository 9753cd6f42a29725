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
  const notBefore = leaf.validFromDate.getTime();
  const notAfter = leaf.validToDate.getTime();
  if (notAfter <= clock.now()) {
    throw clockProblem(`the certificate that came for ${identity} ended at ${leaf.validTo}`, clock);
  }
  const problem = whatIsWrong();
  if (problem !== null) {
    throw new CulvertError(
      'CERTIFICATE_MISMATCH',
      `the certificate that came for ${identity} cannot be used: ${problem}`,
      {
        fix: 'check the certificate service',
      },
    );
  }
  return {
    identity,
    certificatePem: chainPem,
    privateKeyPem: key.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    rootsPem,
    notBefore,
    notAfter,
    serial: leaf.serialNumber,
  };

  function whatIsWrong(): string | null {
    const { identity: named } = peerIdentity(leaf.subjectAltName);
    if (named !== identity) return `it names ${named ?? 'nobody'}`;
    if (!leaf.checkPrivateKey(key.privateKey)) return 'it is for another key';
    if (!rootsPem.includes('-----BEGIN CERTIFICATE-----')) return 'no root came with it';
    return null;
  }
}

/**
 * What is wrong with a certificate that was made later than it is here: others take it, but theirs are not taken here. Null
 * where it has begun.
 */
export function earlyProblem(
  { identity, notBefore }: Pick<IssuedCertificate, 'identity' | 'notBefore'>,
  clock: Clock,
): CulvertError | null {
  if (notBefore <= clock.now()) return null;
  return clockProblem(
    `the certificate that came for ${identity} begins at ${new Date(notBefore).toISOString()}`,
    clock,
  );
}

function clockProblem(what: string, clock: Clock): CulvertError {
  return new CulvertError(
    'CERTIFICATE_CLOCK',
    `${what}, and here it is ${new Date(clock.now()).toISOString()}`,
    { fix: 'set the clock of this machine, or that of whoever signs: they differ' },
  );
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
