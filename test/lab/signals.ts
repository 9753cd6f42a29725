/**
 * Ends labs with the process that made them: on Ctrl-C, on SIGTERM and when it ends without having disposed of them.
 *
 * After kill -9 nothing of this runs; then the next lab of the same name, or a sweep, removes what is left.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

interface Ending {
  readonly name: string;
  dispose(): Promise<void>;
}

const open = new Set<Ending>();
const underSignals = new Set<Ending>();
let exitHooked = false;

/** Watches over a lab until the returned function is called. */
export function endWithOwner(lab: Ending, signals: boolean): () => void {
  open.add(lab);
  if (signals) {
    if (underSignals.size === 0)
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal);
    underSignals.add(lab);
  }
  if (!exitHooked) process.on('exit', onExit);
  exitHooked = true;
  return () => {
    open.delete(lab);
    if (!underSignals.delete(lab) || underSignals.size > 0) return;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal);
  };
}

function onSignal(signal: NodeJS.Signals): void {
  void endAll(signal);
}

async function endAll(signal: NodeJS.Signals): Promise<void> {
  await Promise.allSettled([...underSignals].map(lab => lab.dispose()));
  // With our handlers gone this ends the process as the signal would have.
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, onSignal);
  process.kill(process.pid, signal);
}

/** An uncaught error or process.exit(): nothing asynchronous runs any more, so another process does the work. */
function onExit(): void {
  if (open.size === 0) return;
  const program = fileURLToPath(new URL('sweep.ts', import.meta.url));
  spawnSync(process.execPath, [program, ...[...open].map(lab => lab.name)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
