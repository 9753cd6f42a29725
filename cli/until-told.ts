/** How the commands that run something end: SIGTERM and SIGINT drain, a second one ends at once. */

export const stopSignals = ['SIGTERM', 'SIGINT'] as const;

export interface Ending {
  /** Once it has drained, or may not wait for that. */
  readonly ended: Promise<void>;
  /** Asks for it as a signal does. */
  readonly stop: () => void;
  /** There is nothing to wait for any more. */
  readonly end: () => void;
}

/** Listens to signals from now on. */
export function listenForEnd(drain: () => Promise<void>): Ending {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  let told = false;
  const stop = (): void => {
    if (told) return end();
    told = true;
    void drain().then(end);
  };
  for (const signal of stopSignals) process.on(signal, stop);
  return { ended, stop, end };
}
