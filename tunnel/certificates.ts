/**
 * Holds a valid certificate for every identity that a pod of this node has, from before its first connection.
 *
 * Lives in the main thread, which alone makes keys and asks for signatures; shards get the result as PEM. A failed
 * renewal is tried again with growing pauses while the old certificate serves; an expired one is never handed out.
 */
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { earlyProblem, requestCertificate } from './certificate-exchange.ts';
import type { CertificateSource } from './certificate-exchange.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { renewalDelayMs, retryDelayMs } from './renewal.ts';

export interface IssuedCertificate {
  /** SPIFFE ID. */
  readonly identity: string;
  /** Leaf and intermediates, without the root. */
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  /** Everything that this holder trusts. */
  readonly rootsPem: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Upper-case hex. */
  readonly serial: string;
}

export interface CertificatesOptions {
  readonly source: CertificateSource;
  /** A new certificate, or the old one with other roots. */
  readonly onCertificate: (identity: string, certificate: IssuedCertificate) => void;
  /** A request failed; the next one follows after `retryMs`. */
  readonly onFailure: (identity: string, error: CulvertError, retryMs: number) => void;
  /** Requests under way at the same time. */
  readonly concurrency: number;
  /** One request's deadline. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
}

export type CertificateState = 'pending' | 'valid' | 'failing' | 'expired';

/** One line of `culvert status` and of the admin page. Times in ms since the epoch, null before the first certificate. */
export interface CertificateStatus {
  readonly identity: string;
  readonly state: CertificateState;
  readonly serial: string | null;
  readonly notBefore: number | null;
  readonly notAfter: number | null;
  /** When the next request is due; null while one is under way. */
  readonly renewAt: number | null;
  readonly lastError: CulvertError | null;
}

interface Held {
  readonly identity: string;
  holders: number;
  certificate: IssuedCertificate | null;
  lastError: CulvertError | null;
  failures: number;
  dueAt: number;
  /** Of the request under way. */
  abort: AbortController | null;
  /** Roots or signer changed during the request under way: its result is old already. */
  stale: boolean;
}

/** Looks at the clock this often even if nothing is due: it may have been set, or the machine slept. */
const maxNapMs = 30_000;
/** While somebody waits for certificates. */
const lookEveryMs = 20;

export class Certificates {
  readonly #options: CertificatesOptions;
  readonly #held = new Map<string, Held>();
  readonly #stopListening: () => void;
  #running = 0;
  #cancelNap: () => void = () => {};
  #closed = false;

  constructor(given: Pick<CertificatesOptions, 'source' | 'onCertificate'> & Partial<CertificatesOptions>) {
    this.#options = {
      onFailure: () => {},
      concurrency: 8,
      timeoutMs: 10_000,
      clock: systemClock,
      random: Math.random,
      ...given,
    };
    this.#stopListening = this.#options.source.onRootsChanged(() => this.#rootsChanged());
  }

