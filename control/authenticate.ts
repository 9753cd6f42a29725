/**
 * Who calls: a bearer token, judged by the API server (TokenReview) and remembered for a short while.
 *
 * The client of a refused call hears that it was refused; why is in the log. What the API server can't be asked about is
 * not refused but unavailable, so that clients try again. Tokens are never kept, only their hashes.
 */
import { hash } from 'node:crypto';
import { CulvertError, asCulvertError } from '../base/errors.ts';
import type { Clock } from '../tunnel/clock.ts';
import { systemClock } from '../tunnel/clock.ts';
import type { ControlMetrics } from './control-metrics.ts';
import { Rate, type RateLimit } from './rate.ts';

/** Whose token it is, and where the pod runs that it was made for. */
export interface Caller {
  /** `namespace/name` */
  readonly serviceAccount: string;
  readonly namespace: string;
  readonly name: string;
  /** Null for a token that is bound to no pod. */
  readonly node: string | null;
  readonly podName: string | null;
  readonly podUid: string | null;
}

/** The `status` of a TokenReview, as far as it is read; the shape of the API. */
export interface TokenReviewStatus {
  readonly authenticated?: boolean | undefined;
  readonly error?: string | undefined;
  readonly audiences?: readonly string[] | undefined;
  readonly user?:
    | {
        readonly username?: string | undefined;
        readonly extra?: Readonly<Record<string, readonly string[]>> | undefined;
      }
    | undefined;
}

export interface AuthenticatorOptions {
  /** Asks the API server. Rejects when it can't be asked. */
  readonly review: (token: string, audiences: readonly string[]) => Promise<TokenReviewStatus>;
  /** The node of a pod, where tokens don't say it (API servers before 1.30). */
  readonly nodeOf: (namespace: string, podName: string, podUid: string) => string | null;
  /** A token must be for one of these. */
  readonly audiences: readonly string[];
  /**
   * How long a good judgement is believed, never longer than the token says of itself; and a bad one. A good one is
   * believed to the end of the token while the API server can't be asked: agents go on without it.
   */
  readonly acceptedMs: number;
  readonly refusedMs: number;
  /** Reviews at the same time, and calls that wait for one. */
  readonly concurrency: number;
  readonly maxWaiting: number;
  /** Judgements remembered, and addresses that sent bad tokens. */
  readonly maxRemembered: number;
  /** Bad tokens that one address may have judged: those beyond it are refused without asking the API server. */
  readonly refusals: RateLimit;
  readonly clock: Clock;
  readonly metrics: Pick<ControlMetrics, 'authentications' | 'reviewSeconds'> | null;
}

interface Judgement {
  readonly caller: Caller | CulvertError;
  /** When the API server is to be asked again. */
  readonly until: number;
  /** How long it is believed while the API server can't be asked: as long as the token says that it lives. */
  readonly atMost: number;
}

const defaults = {
  nodeOf: () => null,
  audiences: ['culvert-ca', 'istio-ca'],
  acceptedMs: 60_000,
  refusedMs: 5_000,
  concurrency: 16,
  maxWaiting: 4_096,
  maxRemembered: 20_000,
  refusals: { perSecond: 1, burst: 50 },
  clock: systemClock,
  metrics: null,
} satisfies Partial<AuthenticatorOptions>;

