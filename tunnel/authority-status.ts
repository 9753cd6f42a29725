/**
 * The authority as operators see it: `culvert status`, `culvert authority rotate`, the admin page, metrics.
 */
import type { X509Certificate } from 'node:crypto';
import type { CulvertError } from '../base/errors.ts';
import { fingerprintOf } from './authority-bundle.ts';
import type { RootState } from './root-rotation.ts';

export interface RootStatus {
  /** SHA-256, lower-case hex. */
  readonly fingerprint: string;
  readonly subject: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly state: RootState;
}

export interface AuthorityStatus {
  readonly path: string;
  /** The one that signs first. */
  readonly roots: readonly RootStatus[];
  /** Why the file as it is now isn't in use, if it isn't. */
  readonly problem: CulvertError | null;
  /** Moment after which nothing can be signed (ms since the epoch), and whether that is near. */
  readonly notAfter: number;
  readonly expiresSoon: boolean;
}

export function describeRoot(certificate: X509Certificate, state: RootState): RootStatus {
  return {
    fingerprint: fingerprintOf(certificate),
    subject: certificate.subject.replace(/\n/g, ', '),
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
    state,
  };
}
