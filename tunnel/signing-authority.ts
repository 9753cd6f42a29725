/**
 * Who signs, whatever its key lies in: a bundle of roots and keys in, certificates and roots to trust out.
 *
 * The embedded authority (authority.ts) reads its bundle from a file, a control plane from a Secret. A bundle that replaces
 * another takes effect by overlap, see root-rotation.ts. Nothing here is on a connection's path.
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import { CulvertError } from '../base/errors.ts';
import type { AuthorityBundle } from './authority-bundle.ts';
import { describeRoot, type RootStatus } from './authority-status.ts';
import type { SignedCertificate } from './certificate-exchange.ts';
import type { Clock } from './clock.ts';
import { RootRotation } from './root-rotation.ts';
import { createLeaf, createServerLeaf, readIssuer, type Issuer } from './x509.ts';

export interface SigningOptions {
  /** How far apart those who trust may notice a change; see root-rotation.ts. */
  readonly overlapMs: number;
  /** `status` warns when the signing root has less than this left. */
  readonly warnMs: number;
  readonly clock: Clock;
  /** Roots that others trust already, for a bundle that may have changed unseen; null where that is those in it. */
  readonly distributed: readonly X509Certificate[] | null;
}

/** Whom a certificate is for. */
export type Subject =
  | { readonly kind: 'workload'; readonly identity: string }
  | { readonly kind: 'server'; readonly dnsNames: readonly string[] };

export interface SigningStatus {
  /** The one that signs first. */
  readonly roots: readonly RootStatus[];
  /** Moment after which nothing can be signed (ms since the epoch), and whether that is near. */
  readonly notAfter: number;
  readonly expiresSoon: boolean;
}

/** Certificates are valid from a little before they are made: peers' clocks are never quite equal. */
export const clockSkewMs = 120_000;
/** A timer can't be set for longer than 24 days. */
const maxNapMs = 86_400_000;

export class SigningAuthority {
  readonly #options: SigningOptions;
  readonly #rotation: RootRotation;
  readonly #listeners = new Set<() => void>();
  #issuer: Issuer;
  #cancelSettle: () => void = () => {};

  constructor(bundle: AuthorityBundle, options: SigningOptions) {
    this.#options = options;
    const { overlapMs, clock, distributed } = options;
    this.#rotation = new RootRotation(
      bundle,
      overlapMs,
      distributed === null ? null : { roots: distributed, now: clock.now() },
    );
    this.#issuer = this.#readIssuer();
    this.#scheduleSettling();
  }

  /** Takes the place of the bundle before, step by step. */
  adopt(bundle: AuthorityBundle): void {
    this.#rotation.adopt(bundle, this.#options.clock.now());
    this.#changed();
  }

  /** Signs for whoever has the key; that it may have these names is for the caller to know. Never outlives the root. */
  sign(subject: Subject, publicKey: KeyObject, ttlMs: number): SignedCertificate {
    const now = this.#options.clock.now();
    const { certificate, chainPem, root } = this.#rotation.signer;
    const ends = Math.min(certificate.validToDate.getTime(), root.validToDate.getTime());
    const starts = Math.max(certificate.validFromDate.getTime(), root.validFromDate.getTime());
    if (starts > now) {
      throw new CulvertError(
        'AUTHORITY_NOT_YET_VALID',
        `the authority is valid from ${new Date(starts).toISOString()}`,
        {
          fix: 'set the clock of this machine',
        },
      );
    }
    if (ends <= now) {
      throw new CulvertError('AUTHORITY_EXPIRED', `the authority ended at ${new Date(ends).toISOString()}`, {
        fix: 'make a new root with `culvert authority rotate`, or check the clock of this machine',
      });
    }
    const content = {
      publicKey,
      notBefore: Math.max(now - clockSkewMs, starts),
      notAfter: Math.min(now + ttlMs, ends),
    };
    const leaf =
      subject.kind === 'workload'
        ? createLeaf(this.#issuer, { ...content, identity: subject.identity })
        : createServerLeaf(this.#issuer, { ...content, dnsNames: subject.dnsNames });
    return { chainPem: leaf + chainPem, rootsPem: this.roots() };
  }

  /** Roots to trust now, in PEM; the one that signs first. */
  roots(): string {
    return this.#rotation
      .roots()
      .map(({ certificate }) => certificate.toString())
      .join('');
  }

  /** Calls back when what is trusted or who signs has changed; returns what ends that. */
  onRootsChanged(callback: () => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  status(): SigningStatus {
    const { certificate, root } = this.#rotation.signer;
    const notAfter = Math.min(certificate.validToDate.getTime(), root.validToDate.getTime());
    return {
      roots: this.#rotation.roots().map(({ certificate, state }) => describeRoot(certificate, state)),
      notAfter,
      expiresSoon: notAfter - this.#options.clock.now() < this.#options.warnMs,
    };
  }

  close(): void {
    this.#cancelSettle();
    this.#listeners.clear();
  }

  #changed(): void {
    this.#issuer = this.#readIssuer();
    this.#scheduleSettling();
    for (const listener of this.#listeners) listener();
  }

  #scheduleSettling(): void {
    const { clock } = this.#options;
    this.#cancelSettle();
    const next = this.#rotation.nextAt();
    if (next === null) return;
    this.#cancelSettle = clock.after(Math.min(Math.max(next - clock.now(), 1), maxNapMs), () => {
      if (this.#rotation.settle(clock.now())) this.#changed();
      else this.#scheduleSettling();
    });
  }

  #readIssuer(): Issuer {
    const { certificate, privateKey } = this.#rotation.signer;
    return readIssuer(certificate, privateKey);
  }
}
