/**
 * A process that looks like a node's kubelet (name, executable, user, namespace, cgroup) and connects where it is told: a
 * copy of bash under that name, which opens sockets by itself.
 */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeCgroup } from '../lab/cgroup.ts';
import { eventually } from '../lab/eventually.ts';
import type { Place } from '../lab/place.ts';
import type { LabProcess } from '../lab/process.ts';

export interface FakeKubeletOptions {
  /** Of the process and its executable. */
  readonly name?: string;
  /** Cgroup below the place's own. */
  readonly group?: string;
  /** Root unless said. */
  readonly user?: number;
}

const program = `
while read -r id host port text; do
  if exec 3<>"/dev/tcp/$host/$port"; then
    printf '%s\\n' "$text" >&3
    [ "$text" = silent ] && continue
    read -r answer <&3 || answer="\${answer:-nothing}"
    printf 'answer %s %s\\n' "$id" "$answer"
    [ "$text" = until-end ] && read -r rest <&3
    [ "$text" = hold ] || exec 3>&-
  else
    printf 'answer %s refused\\n' "$id"
  fi
done`;

export class FakeKubelet implements AsyncDisposable {
  readonly process: LabProcess;
  #calls = 0;

  private constructor(started: LabProcess) {
    this.process = started;
  }

  /** @param directory of the lab, for the executable */
  static async start(
    place: Place,
    directory: string,
    options: FakeKubeletOptions = {},
  ): Promise<FakeKubelet> {
    const { name = 'kubelet', group = '_kubelet' } = options;
    mkdirSync(join(directory, 'bin'), { recursive: true });
    const path = join(directory, 'bin', name);
    try {
      copyFileSync('/bin/bash', path);
    } catch (error) {
      // It runs already.
      if ((error as NodeJS.ErrnoException).code !== 'ETXTBSY') throw error;
    }
    makeCgroup(join(place.cgroup, group));
    const [file = path, ...args] =
      options.user === undefined ? [path] : ['setpriv', `--reuid=${options.user}`, '--clear-groups', path];
    const started = place.spawn(file, [...args, '-c', `echo started; ${program}`], { group });
    const kubelet = new FakeKubelet(started);
    await kubelet.process.says(/started/);
    return kubelet;
  }

  get pid(): number {
    return this.process.pid;
  }

  /**
   * Connects, sends one line and returns the line that came back; `refused` or `nothing` where none did. With the line
   * `hold` the connection stays open, with `until-end` the server is the first to close it, and with `silent`, which
   * has no answer here, nobody closes it.
   */
  async probe(host: string, port: number, text = 'ping'): Promise<string> {
    const id = `${(this.#calls += 1)}`;
    this.process.stdin.write(`${id} ${host} ${port} ${text}\n`);
    const answer = new RegExp(`^answer ${id} (.*)$`, 'm');
    const match = await eventually(() => answer.exec(this.process.stdout()), { what: `answer of ${host}` });
    return match[1] ?? '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}
