/**
 * After the start: collects what starting left behind and gives the memory back. Configuration parsing and module loading
 * make most of an agent's peak; an idle node should not pay for it ever after.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { releaseMemory } from '../native/native.ts';

/** Once, when nothing urgent is going on: takes some ten milliseconds. */
export function settle(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  releaseMemory();
}
