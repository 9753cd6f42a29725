/**
 * What a peer may make us do: every abuse limit of the tunnel by name, and the token bucket that counts rates.
 *
 * A peer is an authenticated workload, and still one of them may be hostile: it shares the agent with every other pod.
 * Each limit answers one class of HTTP/2 floods; crossing one ends that peer's connection, nobody else's.
 */
import { calmFault } from './errors.ts';

/** Events allowed at once, and how many more become allowed each second. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

export interface H2Limits {
  /** Decoded size of one header list in bytes as RFC 9113 §6.5.2 counts it (name + value + 32 each); also advertised. */
  readonly maxHeaderListBytes: number;
  /** Encoded bytes of one header block over HEADERS and CONTINUATION. */
  readonly maxHeaderBlockBytes: number;
  /** Fields of one header list: many tiny fields cost more than their bytes. */
  readonly maxHeaderFields: number;
  /** CONTINUATION frames of one header block. */
  readonly maxContinuations: number;
  /** Entries of one SETTINGS frame. */
  readonly maxSettingsEntries: number;
  /** Bytes of frames we owe the peer (acknowledgements, resets, responses) while it does not read. */
  readonly maxOutputQueueBytes: number;
  /** Streams that the peer resets before they were answered (rapid reset). */
  readonly prematureResets: Rate;
  /** Streams that we reset because of what the peer sent (MadeYouReset). */
  readonly provokedResets: Rate;
  /** Streams beyond the advertised concurrency. */
  readonly refusedStreams: Rate;
  readonly pings: Rate;
  readonly settings: Rate;
  /** DATA frames that carry nothing and end nothing. */
  readonly emptyData: Rate;
  /** WINDOW_UPDATE frames that grant fewer than 256 bytes. */
  readonly tinyWindowUpdates: Rate;
  /** Frames that mean nothing here: unknown types, PRIORITY, RST_STREAM and WINDOW_UPDATE on closed streams, 1xx. */
  readonly ignoredFrames: Rate;
}

/** A grant smaller than this counts as tiny: no honest receiver gives windows back in such crumbs. */
export const tinyWindowBytes = 256;

/** Defaults of a server; a client expects only a short response list. */
export function defaultLimits(role: 'client' | 'server'): H2Limits {
  return {
    maxHeaderListBytes: role === 'server' ? 65_536 : 16_384,
    maxHeaderBlockBytes: role === 'server' ? 65_536 : 16_384,
    maxHeaderFields: 128,
    maxContinuations: 8,
    maxSettingsEntries: 32,
    maxOutputQueueBytes: 1_048_576,
    prematureResets: { burst: 1000, perSecond: 100 },
    provokedResets: { burst: 100, perSecond: 10 },
    refusedStreams: { burst: 1000, perSecond: 100 },
    pings: { burst: 200, perSecond: 20 },
    settings: { burst: 50, perSecond: 5 },
    emptyData: { burst: 200, perSecond: 20 },
    tinyWindowUpdates: { burst: 1000, perSecond: 100 },
    ignoredFrames: { burst: 2000, perSecond: 500 },
  };
}

/** Counts one kind of event against its rate. Costs a clock reading only when the burst is spent. */
class TokenBucket {
  readonly #code: string;
  readonly #what: string;
  readonly #rate: Rate;
  readonly #now: () => number;
  #tokens: number;
  #filledAt: number;

  /**
   * @param code of the Fault when the bucket is empty
   * @param what the events, plural, for the message
   * @param now milliseconds, monotonic
   */
  constructor(code: string, what: string, rate: Rate, now: () => number) {
    this.#code = code;
    this.#what = what;
    this.#rate = rate;
    this.#now = now;
    this.#tokens = rate.burst;
    this.#filledAt = now();
  }

  /** Takes one token; throws the ENHANCE_YOUR_CALM Fault where none is left. */
  take(): void {
    if (this.#tokens < 1) this.#refill();
    if (this.#tokens < 1) {
      throw calmFault(
        this.#code,
        `more ${this.#what} than ${this.#rate.burst} and ${this.#rate.perSecond} per second`,
      );
    }
    this.#tokens -= 1;
  }

  #refill(): void {
    const now = this.#now();
    const earned = ((now - this.#filledAt) / 1000) * this.#rate.perSecond;
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + earned);
    this.#filledAt = now;
  }
}

/** One bucket for each rate of the limits. */
export class AbuseCounters {
  readonly prematureResets: TokenBucket;
  readonly provokedResets: TokenBucket;
  readonly refusedStreams: TokenBucket;
  readonly pings: TokenBucket;
  readonly settings: TokenBucket;
  readonly emptyData: TokenBucket;
  readonly tinyWindowUpdates: TokenBucket;
  readonly ignoredFrames: TokenBucket;

  constructor(limits: H2Limits, now: () => number) {
    this.prematureResets = new TokenBucket('H2_RAPID_RESET', 'early resets', limits.prematureResets, now);
    this.provokedResets = new TokenBucket('H2_PROVOKED_RESET', 'broken streams', limits.provokedResets, now);
    this.refusedStreams = new TokenBucket('H2_STREAM_FLOOD', 'refused streams', limits.refusedStreams, now);
    this.pings = new TokenBucket('H2_PING_FLOOD', 'PING frames', limits.pings, now);
    this.settings = new TokenBucket('H2_SETTINGS_FLOOD', 'SETTINGS frames', limits.settings, now);
    this.emptyData = new TokenBucket('H2_EMPTY_DATA_FLOOD', 'empty DATA frames', limits.emptyData, now);
    this.tinyWindowUpdates = new TokenBucket(
      'H2_WINDOW_FLOOD',
      'tiny WINDOW_UPDATE frames',
      limits.tinyWindowUpdates,
      now,
    );
    this.ignoredFrames = new TokenBucket('H2_IGNORED_FLOOD', 'meaningless frames', limits.ignoredFrames, now);
  }
}
