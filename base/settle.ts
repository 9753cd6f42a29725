/**
 * After the start: collects what starting left behind and gives the memory back. Configuration parsing and module loading
 * make most of an agent's peak; an idle node should not pay for it ever after.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { releaseMemory } from '../native/native.ts';

/** Collects this thread's garbage; takes some ten milliseconds. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/** The same, and gives back what the process as a whole does not use. For the main thread, once. */
export function settle(): void {
  collectGarbage();
  releaseMemory();
}