  /** Asks for a certificate now, and keeps it fresh until as many `release` calls. */
  hold(identity: string): void {
    const held = this.#held.get(identity);
    if (held !== undefined) {
      held.holders += 1;
      return;
    }
    this.#held.set(identity, {
      identity,
      holders: 1,
      certificate: null,
      lastError: null,
      failures: 0,
      dueAt: this.#options.clock.now(),
      abort: null,
      stale: false,
    });
    this.#work();
  }

  /** True when that was the last holder: key and certificate are forgotten. */
  release(identity: string): boolean {
    const held = this.#held.get(identity);
    if (held === undefined) return false;
    held.holders -= 1;
    if (held.holders > 0) return false;
    held.abort?.abort();
    this.#held.delete(identity);
    return true;
  }

  /** Null when there is no valid one; `problem` says why. */
  current(identity: string): IssuedCertificate | null {
    const certificate = this.#held.get(identity)?.certificate ?? null;
    return certificate !== null && certificate.notAfter > this.#options.clock.now() ? certificate : null;
  }

  /** As `hold` for all of them; resolves when all have certificates, or after `timeoutMs`. */
  async ready(identities: ReadonlySet<string>, timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    const until = clock.now() + timeoutMs;
    for (const identity of identities) this.hold(identity);
    const missing = (): boolean => [...identities].some(identity => this.current(identity) === null);
    while (missing() && clock.now() < until && !this.#closed)
      await new Promise<void>(resolve => clock.after(lookEveryMs, resolve));
  }

  /** Why `current` is null, as an error to show; null when it isn't. */
  problem(identity: string): CulvertError | null {
    if (this.current(identity) !== null) return null;
    const held = this.#held.get(identity);
    if (held === undefined) {
      return new CulvertError('CERTIFICATE_NOT_HELD', `no pod of this node has the identity ${identity}`);
    }
    const why = held.lastError === null ? 'the request is under way' : held.lastError.message;
    const fix = held.lastError?.fix ?? null;
    if (held.certificate === null) {
      return new CulvertError('CERTIFICATE_PENDING', `there is no certificate for ${identity} yet: ${why}`, {
        fix,
      });
    }
    const ended = new Date(held.certificate.notAfter).toISOString();
    return new CulvertError(
      'CERTIFICATE_EXPIRED',
      `the certificate of ${identity} ended at ${ended}: ${why}`,
      { fix },
    );
  }

  /** Sorted by identity. */
  state(): CertificateStatus[] {
    return [...this.#held.values()]
      .sort((a, b) => (a.identity < b.identity ? -1 : 1))
      .map(held => ({
        identity: held.identity,
        state: this.#stateOf(held),
        serial: held.certificate?.serial ?? null,
        notBefore: held.certificate?.notBefore ?? null,
        notAfter: held.certificate?.notAfter ?? null,
        renewAt: held.abort === null ? held.dueAt : null,
        lastError: held.lastError,
      }));
  }

  close(): void {
    this.#closed = true;
    this.#stopListening();
    this.#cancelNap();
    for (const held of this.#held.values()) held.abort?.abort();
    this.#held.clear();
  }

  #stateOf(held: Held): CertificateState {
    if (held.certificate === null) return 'pending';
    if (held.certificate.notAfter <= this.#options.clock.now()) return 'expired';
    return held.lastError === null ? 'valid' : 'failing';
  }

  /** Starts what is due, as far as the limit allows, and sleeps until the next is. */
  #work(): void {
    if (this.#closed) return;
    this.#cancelNap();
    const { clock, concurrency } = this.#options;
    const waiting = [...this.#held.values()].filter(held => held.abort === null).sort(byUrgency);
    for (const held of waiting) {
      if (this.#running >= concurrency) break;
      if (held.dueAt <= clock.now()) void this.#renew(held);
    }
    const next = Math.min(...waiting.filter(held => held.abort === null).map(held => held.dueAt));
    // When the limit is what holds it back, the end of a running request comes here again.
    const nap = Math.max(Math.min(next - clock.now(), maxNapMs), 1);
    this.#cancelNap = clock.after(this.#running >= concurrency ? maxNapMs : nap, () => this.#work());
  }

  async #renew(held: Held): Promise<void> {
    const { clock, random, source, timeoutMs } = this.#options;
    const abort = new AbortController();
    held.abort = abort;
    held.stale = false;
    this.#running += 1;
    const cancelDeadline = clock.after(timeoutMs, () => {
      abort.abort(
        new CulvertError(
          'CERTIFICATE_TIMEOUT',
          `no answer to the certificate request within ${timeoutMs} ms`,
        ),
      );
    });
    try {
      const certificate = await requestCertificate(source, held.identity, clock, abort.signal);
      // Released, and perhaps held anew, while it was asked for.
      if (this.#held.get(held.identity) !== held) return;
      held.lastError = earlyProblem(certificate, clock);
      held.failures = 0;
      const delay = held.stale ? 0 : renewalDelayMs(certificate.notAfter - clock.now(), random());
      held.dueAt = clock.now() + delay;
      held.certificate = held.stale ? { ...certificate, rootsPem: source.roots() } : certificate;
      this.#options.onCertificate(held.identity, held.certificate);
    } catch (thrown) {
      if (this.#held.get(held.identity) === held) this.#failed(held, thrown);
    } finally {
      cancelDeadline();
      held.abort = null;
      this.#running -= 1;
      this.#work();
    }
  }

  #failed(held: Held, thrown: unknown): void {
    const error = asCulvertError(thrown, 'CERTIFICATE_REQUEST_FAILED');
    held.lastError = error;
    held.failures += 1;
    const retryMs = retryDelayMs(held.failures, this.#options.random());
    held.dueAt = this.#options.clock.now() + retryMs;
    this.#options.onFailure(held.identity, error, retryMs);
  }

  /** What is trusted changes at once, with the certificates as they are; new ones follow as fast as they are signed. */
  #rootsChanged(): void {
    const rootsPem = this.#options.source.roots();
    for (const held of this.#held.values()) {
      held.failures = 0;
      held.dueAt = this.#options.clock.now();
      if (held.abort !== null) held.stale = true;
      const certificate = this.current(held.identity);
      if (certificate === null || certificate.rootsPem === rootsPem) continue;
      held.certificate = { ...certificate, rootsPem };
      this.#options.onCertificate(held.identity, held.certificate);
    }
    this.#work();
  }
}

/** Those without a certificate first, then those that end first. */
function byUrgency(a: Held, b: Held): number {
  return (a.certificate?.notAfter ?? 0) - (b.certificate?.notAfter ?? 0);
}
