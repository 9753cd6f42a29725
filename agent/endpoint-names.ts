/**
 * Host names of endpoints outside the cluster (ServiceEntry, WorkloadEntry) → addresses, for outbound connections.
 *
 * Asked of the node's own resolver, remembered for as long as the answer says. While the resolver does not answer, what
 * it said last is used on: an address that is wrong by then fails to be dialled, which is no worse.
 */
import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { CulvertError } from '../base/errors.ts';

/** One answer: addresses of one family, and for how many seconds each may be remembered. */
export type Records = readonly { readonly address: string; readonly ttl: number }[];

export interface EndpointNamesOptions {
  readonly resolve?: (name: string, family: 4 | 6) => Promise<Records>;
  /** Milliseconds. */
  readonly now?: () => number;
}

interface Remembered {
  readonly addresses: readonly string[];
  readonly until: number;
}

/** Answers are remembered for at least and at most this long. */
const minimumMs = 1_000;
const maximumMs = 300_000;
const maxRemembered = 10_000;

export class EndpointNames {
  readonly #resolve: (name: string, family: 4 | 6) => Promise<Records>;
  readonly #now: () => number;
  readonly #remembered = new Map<string, Remembered>();
  readonly #asking = new Map<string, Promise<Remembered>>();
  /** Which of several addresses is next. */
  #turn = 0;

  constructor({ resolve, now = performance.now.bind(performance) }: EndpointNamesOptions = {}) {
    this.#resolve = resolve ?? asksResolver();
    this.#now = now;
  }

  /** An address to dial: `host` itself if it is one, else one that it has now. Rejects with NAME_UNRESOLVED. */
  async addressOf(host: string): Promise<string> {
    if (isIP(host) !== 0) return host;
    const { addresses } = await this.#find(host);
    this.#turn = (this.#turn + 1) % 0x7fffffff;
    const address = addresses[this.#turn % addresses.length];
    if (address === undefined)
      throw new CulvertError('NAME_UNRESOLVED', `${host} has no address`, { side: 'server' });
    return address;
  }

  async #find(host: string): Promise<Remembered> {
    const known = this.#remembered.get(host);
    if (known !== undefined && known.until > this.#now()) return known;
    try {
      return await this.#ask(host);
    } catch (error) {
      if (known !== undefined) return known;
      throw new CulvertError('NAME_UNRESOLVED', `${host} can not be resolved: ${reasonOf(error)}`, {
        side: 'server',
        cause: error,
        fix: 'look up the name from the node, and see whether the agent reaches its resolver',
      });
    }
  }

  /** One question at a time for each name. */
  #ask(host: string): Promise<Remembered> {
    const asking = this.#asking.get(host) ?? this.#askAnew(host).finally(() => this.#asking.delete(host));
    this.#asking.set(host, asking);
    return asking;
  }

  async #askAnew(host: string): Promise<Remembered> {
    const [v4, v6] = await Promise.allSettled([this.#resolve(host, 4), this.#resolve(host, 6)]);
    const records = [v4, v6].flatMap(result => (result.status === 'fulfilled' ? result.value : []));
    if (records.length === 0 && v4.status === 'rejected') throw v4.reason;
    const seconds = records.length === 0 ? 0 : Math.min(...records.map(({ ttl }) => ttl), maximumMs / 1_000);
    const found: Remembered = {
      addresses: (v4.status === 'fulfilled' && v4.value.length > 0 ? v4.value : records).map(
        ({ address }) => address,
      ),
      until: this.#now() + Math.max(minimumMs, seconds * 1_000),
    };
    if (this.#remembered.size >= maxRemembered) this.#remembered.clear();
    this.#remembered.set(host, found);
    return found;
  }
}

function asksResolver(): (name: string, family: 4 | 6) => Promise<Records> {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  return (name, family) =>
    family === 4 ? resolver.resolve4(name, { ttl: true }) : resolver.resolve6(name, { ttl: true });
}

function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
