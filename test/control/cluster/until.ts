/** Waits for something that other work brings about; fails with what it was waiting for. */
import { setTimeout } from 'node:timers/promises';

export async function until(what: string, holds: () => boolean, deadlineMs = 10_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await setTimeout(5);
  }
}
