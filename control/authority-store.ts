/**
 * The authority of a cluster: its bundle lies in a Secret that all replicas read, and whichever comes first makes.
 *
 * Replicas come and go while others trust what they signed. What is distributed to those others (the ConfigMap
 * `culvert-root`) tells a replica that starts whether the Secret has been changed meanwhile, so that such a change takes
 * effect by overlap as well. A Secret that can't be used is refused and the last good state goes on.
 */
import { type KeyObject, X509Certificate } from 'node:crypto';
import { CulvertError, asCulvertError } from '../base/errors.ts';
import { newBundle } from '../tunnel/authority.ts';
import { parseBundle } from '../tunnel/authority-bundle.ts';
import type { SignedCertificate } from '../tunnel/certificate-exchange.ts';
import { systemClock, type Clock } from '../tunnel/clock.ts';
import { retryDelayMs } from '../tunnel/renewal.ts';
import { SigningAuthority, type SigningStatus, type Subject } from '../tunnel/signing-authority.ts';

/** Where the bundle lies. */
export interface BundleStore {
  /** For messages, as `Secret culvert-system/culvert-authority`. */
  readonly name: string;
  /** Text of the bundle (see tunnel/authority-bundle.ts), null when there is none. */
  read(): Promise<string | null>;
  /** `exists` when another was first; then `read` gives that one's. */
  create(bundle: string): Promise<'made' | 'exists'>;
  /** Calls back when it may have changed; returns what ends that. */
  onChange(callback: () => void): () => void;
}

export interface ClusterAuthorityOptions {
  readonly store: BundleStore;
  /** Roots that are distributed already, in PEM; empty where none are. */
  readonly distributedPem: string;
  /** How long until all who trust have learned of a new root: they hear of it with their next certificate. */
  readonly overlapMs: number;
  readonly warnMs: number;
  readonly clock: Clock;
  /** Called when the bundle becomes unusable, with why, and with null when it is good again. */
  readonly onProblem: (problem: CulvertError | null) => void;
}

export interface ClusterAuthorityStatus extends SigningStatus {
  readonly problem: CulvertError | null;
}

const dayMs = 86_400_000;

const clusterAuthorityDefaults = {
  distributedPem: '',
  overlapMs: dayMs,
  warnMs: 30 * dayMs,
  clock: systemClock,
  onProblem: () => {},
} satisfies Partial<ClusterAuthorityOptions>;

export class ClusterAuthority {
  readonly #options: ClusterAuthorityOptions;
  readonly #signing: SigningAuthority;
  readonly #stopListening: () => void;
  #text: string;
  #problem: CulvertError | null = null;
  #failures = 0;
  #looking = false;
  #lookAgain = false;
  #cancelRetry: () => void = () => {};
  #closed = false;

  private constructor(options: ClusterAuthorityOptions, text: string) {
    this.#options = options;
    this.#text = text;
    const { store, overlapMs, warnMs, clock, distributedPem } = options;
    this.#signing = new SigningAuthority(parseBundle(text, store.name), {
      overlapMs,
      warnMs,
      clock,
      distributed: distributedPem === '' ? null : certificates(distributedPem),
    });
    this.#stopListening = store.onChange(() => void this.#look());
  }

  /**
   * Reads the bundle, or makes it where no root is trusted yet. Rejects with CulvertError when it can do neither, with
   * AUTHORITY_MISSING when there was one.
   */
  static async open(
    given: Pick<ClusterAuthorityOptions, 'store'> & Partial<ClusterAuthorityOptions>,
  ): Promise<ClusterAuthority> {
    const options: ClusterAuthorityOptions = { ...clusterAuthorityDefaults, ...given };
    const { store, clock } = options;
    const present = await store.read();
    if (present !== null) return new ClusterAuthority(options, present);
    // Somebody trusts a root whose key is gone. Another one, made here unasked, would split the mesh in two.
    if (options.distributedPem !== '') throw lost(store.name);
    await store.create(newBundle(clock.now()));
    // Whoever made it: what lies there counts.
    const made = await store.read();
    if (made === null) throw missing(store.name);
    return new ClusterAuthority(options, made);
  }

  /** Signs for whoever has the key; that it may have these names is for the caller to know. */
  sign(subject: Subject, publicKey: KeyObject, ttlMs: number): SignedCertificate {
    return this.#signing.sign(subject, publicKey, ttlMs);
  }

  /** Roots to trust now, in PEM: what is to be distributed. */
  roots(): string {
    return this.#signing.roots();
  }

  /** Calls back when what is trusted or who signs has changed; returns what ends that. */
  onRootsChanged(callback: () => void): () => void {
    return this.#signing.onRootsChanged(callback);
  }

  status(): ClusterAuthorityStatus {
    return { ...this.#signing.status(), problem: this.#problem };
  }

  close(): void {
    this.#closed = true;
    this.#stopListening();
    this.#cancelRetry();
    this.#signing.close();
  }

  async #look(): Promise<void> {
    if (this.#looking) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = true;
    this.#cancelRetry();
    do {
      this.#lookAgain = false;
      await this.#adopt();
    } while (this.#lookAgain && !this.#closed);
    this.#looking = false;
  }

  async #adopt(): Promise<void> {
    const { store, clock } = this.#options;
    try {
      const text = await store.read();
      if (this.#closed) return;
      if (text === null) throw missing(store.name);
      if (text !== this.#text) {
        const bundle = parseBundle(text, store.name);
        this.#text = text;
        this.#signing.adopt(bundle);
      }
      this.#failures = 0;
      this.#report(null);
    } catch (thrown) {
      if (this.#closed) return;
      this.#report(asCulvertError(thrown, 'AUTHORITY_UNREADABLE'));
      // It may have been the API server that was away, and then nothing will call back.
      this.#failures += 1;
      this.#cancelRetry = clock.after(retryDelayMs(this.#failures, Math.random()), () => void this.#look());
    }
  }

  #report(problem: CulvertError | null): void {
    if (problem?.message === this.#problem?.message) return;
    this.#problem = problem;
    this.#options.onProblem(problem);
  }
}

function certificates(pem: string): X509Certificate[] {
  try {
    const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
    return blocks.map(block => new X509Certificate(block));
  } catch {
    // What nobody can read, nobody trusts.
    return [];
  }
}

function lost(name: string): CulvertError {
  return new CulvertError(
    'AUTHORITY_MISSING',
    `${name} is gone, and its root is distributed: no other is made`,
    {
      fix: 'put it back from a backup; to begin anew, delete the ConfigMap culvert-root and restart agents and workloads',
    },
  );
}

function missing(name: string): CulvertError {
  return new CulvertError('AUTHORITY_MISSING', `${name} is gone`, {
    fix: 'put it back from a backup; replicas that run go on with what they have',
  });
}