/** A projected token has about 1 KB. */
const maxTokenLength = 16_384;
const extraPrefix = 'authentication.kubernetes.io/';

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  /** By hash of the token, the oldest first. */
  readonly #judged = new Map<string, Judgement>();
  readonly #asking = new Map<string, Promise<Caller>>();
  readonly #refusals = new Map<string, Rate>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(given: Pick<AuthenticatorOptions, 'review'> & Partial<AuthenticatorOptions>) {
    this.#options = { ...defaults, ...given };
  }

  /**
   * The caller with this `authorization` value, null for a call without one, from an address. Rejects with
   * AUTHENTICATION_MISSING, AUTHENTICATION_REFUSED (side `client`) or AUTHENTICATION_UNAVAILABLE (side `us`).
   */
  async authenticate(authorization: string | null, address = ''): Promise<Caller> {
    try {
      const caller = await this.#authenticate(authorization, address);
      this.#count('accepted');
      return caller;
    } catch (thrown) {
      const error = asCulvertError(thrown, 'AUTHENTICATION_UNAVAILABLE');
      this.#count(error.side === 'client' ? 'refused' : 'unavailable');
      throw error;
    }
  }

  #authenticate(authorization: string | null, address: string): Promise<Caller> {
    const [, token] = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization ?? '') ?? [];
    if (token === undefined || token.length > maxTokenLength) {
      const what = authorization === null ? 'no token came with the call' : 'what came is no bearer token';
      return Promise.reject(new CulvertError('AUTHENTICATION_MISSING', what, { side: 'client' }));
    }
    const key = hash('sha256', token, 'base64url');
    const judged = this.#judged.get(key);
    if (judged !== undefined && judged.until > this.#options.clock.now()) {
      return judged.caller instanceof CulvertError
        ? Promise.reject(judged.caller)
        : Promise.resolve(judged.caller);
    }
    // Says nothing about the token, so it is not remembered of it.
    if (this.#refusals.get(address)?.isEmpty(this.#options.clock.now()) === true)
      return Promise.reject(refused('too many bad tokens came from the same address'));
    const asking = this.#asking.get(key) ?? this.#ask(key, token, address);
    this.#asking.set(key, asking);
    return asking;
  }

  async #ask(key: string, token: string, address: string): Promise<Caller> {
    const { clock, acceptedMs, refusedMs } = this.#options;
    try {
      const status = await this.#review(token);
      const caller = this.#judge(status);
      const fresh = clock.now() + acceptedMs;
      const expiry = expiryOf(token);
      this.#remember(key, { caller, until: Math.min(fresh, expiry ?? Infinity), atMost: expiry ?? fresh });
      return caller;
    } catch (thrown) {
      if (thrown instanceof CulvertError && thrown.side === 'client') {
        const until = clock.now() + refusedMs;
        this.#remember(key, { caller: thrown, until, atMost: until });
        this.#countRefusal(address);
        throw thrown;
      }
      const last = this.#judged.get(key);
      if (last === undefined || last.caller instanceof CulvertError || last.atMost <= clock.now())
        throw thrown;
      return last.caller;
    } finally {
      this.#asking.delete(key);
    }
  }

  async #review(token: string): Promise<TokenReviewStatus> {
    const { concurrency, maxWaiting, review, audiences, clock, metrics } = this.#options;
    if (this.#running >= concurrency) {
      if (this.#waiting.length >= maxWaiting)
        throw new CulvertError('AUTHENTICATION_UNAVAILABLE', 'too many calls wait to be authenticated');
      await new Promise<void>(resolve => {
        this.#waiting.push(resolve);
      });
    }
    this.#running += 1;
    const from = clock.now();
    try {
      return await review(token, audiences);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CulvertError('AUTHENTICATION_UNAVAILABLE', `the API server did not judge a token: ${why}`, {
        fix: 'check that the API server is up and that the control plane may create tokenreviews',
        cause,
      });
    } finally {
      metrics?.reviewSeconds.observe((clock.now() - from) / 1_000);
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  #judge(status: TokenReviewStatus): Caller {
    if (status.authenticated !== true)
      throw refused(status.error ?? 'the API server does not accept the token');
    const audiences = status.audiences ?? [];
    // An API server that knows nothing of audiences says none: the token may have been meant for anybody.
    if (!audiences.some(audience => this.#options.audiences.includes(audience)))
      throw refused(`the token is for ${audiences.join(', ') || 'no audience'}`);
    const { username = '', extra = {} } = status.user ?? {};
    const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username) ?? [];
    if (namespace === undefined || name === undefined) throw refused(`${username} is no service account`);
    const said = (key: string): string | null => extra[extraPrefix + key]?.[0] ?? null;
    const podName = said('pod-name');
    const podUid = said('pod-uid');
    const known =
      podName === null || podUid === null ? null : this.#options.nodeOf(namespace, podName, podUid);
    const node = said('node-name') ?? known;
    return { serviceAccount: `${namespace}/${name}`, namespace, name, node, podName, podUid };
  }

  #remember(key: string, judgement: Judgement): void {
    this.#judged.delete(key);
    this.#judged.set(key, judgement);
    this.#trim(this.#judged);
  }

  #countRefusal(address: string): void {
    const { clock, refusals } = this.#options;
    const rate = this.#refusals.get(address) ?? new Rate(refusals, clock.now());
    rate.take(clock.now());
    this.#refusals.delete(address);
    this.#refusals.set(address, rate);
    this.#trim(this.#refusals);
  }

  #trim(map: Map<string, unknown>): void {
    if (map.size <= this.#options.maxRemembered) return;
    const [oldest] = map.keys();
    if (oldest !== undefined) map.delete(oldest);
  }

  #count(result: 'accepted' | 'refused' | 'unavailable'): void {
    this.#options.metrics?.authentications.inc({ result });
  }
}

function refused(why: string): CulvertError {
  return new CulvertError('AUTHENTICATION_REFUSED', why, { side: 'client' });
}

/** When the token ends by its own words, ms since the epoch: they are never a reason to believe it, only to ask again. */
function expiryOf(token: string): number | null {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    if (typeof claims !== 'object' || claims === null || !('exp' in claims)) return null;
    return typeof claims.exp === 'number' ? claims.exp * 1_000 : null;
  } catch {
    return null;
  }
}
