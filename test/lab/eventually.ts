/**
 * Waits for something to become true, by asking again: the only kind of waiting that tests do.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CulvertError } from '../../base/errors.ts';

export interface EventuallyOptions {
  /** Gives up after this; 10 s unless said. */
  readonly timeoutMs?: number;
  /** Pause between two attempts; 20 ms unless said. */
  readonly intervalMs?: number;
  /** What is waited for, for the message when it does not come. */
  readonly what?: string;
}

/**
 * Asks until the answer is neither null, undefined nor false, and returns it. A throw counts as "not yet" and is the
 * cause of the error LAB_TIMEOUT when time is up.
 */
export async function eventually<T>(
  ask: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  options: EventuallyOptions = {},
): Promise<T> {
  const { timeoutMs = 10_000, intervalMs = 20, what = 'the expected state' } = options;
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== null && answer !== undefined && answer !== false) return answer;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) {
      const because = cause instanceof Error ? `: ${cause.message}` : '';
      throw new CulvertError('LAB_TIMEOUT', `${what} did not come within ${timeoutMs} ms${because}`, {
        cause,
      });
    }
    await delay(intervalMs);
  }
}
