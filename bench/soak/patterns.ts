/**
 * The byte-pattern programs between two pods, in all their variants side by side, again and again: both families, either end
 * first, with and without pauses, one session and several at a time, sockets that block and that do not.
 */
import type { KernelPathLab } from '../../test/help/kernel-path-lab.ts';
import type { LabProcess } from '../../test/lab/process.ts';

export interface Tally {
  readonly sessions: number;
  readonly megabytes: number;
  /** Sessions in which a byte was not the one that was sent. */
  readonly wrong: number;
  /** Sessions that ended early: reset, refused, stalled. */
  readonly failed: number;
  readonly why: string;
}

interface Session {
  readonly ok: boolean;
  readonly sent: number;
  readonly received: number;
  readonly wrong?: string;
}

interface Variant {
  readonly blocking: boolean;
  readonly ipv6: boolean;
  readonly end: 'client' | 'server';
  readonly pauses: boolean;
  readonly parallel: number;
}

const [joinedPort, blockingPort] = [7000, 7001];
/** Of one session in each direction; with pauses less, so that no variant takes all the time. */
const sizes = { steady: 100_000_000, pausing: 3_000_000 };
/** At a time. Each takes the next variant when it is done. */
const runners = 3;

/** As the program names it. */
const wrongBytes = new Set(['wrong byte', 'more bytes than were sent']);

function* variants(): Generator<Variant> {
  for (;;)
    for (const pauses of [false, true])
      for (const end of ['client', 'server'] as const)
        for (const ipv6 of [false, true])
          for (const parallel of [1, 4])
            for (const blocking of [false, false, true]) yield { blocking, ipv6, end, pauses, parallel };
}

export class Patterns {
  readonly #stage: KernelPathLab;
  readonly #program: string;
  readonly #servers: readonly LabProcess[];
  readonly #next = variants();
  readonly #sessions: Session[] = [];
  readonly #running: Promise<void>[];
  #ends = false;
  #seed = 1;

  private constructor(stage: KernelPathLab, program: string, servers: readonly LabProcess[]) {
    this.#stage = stage;
    this.#program = program;
    this.#servers = servers;
    this.#running = Array.from({ length: runners }, () => this.#go());
  }

  static async start(stage: KernelPathLab, program: string): Promise<Patterns> {
    const { server } = stage;
    const one = server.spawn(program, ['server', String(joinedPort), 'nonblocking']);
    const other = server.spawn(program, ['server', String(blockingPort)]);
    await Promise.all([one.listensOn(joinedPort), other.listensOn(blockingPort)]);
    // What no verdict is known for goes through the agent, and dies with it.
    for (const address of [server.address, server.address6])
      for (const [port, flags] of [
        [joinedPort, ['--nonblocking']],
        [blockingPort, []],
      ] as const) {
        const dial = ['client', address, String(port), ...flags, '--up', '9', '--down', '9'];
        await stage.learn(address, port, () => stage.client.run(program, dial));
      }
    return new Patterns(stage, program, [one, other]);
  }

  /** Lets what runs come to its end. */
  async end(): Promise<Tally> {
    this.#ends = true;
    await Promise.all(this.#running);
    // Where the server ends first, only it knows whether it got everything.
    const seenByServers = this.#servers
      .flatMap(server => sessionsOf(server.stdout()))
      .filter(({ ok }) => !ok);
    const all = [...this.#sessions, ...seenByServers];
    const bad = all.filter(({ ok }) => !ok);
    const wrong = bad.filter(session => wrongBytes.has(session.wrong ?? '')).length;
    return {
      sessions: all.length,
      megabytes: Math.round(all.reduce((total, { sent, received }) => total + sent + received, 0) / 1e6),
      wrong,
      failed: bad.length - wrong,
      why: [...new Set(bad.map(session => session.wrong ?? '?'))].slice(0, 5).join('; ') || '-',
    };
  }

  async #go(): Promise<void> {
    while (!this.#ends) {
      const { value } = this.#next.next() as { value: Variant };
      await this.#run(value);
    }
  }

  async #run({ blocking, ipv6, end, pauses, parallel }: Variant): Promise<void> {
    const { client, server } = this.#stage;
    const size = pauses ? sizes.pausing : sizes.steady;
    const flags = { up: size, down: size, sessions: parallel, parallel, seed: this.#seed, stall: 60_000 };
    const args = [
      'client',
      ipv6 ? server.address6 : server.address,
      String(blocking ? blockingPort : joinedPort),
      ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]),
      '--first-end',
      end,
      ...(blocking ? [] : ['--nonblocking']),
      ...(pauses ? ['--pauses'] : []),
    ];
    this.#seed += parallel;
    const { stdout, stderr, code } = await client.run(this.#program, args, {
      check: false,
      timeoutMs: 600_000,
    });
    const sessions = sessionsOf(stdout);
    this.#sessions.push(...sessions);
    if (code !== 0 && sessions.length === 0)
      this.#sessions.push({
        ok: false,
        sent: 0,
        received: 0,
        wrong: stderr.trim() || `exit ${String(code)}`,
      });
  }
}

/** The server's first line says that it listens. */
function sessionsOf(output: string): Session[] {
  const lines = output.trim().split('\n').filter(Boolean);
  return lines.map(line => JSON.parse(line) as Session).filter(session => 'ok' in session);
}
