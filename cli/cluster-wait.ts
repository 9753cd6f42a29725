/**
 * Waiting for what a cluster does by itself: asks again and again until it is so, shows each step once, and gives up at a
 * deadline with the last thing it heard.
 */
import { setTimeout } from 'node:timers/promises';
import { CulvertError } from '../base/errors.ts';

/** How far something is. */
export interface Progress {
  readonly done: boolean;
  /** One line for a person, such as `culvert-agent: 1 of 3 nodes`. */
  readonly state: string;
}

export interface Patience {
  /** Milliseconds from now. */
  readonly timeoutMs: number;
  /** Hears every new state. */
  readonly show: (state: string) => void;
  readonly intervalMs?: number;
}

/** Returns when `look` says that it is done. Throws CLUSTER_TIMEOUT with the last state. */
export async function waitFor(look: () => Promise<Progress>, patience: Patience): Promise<void> {
  const until = performance.now() + patience.timeoutMs;
  let shown = '';
  for (;;) {
    const { done, state } = await look();
    if (state !== shown) patience.show(state);
    shown = state;
    if (done) return;
    if (performance.now() >= until) {
      throw new CulvertError('CLUSTER_TIMEOUT', `gave up after ${patience.timeoutMs / 1000} s: ${state}`, {
        fix: 'what was begun goes on in the cluster; `kubectl -n culvert-system get pods` shows it, and the command can be repeated',
      });
    }
    await setTimeout(patience.intervalMs ?? 500);
  }
}

/** Writes lines to standard error, where they are in nobody's way who reads the result. */
export function toStandardError(state: string): void {
  process.stderr.write(`  ${state}\n`);
}

/** Milliseconds of `90s`, `5m`. Throws BAD_USAGE. */
export function timeoutMs(text: string): number {
  const [, amount, unit] = /^([1-9][0-9]{0,4})(s|m)$/.exec(text) ?? [];
  if (amount === undefined)
    throw new CulvertError('BAD_USAGE', `--timeout ${text}: a whole number and s or m is needed`);
  return Number(amount) * (unit === 'm' ? 60_000 : 1000);
}
