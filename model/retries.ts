/** What a try has to come to so that there is another one, and how long it waits. */
import type { HttpRetry, RetryCondition } from './http-route.ts';

/** Of a try: an answer that may be held back, or a failure. */
export type TryResult =
  | { readonly type: 'status'; readonly status: number; readonly grpcStatus: string | null }
  /** `seen`: the endpoint may have begun with the request. */
  | { readonly type: 'connect' }
  | { readonly type: 'timeout' }
  | { readonly type: 'reset'; readonly seen: boolean };

const grpcConditions = new Map<string, RetryCondition>([
  ['1', 'cancelled'],
  ['4', 'deadline-exceeded'],
  ['8', 'resource-exhausted'],
  ['13', 'internal'],
  ['14', 'unavailable'],
]);

/** What is tried again without any rule: only what no endpoint has seen. */
export const defaultRetry: HttpRetry = {
  attempts: 2,
  on: ['connect-failure', 'refused-stream', 'reset-before-request'],
  codes: [],
  backoffMs: 0,
  remoteLocalities: null,
};

/** Whether a result is worth another try. */
export function isWorthRetry({ on, codes }: HttpRetry, result: TryResult): boolean {
  const has = (...conditions: RetryCondition[]): boolean => conditions.some(each => on.includes(each));
  if (result.type === 'connect') return has('connect-failure', '5xx', 'gateway-error', 'reset');
  if (result.type === 'timeout') return has('timeout', '5xx', 'gateway-error', 'reset');
  if (result.type === 'reset') {
    const unseen = !result.seen && has('refused-stream', 'reset-before-request', 'connect-failure');
    return unseen || has('reset', '5xx', 'gateway-error');
  }
  const { status, grpcStatus } = result;
  if (codes.includes(status)) return true;
  const condition = grpcConditions.get(grpcStatus ?? '');
  if (condition !== undefined && on.includes(condition)) return true;
  if (status >= 502 && status <= 504 && has('gateway-error')) return true;
  return (status >= 500 && has('5xx')) || (status === 409 && has('retriable-4xx'));
}

/** Longest pause, whatever the number of the try. */
const maxBackoffFactor = 10;

/**
 * Milliseconds before a further try. The pause is at least the half of what it is at most, so that a rule's `backoff` is
 * about what it says; the rest is random, so that many do not come back at the same moment.
 * @param tried how many there were
 */
export function backoffMs({ backoffMs: base }: HttpRetry, tried: number, random: number): number {
  const longest = base * Math.min(maxBackoffFactor, 2 ** (tried - 1));
  return Math.max(base, longest * (0.5 + random / 2));
}
