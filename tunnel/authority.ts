/**
 * The embedded certificate authority: signs for the agents of one mesh out of one file, with no service to run.
 *
 * Made at first start, watched while running. An edit that can't be used is refused and the last good state goes on; how
 * a good one takes effect is root-rotation.ts. Lives in the main thread; nothing here is on a connection's path.
 */
import { X509Certificate } from 'node:crypto';
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { dirname } from 'node:path';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { formatBundle, parseBundle } from './authority-bundle.ts';
import { createAuthorityFile, readAuthorityFile } from './authority-file.ts';
import type { AuthorityStatus } from './authority-status.ts';
import { readRequest } from './certificate-request.ts';
import type { CertificateSource, SignedCertificate } from './certificate-exchange.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { clockSkewMs, SigningAuthority } from './signing-authority.ts';
import { createRoot, generateKey } from './x509.ts';

export interface AuthorityOptions {
  readonly path: string;
  /** Life of a workload's certificate, milliseconds; never longer than its root's. */
  readonly leafTtlMs: number;
  /** How far apart agents may notice an edit of the file; see root-rotation.ts. */
  readonly overlapMs: number;
  /** Looks at the file this often even if the kernel reports no change (network file systems). */
  readonly pollMs: number;
  /** `status` warns when the signing root has less than this left. */
  readonly warnMs: number;
  readonly clock: Clock;
  /** Called when the file becomes unusable, with why, and with null when it is good again. */
  readonly onProblem: (problem: CulvertError | null) => void;
}

const dayMs = 86_400_000;

export const authorityDefaults = {
  leafTtlMs: dayMs,
  overlapMs: 10_000,
  pollMs: 2_000,
  warnMs: 30 * dayMs,
  clock: systemClock,
  onProblem: () => {},
} satisfies Partial<AuthorityOptions>;

const rootTtlMs = 3_650 * dayMs;
const settleFileMs = 20;

/** A new root and its key as the content of an authority file. */
export function newBundle(now: number): string {
  const key = generateKey();
  const pem = createRoot(key, {
    organization: 'culvert',
    notBefore: now - clockSkewMs,
    notAfter: now + rootTtlMs,
  });
  return formatBundle([{ certificate: new X509Certificate(pem), privateKey: key.privateKey }]);
}

export class Authority implements CertificateSource {
  readonly #options: AuthorityOptions;
  readonly #signing: SigningAuthority;
  #text: string;
  #problem: CulvertError | null = null;
  #watcher: FSWatcher | null = null;
  #cancelPoll: () => void = () => {};
  #cancelLook: (() => void) | null = null;

  private constructor(options: AuthorityOptions, text: string) {
    this.#options = options;
    this.#text = text;
    this.#signing = new SigningAuthority(parseBundle(text, options.path), { ...options, distributed: null });
  }

  /** Reads the file, or makes it. Throws CulvertError when it can do neither. */
  static open(given: Pick<AuthorityOptions, 'path'> & Partial<AuthorityOptions>): Authority {
    const options: AuthorityOptions = { ...authorityDefaults, ...given };
    const present = readAuthorityFile(options.path);
    if (present !== null) return new Authority(options, present);
    createAuthorityFile(options.path, newBundle(options.clock.now()));
    // Another agent may have been faster: what lies there counts.
    const made = readAuthorityFile(options.path);
    if (made === null)
      throw new CulvertError('AUTHORITY_MISSING', `${options.path} vanished as soon as it was made`);
    return new Authority(options, made);
  }

  /** From now on edits of the file take effect. */
  watch(): void {
    if (this.#watcher !== null) return;
    try {
      // The directory, since the file itself is replaced by another.
      this.#watcher = watch(dirname(this.#options.path), { persistent: false }, () => this.#lookSoon());
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      // No inotify left, or none on this file system: polling finds every change, a little later.
    }
    this.#poll();
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = null;
    this.#cancelPoll();
    this.#cancelLook?.();
    this.#signing.close();
  }

  async issue(identity: string, requestPem: string): Promise<SignedCertificate> {
    const request = readRequest(requestPem);
    if (request.identity !== identity) {
      throw new CulvertError(
        'CERTIFICATE_REQUEST_INVALID',
        `the request names ${request.identity}, not ${identity}`,
        {
          side: 'client',
        },
      );
    }
    return this.#signing.sign({ kind: 'workload', identity }, request.publicKey, this.#options.leafTtlMs);
  }

  roots(): string {
    return this.#signing.roots();
  }

  /** Calls back when what is trusted or who signs has changed; returns what ends that. */
  onRootsChanged(callback: () => void): () => void {
    return this.#signing.onRootsChanged(callback);
  }

  status(): AuthorityStatus {
    return { path: this.#options.path, ...this.#signing.status(), problem: this.#problem };
  }

  #poll(): void {
    this.#cancelPoll = this.#options.clock.after(this.#options.pollMs, () => {
      this.#look();
      this.#poll();
    });
  }

  /** Editors write in several steps; one look after them is enough. */
  #lookSoon(): void {
    this.#cancelLook ??= this.#options.clock.after(settleFileMs, () => {
      this.#cancelLook = null;
      this.#look();
    });
  }

  #look(): void {
    const { path } = this.#options;
    try {
      const text = readAuthorityFile(path);
      if (text === null)
        throw new CulvertError('AUTHORITY_MISSING', `${path} is gone`, { fix: 'put it back from a backup' });
      if (text !== this.#text) {
        const bundle = parseBundle(text, path);
        this.#text = text;
        this.#signing.adopt(bundle);
      }
      this.#report(null);
    } catch (thrown) {
      this.#report(asCulvertError(thrown, 'AUTHORITY_INVALID'));
    }
  }

  #report(problem: CulvertError | null): void {
    if (problem?.message === this.#problem?.message) return;
    this.#problem = problem;
    this.#options.onProblem(problem);
  }
}
