/** Steady traffic of a program in a pod (steady.py), and what became of it. */
import { join } from 'node:path';
import type { Place } from '../lab/place.ts';
import type { LabProcess } from '../lab/process.ts';

export interface SteadyOptions {
  /** Milliseconds between two connections. */
  readonly everyMs?: number;
  /** Streams at a time, each with a life of so many seconds. */
  readonly streams?: number;
  readonly life?: number;
  /** Tells of each connection. */
  readonly each?: boolean;
}

export interface SteadyResult {
  /** Name of the place that talks, and whom to. */
  readonly from: string;
  readonly to: string;
  readonly asked: number;
  /** By errno, HUNG or WRONG. */
  readonly failed: Readonly<Record<string, number>>;
  readonly streams: number;
  readonly lost: Readonly<Record<string, number>>;
  readonly bytes: number;
  readonly slowestMs: number;
  /** Some of those that failed, with times in seconds. */
  readonly examples: readonly {
    readonly kind: string;
    readonly why: string;
    readonly begun: number;
    readonly ended: number;
  }[];
  /** If wanted: when each connection was begun, in seconds, how many milliseconds it took, and why it failed. */
  readonly each?: readonly (readonly [begun: number, tookMs: number, why: string | null])[];
}

export class Steady {
  readonly #process: LabProcess;
  readonly #from: string;
  readonly #to: string;

  private constructor(process: LabProcess, from: string, to: string) {
    this.#process = process;
    this.#from = from;
    this.#to = to;
  }

  static async start(place: Place, host: string, port: number, options: SteadyOptions = {}): Promise<Steady> {
    const { everyMs = 50, streams = 0, life = 5 } = options;
    const program = join(import.meta.dirname, 'steady.py');
    const flags = ['--every', everyMs, '--streams', streams, '--life', life].map(String);
    if (options.each === true) flags.push('--each');
    const started = place.spawn('python3', [program, host, String(port), ...flags], { openFiles: 16_384 });
    await started.says(/begun/);
    return new Steady(started, place.name, host);
  }

  async end(): Promise<SteadyResult> {
    this.#process.stdin.end();
    const [, json = ''] = await this.#process.says(/(\{.*\})/, 40_000);
    await this.#process.exited;
    return { ...(JSON.parse(json) as SteadyResult), from: this.#from, to: this.#to };
  }
}
