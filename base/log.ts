/**
 * Logs of one thread: JSON lines by pino, one logger per component, levels that change while the process runs.
 *
 * Keys are stable: `component, pod, src, dst, identity, code, ms`; info is lifecycle, debug is per connection, secrets
 * never. Lines leave in the background (see line-file.ts), so a reader that sleeps on our standard output stops nothing.
 */
import pino from 'pino';
import { LineFile } from './line-file.ts';

export type Logger = pino.Logger;

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LoggerOptions {
  readonly component: string;
  /** Level unless `setLevels` has said otherwise. */
  readonly level: string;
  /** Where lines go; by default the thread's destination, see `logTo`. */
  readonly destination?: { write(line: string): void };
}

/** What `setLevels` accepts: `debug`, `dns=debug`, `info,dns=debug,shard=trace`. */
interface Levels {
  readonly common: LogLevel | null;
  readonly components: ReadonlyMap<string, LogLevel>;
}

/** Loggers of this thread with the level each was made with; there are as many as components. */
const loggers = new Map<string, { readonly logger: Logger; readonly initial: string }[]>();
let chosen: Levels = { common: null, components: new Map() };
let destination: LineFile | null = null;

/** The thread's destination; standard output until `logTo` names a file. Flushed when the thread exits. */
export function logDestination(): LineFile {
  destination ??= openDestination(null);
  return destination;
}

/** Sends the lines of loggers made from now on to `path`; null is standard output. */
export function logTo(path: string | null): void {
  const before = destination;
  destination = openDestination(path);
  void before?.flush();
}

/** Makes the logger of a component. Later `child` loggers keep the level they are born with. */
export function createLogger(options: LoggerOptions): Logger {
  const { component } = options;
  const initial = isLevel(options.level) ? options.level : 'info';
  const logger = pino(
    {
      level: chosen.components.get(component) ?? chosen.common ?? initial,
      base: { component },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    options.destination ?? logDestination(),
  );
  const known = loggers.get(component);
  if (known === undefined) loggers.set(component, [{ logger, initial }]);
  else known.push({ logger, initial });
  return logger;
}

/**
 * Changes levels of this thread, also of components that don't exist yet: `debug` for all, `dns=debug` for one, or a
 * list of both; an empty string goes back to the start. Returns what is wrong with `spec`, or null when it holds.
 */
export function setLevels(spec: string): string | null {
  const parsed = parseLevels(spec);
  if (typeof parsed === 'string') return parsed;
  if (spec.trim() === '') chosen = parsed;
  else chosen = { common: parsed.common ?? chosen.common, components: merged(chosen, parsed) };
  for (const [component, made] of loggers) {
    for (const { logger, initial } of made)
      logger.level = chosen.components.get(component) ?? chosen.common ?? initial;
  }
  return null;
}

/** Level of every component of this thread. */
export function levels(): Record<string, string> {
  const names = [...loggers.keys()].sort();
  return Object.fromEntries(names.map(name => [name, loggers.get(name)?.at(-1)?.logger.level ?? 'info']));
}

function parseLevels(spec: string): Levels | string {
  let common: LogLevel | null = null;
  const components = new Map<string, LogLevel>();
  for (const part of spec
    .split(',')
    .map(piece => piece.trim())
    .filter(piece => piece !== '')) {
    const [left = '', right] = part.split('=', 2);
    const level = right ?? left;
    if (!isLevel(level)) return `"${level}" is no level; use one of ${logLevels.join(', ')}`;
    if (right === undefined) common = level;
    else components.set(left, level);
  }
  return { common, components };
}

/** A level for all replaces what single components had, unless it names them too. */
function merged(before: Levels, change: Levels): ReadonlyMap<string, LogLevel> {
  return change.common === null ? new Map([...before.components, ...change.components]) : change.components;
}

function isLevel(text: string): text is LogLevel {
  return (logLevels as readonly string[]).includes(text);
}

function openDestination(path: string | null): LineFile {
  const file = new LineFile({ path, flushMs: 0, onTrouble: reportTrouble });
  process.on('exit', () => file.flushSync());
  return file;
}

/** The only words about a log that can't be written; standard error is all that is left to say them on. */
export function reportTrouble(error: NodeJS.ErrnoException, path: string): void {
  try {
    process.stderr.write(`culvert: lines for ${path} are lost: ${error.code ?? error.message}\n`);
  } catch {
    // Nobody listens there either; the count of lost lines remains.
  }
}
