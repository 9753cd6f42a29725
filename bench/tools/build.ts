/**
 * Compiles the load programs when their source is newer than they are. Tests use `pattern` and `idle` too.
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { command } from '../../test/lab/commands.ts';

/** Paths of the programs. */
export interface Tools {
  /** Round trips, one stream, connections per second. */
  readonly load: string;
  /** Proves that bytes and ends arrive as they were sent. */
  readonly pattern: string;
  /** Answers at a steady rate of requests. */
  readonly paced: string;
  /** Holds many connections that do nothing. */
  readonly idle: string;
}

const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const output = (name: string): string => fileURLToPath(new URL(`../build/${name}`, import.meta.url));

/** Compiles what is out of date and returns where the programs are. Needs a C compiler as `cc`. */
export async function buildTools(): Promise<Tools> {
  const [load, pattern, paced, idle] = await Promise.all([
    built('load'),
    built('pattern'),
    built('paced'),
    built('idle'),
  ]);
  return { load, pattern, paced, idle };
}

async function built(name: string): Promise<string> {
  const program = output(name);
  const sources = [source(`${name}.c`), source('net.h')];
  const made = existsSync(program) ? statSync(program).mtimeMs : 0;
  if (sources.every(path => statSync(path).mtimeMs < made)) return program;
  mkdirSync(output(''), { recursive: true });
  // Another process may run the old one, or compile too: the finished program takes its place in one step.
  const unfinished = `${program}.${process.pid}`;
  await command('cc', [
    '-O2',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-pthread',
    '-o',
    unfinished,
    source(`${name}.c`),
    '-lm',
  ]);
  await command('mv', [unfinished, program]);
  return program;
}
