/**
 * The public keys of issuers, ready when a token comes: fetched as soon as a rule names them, again every few minutes, and
 * once more when a token names a key that is not there (an issuer that has just changed its keys).
 *
 * What was fetched last stays in force while an issuer is not reached. While there is nothing yet, its tokens are refused.
 */
import { createLocalJWKSet, type JWTVerifyGetKey } from 'jose';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import type { KeysFrom, TokenRules } from '../model/token-rule.ts';
import { fetchText } from './call-out.ts';
import type { WaypointContext } from './context.ts';

const maxBytes = 512 * 1024;
const retryMs = 1_000;
const maxRetryMs = 60_000;

export type KeySet = JWTVerifyGetKey;

const sets = new WeakMap<WaypointContext, KeySets>();

/** The keys of one waypoint. */
export function keySetsOf(context: WaypointContext): KeySets {
  let known = sets.get(context);
  if (known === undefined) sets.set(context, (known = new KeySets(context)));
  return known;
}

export class KeySets {
  readonly #context: WaypointContext;
  readonly #sets = new Map<string, RemoteKeys>();
  readonly #inline = new Map<string, KeySet | null>();

  constructor(context: WaypointContext) {
    this.#context = context;
  }

  /** Follows the keys that these rules need, and no others. */
  follow(all: readonly TokenRules[]): void {
    const wanted = new Map<string, Exclude<KeysFrom, { kind: 'inline' }>>();
    const inline = new Set<string>();
    for (const { keys } of all.flatMap(({ rules }) => rules)) {
      if (keys.kind === 'inline') inline.add(keys.jwks);
      else wanted.set(idOf(keys), keys);
    }
    for (const jwks of this.#inline.keys()) if (!inline.has(jwks)) this.#inline.delete(jwks);
    for (const [id, set] of this.#sets) {
      if (wanted.has(id)) continue;
      set.close();
      this.#sets.delete(id);
    }
    for (const [id, keys] of wanted)
      if (!this.#sets.has(id)) this.#sets.set(id, new RemoteKeys(this.#context, keys));
  }

  /** Null while there are none. Waits for keys that are being fetched for the first time. */
  async get(keys: KeysFrom): Promise<KeySet | null> {
    if (keys.kind !== 'inline') return (await this.#sets.get(idOf(keys))?.get()) ?? null;
    let set = this.#inline.get(keys.jwks);
    if (set === undefined) this.#inline.set(keys.jwks, (set = parse(keys.jwks)));
    return set;
  }

  /** The same after another look, for a token whose key is not there; null where nothing new is to be had. */
  async getNewer(keys: KeysFrom): Promise<KeySet | null> {
    return keys.kind === 'inline' ? null : ((await this.#sets.get(idOf(keys))?.askAgain()) ?? null);
  }

  /** For administration: how fresh what we have is. */
  state(): readonly { url: string; fetchedAt: string | null; error: string | null }[] {
    return [...this.#sets.values()].map(set => set.state());
  }

  close(): void {
    for (const set of this.#sets.values()) set.close();
    this.#sets.clear();
  }
}

function idOf({ kind, url, timeoutMs }: Exclude<KeysFrom, { kind: 'inline' }>): string {
  return `${kind} ${timeoutMs} ${url}`;
}

/** Null for what is no key set. */
function parse(text: string): KeySet | null {
  try {
    return createLocalJWKSet(JSON.parse(text) as never);
  } catch {
    return null;
  }
}

class RemoteKeys {
  readonly #context: WaypointContext;
  readonly #from: Exclude<KeysFrom, { kind: 'inline' }>;
  #set: KeySet | null = null;
  #text: string | null = null;
  #fetchedAt: number | null = null;
  #askedAt = 0;
  #error: string | null = null;
  #failures = 0;
  #running: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(context: WaypointContext, from: Exclude<KeysFrom, { kind: 'inline' }>) {
    this.#context = context;
    this.#from = from;
    void this.#refresh();
  }

  async get(): Promise<KeySet | null> {
    if (this.#set === null && this.#failures === 0) await this.#running;
    return this.#set;
  }

  async askAgain(): Promise<KeySet | null> {
    if (this.#running === null && Date.now() - this.#askedAt < this.#context.config.limits.keysAskAgainMs)
      return null;
    const before = this.#text;
    await this.#refresh();
    return this.#text === before ? null : this.#set;
  }

  state(): { url: string; fetchedAt: string | null; error: string | null } {
    const fetchedAt = this.#fetchedAt === null ? null : new Date(this.#fetchedAt).toISOString();
    return { url: this.#from.url, fetchedAt, error: this.#error };
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #refresh(): Promise<void> {
    this.#running ??= this.#fetch().finally(() => (this.#running = null));
    return this.#running;
  }

  async #fetch(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#askedAt = Date.now();
    const { log, metrics, config } = this.#context;
    try {
      const text = await this.#read();
      const set = parse(text);
      if (set === null)
        throw new CulvertError('FETCH_FAILED', `${this.#from.url} gives no key set`, { side: 'server' });
      if (text !== this.#text) this.#set = set;
      this.#text = text;
      this.#fetchedAt = Date.now();
      this.#failures = 0;
      this.#error = null;
    } catch (thrown) {
      const { code, message: err } = asCulvertError(thrown, 'FETCH_FAILED');
      this.#failures += 1;
      this.#error = err;
      metrics.refused('KEYS_UNAVAILABLE');
      const has = this.#set === null ? 'its tokens are refused' : 'the keys it had stay in force';
      log.warn({ code, keys: this.#from.url, err, has }, 'keys could not be fetched');
    }
    if (this.#closed) return;
    const pause =
      this.#failures === 0
        ? config.limits.keysRefreshMs
        : Math.min(maxRetryMs, retryMs * 2 ** (this.#failures - 1));
    this.#timer = setTimeout(() => void this.#refresh(), pause * (0.9 + Math.random() / 5)).unref();
  }

  async #read(): Promise<string> {
    const { kind, url, timeoutMs } = this.#from;
    const options = { timeoutMs, maxBytes };
    if (kind === 'uri') return fetchText(this.#context, url, options);
    const found = await fetchText(
      this.#context,
      `${url.replace(/\/$/, '')}/.well-known/openid-configuration`,
      options,
    );
    const { issuer, jwks_uri: uri } = JSON.parse(found) as { issuer?: unknown; jwks_uri?: unknown };
    if (issuer !== url || typeof uri !== 'string')
      throw new CulvertError(
        'FETCH_FAILED',
        `${url}: its configuration is of another issuer, or has no jwks_uri`,
        {
          side: 'server',
        },
      );
    return fetchText(this.#context, uri, options);
  }
}
