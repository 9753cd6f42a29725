/**
 * Which keeper serves this node, as a file in the state directory says: where its agent has crashed, it starts that one again
 * at once, and its sockets still get connections. Whoever comes at that moment to take its place must not open others beside
 * them: what waits in those would end with them.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { announce, holderOf } from '../../base/lock.ts';

const lookEveryMs = 20;
/** A keeper that gives up ends, mostly before this; one that hangs is waited for no longer. */
const mostMs = 20_000;

function fileOf(stateDir: string): string {
  return join(stateDir, 'keeper.pid');
}

/** Our keeper, which is our parent, has sockets of ours from now on. What fails is only that others do not know. */
export function announceKeeper(stateDir: string): void {
  try {
    announce(fileOf(stateDir), process.ppid);
  } catch {
    // A full disk, say.
  }
}

/** It has none any more. */
export function withdrawKeeper(stateDir: string): void {
  if (holderOf(fileOf(stateDir)) === process.ppid) rmSync(fileOf(stateDir), { force: true });
}

/** Waits while the keeper of an agent that has crashed, and that is not ours, is about to start it again. */
export async function untilStartedAgain(stateDir: string, lockPath: string): Promise<void> {
  const until = performance.now() + mostMs;
  while (performance.now() < until) {
    const keeper = holderOf(fileOf(stateDir));
    if (keeper === null || keeper === process.ppid || holderOf(lockPath) !== null) return;
    await delay(lookEveryMs);
  }
}
