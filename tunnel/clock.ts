/** Time as a parameter, so that a test can let hours pass. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls back once after so many milliseconds, which must fit a timer (24 days); returns what cancels it. */
  after(ms: number, callback: () => void): () => void;
}

/** The machine's; its timers don't keep a process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms).unref();
    return () => clearTimeout(timer);
  },
};
