/**
 * Endpoints that are left out for a while for what they answered: errors in a row eject, each further time for longer, and
 * when the time is over they are as good as any.
 */
import type { OutlierRule } from './traffic-policy.ts';

/** What a try came to: the status of the answer, or `local` for a failure without one. */
export type Outcome = number | 'local';

interface Record {
  serverErrors: number;
  gatewayErrors: number;
  localErrors: number;
  /** How often it was ejected, less a while of good times each. */
  times: number;
  /** Left out until then. */
  until: number;
}

/** An ejection is never longer than this, or than the first where that is longer. */
const maxEjectionMs = 300_000;

export class Outliers {
  readonly #now: () => number;
  readonly #records = new Map<string, Record>();
  /** Set by the owner; without one nothing is counted, and nothing is left out. */
  rule: OutlierRule | null = null;

  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * Takes in what a try at an endpoint came to; true where it is ejected for that.
   * @param endpoints all there are, of which only a part may be left out
   */
  report(uid: string, outcome: Outcome, endpoints: Iterable<string>): boolean {
    const { rule } = this;
    if (rule === null) return false;
    const isError = outcome === 'local' || isIn(rule.statuses, outcome);
    let record = this.#records.get(uid);
    if (record === undefined) {
      if (!isError) return false;
      record = { serverErrors: 0, gatewayErrors: 0, localErrors: 0, times: 0, until: 0 };
      this.#records.set(uid, record);
    }
    // What was sent before the ejection says nothing new.
    if (record.until > this.#now()) return false;
    if (!countIn(record, rule, outcome, isError) || !this.#mayEject(uid, rule, endpoints)) return false;
    this.#eject(record, rule);
    return true;
  }

  has(uid: string): boolean {
    if (this.rule === null || this.#records.size === 0) return false;
    const record = this.#records.get(uid);
    return record !== undefined && record.until > this.#now();
  }

  /** Forgets those that are no endpoints any more. */
  keep(endpoints: ReadonlySet<string>): void {
    for (const uid of this.#records.keys()) if (!endpoints.has(uid)) this.#records.delete(uid);
  }

  /** One is always possible where there is another: with the usual 10 % a service of few would have none ejected. */
  #mayEject(uid: string, rule: OutlierRule, endpoints: Iterable<string>): boolean {
    let [all, out] = [0, 0];
    for (const other of endpoints) {
      all += 1;
      if (other !== uid && this.has(other)) out += 1;
    }
    if (rule.maxEjectionPercent === 0) return false;
    return ((out + 1) * 100) / all <= rule.maxEjectionPercent || (out === 0 && all > 1);
  }

  #eject(record: Record, rule: OutlierRule): void {
    const now = this.#now();
    const good = record.until === 0 ? 0 : Math.floor((now - record.until) / rule.intervalMs);
    record.times = Math.max(0, record.times - good) + 1;
    const longest = Math.max(maxEjectionMs, rule.ejectionMs);
    record.until = now + Math.min(longest, rule.ejectionMs * record.times);
    [record.serverErrors, record.gatewayErrors, record.localErrors] = [0, 0, 0];
  }
}

/** Counts, and says whether that is too much. */
function countIn(record: Record, rule: OutlierRule, outcome: Outcome, isError: boolean): boolean {
  if (outcome === 'local' && rule.localErrors !== null) {
    record.localErrors += 1;
    return rule.localErrors > 0 && record.localErrors >= rule.localErrors;
  }
  if (outcome !== 'local') record.localErrors = 0;
  record.serverErrors = isError ? record.serverErrors + 1 : 0;
  const isGateway = outcome === 'local' || (outcome >= 502 && outcome <= 504);
  record.gatewayErrors = isGateway ? record.gatewayErrors + 1 : 0;
  const over = (count: number, limit: number): boolean => limit > 0 && count >= limit;
  return over(record.serverErrors, rule.serverErrors) || over(record.gatewayErrors, rule.gatewayErrors);
}

function isIn(ranges: OutlierRule['statuses'], status: number): boolean {
  return ranges.some(([first, last]) => status >= first && status <= last);
}
