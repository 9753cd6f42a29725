/** When to connect again: pure arithmetic, in milliseconds, with `random` between 0 and 1. */

const firstPauseMs = 10;
export const maxPauseMs = 15_000;

/**
 * The pause before the next try after so many that failed in a row, doubled from 10 ms to 15 s. A part of it is chance, so
 * that the agents of a mesh do not come back to a control plane together.
 */
export function reconnectPauseMs(failures: number, random: number): number {
  const pause = Math.min(firstPauseMs * 2 ** Math.min(failures, 32), maxPauseMs);
  return Math.round(pause * (0.5 + random / 2));
}
