/** What applications do with their sockets (habits/), between two places, and what both ends have seen of it. */
import { join } from 'node:path';
import { eventually } from '../lab/eventually.ts';
import type { Place } from '../lab/place.ts';
import type { LabProcess } from '../lab/process.ts';

const program = join(import.meta.dirname, 'habits');
const python = ['-B', program];

/** By case and end, as `server splice`: what was seen there, as JSON. */
export type Transcripts = ReadonlyMap<string, string>;

interface Line {
  readonly side: string;
  readonly case: string;
  readonly seen: readonly unknown[];
}

export class Habits {
  readonly #server: Place;
  readonly #port: number;
  readonly #serving: LabProcess;
  /** Where there is no mesh: in the server's own pod. */
  readonly expected: Transcripts;

  private constructor(server: Place, port: number, serving: LabProcess, expected: Transcripts) {
    this.#server = server;
    this.#port = port;
    this.#serving = serving;
    this.expected = expected;
  }

  /** Serves all cases, on one port each from `port` on. */
  static async serve(server: Place, port: number): Promise<Habits> {
    const serving = server.spawn('python3', [...python, 'serve', String(port)]);
    await serving.says(/listening/);
    const alone = new Habits(server, port, serving, new Map());
    return new Habits(server, port, serving, await alone.play(server, '127.0.0.1'));
  }

  /** The cases, in the order of their ports. */
  get cases(): string[] {
    const clients = [...this.expected.keys()].filter(key => key.startsWith('client '));
    return clients.map(key => key.slice('client '.length));
  }

  /** Talks to each port in a way that is nothing special. */
  async warm(client: Place, address: string): Promise<void> {
    await client.run('python3', [...python, 'warm', address, String(this.#port)]);
  }

  /** Plays these cases, or all. */
  async play(
    client: Place,
    address = this.#server.address,
    ...cases: readonly string[]
  ): Promise<Transcripts> {
    const before = lines(this.#serving.stdout()).length;
    const { stdout } = await client.run('python3', [
      ...python,
      'call',
      address,
      String(this.#port),
      ...cases,
    ]);
    const [ours, theirs] = [lines(stdout), () => lines(this.#serving.stdout()).slice(before)];
    await eventually(() => theirs().length >= ours.length, { what: 'what the server has seen' });
    return new Map(
      [...ours, ...theirs()].map(({ side, case: name, seen }) => [`${side} ${name}`, JSON.stringify(seen)]),
    );
  }
}

function lines(output: string): Line[] {
  const whole = output.slice(0, output.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Line);
}
