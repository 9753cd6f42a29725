/** Durations as the kinds that Istio has too write them (Go): `1h30m`, `1.5s`, `250ms`. */
import * as z from 'zod';

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 0.001 };

/** A duration of at most so many days, so that it fits a timer. */
const maxMs = 24 * 24 * 3_600_000;

/** One that may be zero. */
export const goDuration = z
  .string()
  .max(32)
  .regex(
    /^(0|(\d+(\.\d+)?(h|ms|m|s|us))+)$/,
    'a duration is numbers with h, m, s or ms, such as 1m30s or 250ms',
  )
  .refine(text => goDurationMs(text) <= maxMs, 'a duration is at most 576h')
  .meta({
    'x-kubernetes-validations': [
      { rule: "self == '0' || duration(self) <= duration('576h')", message: 'a duration is at most 576h' },
    ],
  });

/** One of a millisecond at least. */
export const positiveDuration = z
  .string()
  .max(32)
  .regex(/^(\d+(\.\d+)?(h|ms|m|s|us))+$/, 'a duration is numbers with h, m, s or ms, such as 1m30s or 250ms')
  .refine(text => {
    const ms = goDurationMs(text);
    return ms >= 1 && ms <= maxMs;
  }, 'a duration is from 1ms to 576h')
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "duration(self) >= duration('1ms') && duration(self) <= duration('576h')",
        message: 'a duration is from 1ms to 576h',
      },
    ],
  });

/** Milliseconds of a duration. */
export function goDurationMs(text: string): number {
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|us|h|m|s)/g))
    sum += Number(amount) * (unitMs[unit ?? ''] ?? 0);
  return sum;
}
