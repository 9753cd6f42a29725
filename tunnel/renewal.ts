/** When to ask for a certificate: pure arithmetic, in milliseconds, with `random` between 0 and 1. */

// Renewal falls somewhere in this part of a certificate's life, so that those issued together don't renew together.
const renewFrom = 0.5;
const renewUntil = 0.7;
const firstRetryMs = 500;
const maxRetryMs = 150_000;
const retryJitter = 0.2;

/** From the moment a certificate came until it is renewed. */
export function renewalDelayMs(lifeMs: number, random: number): number {
  return lifeMs * (renewFrom + (renewUntil - renewFrom) * random);
}

/** From a failure until the next try; `failures` in a row, the last one included. */
export function retryDelayMs(failures: number, random: number): number {
  const pause = Math.min(firstRetryMs * 2 ** (failures - 1), maxRetryMs);
  return Math.round(pause * (1 - retryJitter + 2 * retryJitter * random));
}
