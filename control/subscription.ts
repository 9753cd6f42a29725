/**
 * One type of one client: what it wants, what is under way to it, and what comes next.
 *
 * One response is under way at a time. A client that is slow hears less often and then the newest state; nothing is
 * queued for it. Rules of the delta protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
 */
import { CulvertError } from '../base/errors.ts';
import type { KnownVersions, News } from './feed.ts';
import { KeyedFeed } from './keyed-feed.ts';
import type { Collection } from './resources.ts';
import { WildcardFeed } from './wildcard-feed.ts';

/** What a client says about a type, out of a DeltaDiscoveryRequest. */
export interface SubscriptionRequest {
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  /** Only in the first request of a stream. */
  readonly known: KnownVersions;
  /** Of the response that it answers; empty where it answers none. */
  readonly nonce: string;
  /** Why the client did not take the response; null where it did. */
  readonly error: string | null;
}

export interface SubscriptionOptions {
  /** The caller's node; null for a caller without one. */
  readonly node: string | null;
  /** Only resources of that node are told. */
  readonly confined: boolean;
  /** Names a client may ask for. */
  readonly maxNames: number;
}

/** A response to be sent. */
export interface Update extends News {
  readonly nonce: string;
}

/** What the answer to a response was: null for a request that answers nothing which is under way. */
export type Answer = { readonly accepted: boolean } | null;

const everything = '*';
/** Longer names than any resource can have: not looked up, and not remembered. */
const maxNameLength = 1_024;

export class Subscription {
  readonly collection: Collection;
  readonly #options: SubscriptionOptions;
  #feed: WildcardFeed | KeyedFeed | null = null;
  /** Names beside everything. */
  readonly #beside = new Set<string>();
  #nonces = 0;
  #awaited: string | null = null;
  /** The first request of a type is answered even if there is nothing to say: a client starts with that. */
  #mustAnswer = false;
  #due = false;

  constructor(collection: Collection, options: SubscriptionOptions) {
    this.collection = collection;
    this.#options = options;
  }

  /** `wildcard` for a client that wants everything there is for it, `on-demand` for one that asks for names. */
  get mode(): 'wildcard' | 'on-demand' {
    return this.#feed instanceof WildcardFeed || this.#options.confined ? 'wildcard' : 'on-demand';
  }

  /** Whether a response has not been answered yet. */
  get isUnderWay(): boolean {
    return this.#awaited !== null;
  }

  /** Whether there is something the client should be told as soon as nothing is under way. */
  get isDue(): boolean {
    return this.#due && (this.#mustAnswer || this.#feed?.hasNews === true);
  }

  /** What has changed up to now is to be told. */
  markDue(): void {
    this.#due = true;
  }

  /** Whether more than so many bytes wait for the client. */
  exceeds(bytes: number): boolean {
    return this.#feed?.exceeds(bytes) === true;
  }

  /** Takes what the client says. Throws CulvertError when that is more than a client may want. */
  request(request: SubscriptionRequest): Answer {
    const answers = request.nonce !== '' && request.nonce === this.#awaited;
    if (answers) this.#awaited = null;
    if (this.#feed === null) this.#open(request);
    else this.#change(this.#feed, request);
    return answers ? { accepted: request.error === null } : null;
  }

  /** The next response, or null when nothing is to be told or one is under way. What is in it counts as told. */
  take(maxBytes: number): Update | null {
    if (this.#awaited !== null || !this.isDue || this.#feed === null) return null;
    const news = this.#feed.take(maxBytes);
    if (news.complete) this.#due = false;
    if (news.frames.length === 0 && news.removed.length === 0 && !this.#mustAnswer) return null;
    this.#mustAnswer = false;
    this.#awaited = (++this.#nonces).toString(36);
    return { ...news, nonce: this.#awaited };
  }

  close(): void {
    this.#feed?.close();
    this.#feed = null;
  }

  #open({ subscribe, unsubscribe, known }: SubscriptionRequest): void {
    // A first request without names means everything, unless it says otherwise.
    const wantsAll = subscribe.length === 0 || subscribe.includes(everything);
    const names = usable(subscribe, new Set(unsubscribe));
    this.#feed =
      wantsAll && !unsubscribe.includes(everything) && !this.#options.confined
        ? new WildcardFeed(this.collection, known)
        : this.#keyed(known);
    this.#ask(this.#feed, names);
    this.#mustAnswer = true;
    this.#due = true;
  }

  #change(before: WildcardFeed | KeyedFeed, { subscribe, unsubscribe }: SubscriptionRequest): void {
    if (subscribe.length === 0 && unsubscribe.length === 0) return;
    let feed = before;
    if (!this.#options.confined) {
      if (unsubscribe.includes(everything) && feed instanceof WildcardFeed) {
        feed.close();
        feed = this.#keyed(new Map());
        feed.ask([...this.#beside]);
        this.#beside.clear();
      } else if (subscribe.includes(everything) && feed instanceof KeyedFeed) {
        feed.close();
        for (const name of feed.asked) this.#beside.add(name);
        feed = new WildcardFeed(this.collection, feed.told);
      }
      this.#feed = feed;
    }
    this.#ask(feed, usable(subscribe, new Set()));
    if (feed instanceof KeyedFeed) feed.forget(unsubscribe);
    else for (const name of unsubscribe) this.#beside.delete(name);
    this.#due = true;
  }

  #ask(feed: WildcardFeed | KeyedFeed, names: readonly string[]): void {
    const had = feed instanceof KeyedFeed ? feed.asked.size : this.#beside.size;
    if (had + names.length > this.#options.maxNames) {
      throw new CulvertError(
        'ADS_TOO_MANY_NAMES',
        `more than ${this.#options.maxNames} names were asked for`,
        {
          side: 'client',
          fix: 'ask for everything instead',
        },
      );
    }
    if (feed instanceof WildcardFeed) for (const name of names) this.#beside.add(name);
    feed.ask(names);
  }

  #keyed(known: KnownVersions): KeyedFeed {
    return new KeyedFeed(this.collection, {
      node: this.#options.node,
      confined: this.#options.confined,
      known,
    });
  }
}

function usable(names: readonly string[], without: ReadonlySet<string>): string[] {
  return names.filter(name => name !== everything && name.length <= maxNameLength && !without.has(name));
}
