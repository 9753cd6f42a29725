/**
 * Which roots to trust and which one to sign with while the authority's file changes under agents that see each change
 * at slightly different moments.
 *
 * A new root is trusted at once, signs after one overlap, and a root that left the file is trusted for two: whatever one
 * agent has begun to sign with, the others trust already, and what another still shows is trusted still. So an edit that
 * replaces the only root cuts nobody off, as long as all agents see it within one overlap.
 */
import type { X509Certificate } from 'node:crypto';
import { fingerprintOf, rootsOf, signerOf } from './authority-bundle.ts';
import type { AuthorityBundle, Signer } from './authority-bundle.ts';

interface TrustedRoot {
  readonly certificate: X509Certificate;
  /** Milliseconds since the epoch; minus infinity for what was there from the start. */
  readonly since: number;
  dropAt: number | null;
}

export interface Distributed {
  readonly roots: readonly X509Certificate[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export type RootState = 'signing' | 'trusted' | 'joining' | 'leaving';

export class RootRotation {
  readonly #overlapMs: number;
  readonly #trusted = new Map<string, TrustedRoot>();
  #wanted: Signer;
  #signer: Signer;
  #signerSince = -Infinity;

  /**
   * @param distributed what others trust at the start, where that need not be what the bundle has: it may have been
   * changed while nobody looked, and that is a change like any other. Null where the two are the same.
   */
  constructor(bundle: AuthorityBundle, overlapMs: number, distributed: Distributed | null = null) {
    this.#overlapMs = overlapMs;
    this.#wanted = signerOf(bundle);
    if (distributed === null || distributed.roots.length === 0) {
      this.#signer = this.#wanted;
      for (const root of rootsOf(bundle)) this.#trust(root, -Infinity);
      return;
    }
    for (const root of distributed.roots) this.#trust(root, -Infinity);
    this.#signer = trustedSigner(bundle, new Set(this.#trusted.keys())) ?? this.#wanted;
    this.adopt(bundle, distributed.now);
  }

  get signer(): Signer {
    return this.#signer;
  }

  /** The root that signs comes first. */
  roots(): { certificate: X509Certificate; state: RootState }[] {
    const signing = fingerprintOf(this.#signer.root);
    const wanted = fingerprintOf(this.#wanted.root);
    const states = Array.from(this.#trusted, ([fingerprint, { certificate, dropAt }]) => {
      let state: RootState = dropAt === null ? 'trusted' : 'leaving';
      if (fingerprint === wanted) state = 'joining';
      if (fingerprint === signing) state = 'signing';
      return { certificate, state };
    });
    return states.sort((a, b) => Number(b.state === 'signing') - Number(a.state === 'signing'));
  }

  /** Takes the file's new content. */
  adopt(bundle: AuthorityBundle, now: number): void {
    this.#wanted = signerOf(bundle);
    const listed = rootsOf(bundle);
    for (const root of listed) this.#trust(root, now);
    const stay = new Set(listed.map(fingerprintOf));
    for (const [fingerprint, root] of this.#trusted) {
      if (!stay.has(fingerprint)) root.dropAt ??= now + 2 * this.#overlapMs;
    }
    this.settle(now);
  }

  /** Does what is due; returns whether anything changed. */
  settle(now: number): boolean {
    const before = `${this.#signer.certificate.fingerprint256} ${this.#trusted.size}`;
    if (this.#signAt() <= now) {
      this.#signer = this.#wanted;
      this.#signerSince = now;
    }
    for (const [fingerprint, root] of this.#trusted) {
      if (this.#dropAt(fingerprint, root) <= now) this.#trusted.delete(fingerprint);
    }
    return before !== `${this.#signer.certificate.fingerprint256} ${this.#trusted.size}`;
  }

  /** When `settle` has something to do next, milliseconds since the epoch; null for never. */
  nextAt(): number | null {
    const moments = Array.from(this.#trusted, ([fingerprint, root]) => this.#dropAt(fingerprint, root));
    const next = Math.min(this.#signAt(), ...moments);
    return Number.isFinite(next) ? next : null;
  }

  #trust(certificate: X509Certificate, since: number): void {
    const fingerprint = fingerprintOf(certificate);
    const known = this.#trusted.get(fingerprint);
    if (known === undefined) this.#trusted.set(fingerprint, { certificate, since, dropAt: null });
    else known.dropAt = null;
  }

  /** Infinity when the wanted one signs already. */
  #signAt(): number {
    if (this.#wanted.certificate.fingerprint256 === this.#signer.certificate.fingerprint256) return Infinity;
    const root = this.#trusted.get(fingerprintOf(this.#wanted.root));
    return root === undefined ? Infinity : Math.max(root.since + this.#overlapMs, 0);
  }

  #dropAt(fingerprint: string, root: TrustedRoot): number {
    if (root.dropAt === null || fingerprint === fingerprintOf(this.#signer.root)) return Infinity;
    // What we signed with it may still be shown for a moment after the signer changed.
    return Math.max(root.dropAt, this.#signerSince + this.#overlapMs);
  }
}

/** The first of the bundle's keys whose root is among these. */
function trustedSigner(bundle: AuthorityBundle, trusted: ReadonlySet<string>): Signer | null {
  const signers = bundle
    .filter(({ privateKey }) => privateKey !== null)
    .map(entry => signerOf([entry, ...bundle.filter(other => other !== entry)]));
  return signers.find(({ root }) => trusted.has(fingerprintOf(root))) ?? null;
}
