/**
 * Looks for what a demo may have left on this machine. Asks the kernel, not the lab that has cleaned up.
 *
 * BPF programs have no path once nothing pins them, but each holds on to its maps: when the maps that an agent had open
 * are gone, so are the programs that used them.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cgroup2Mount } from '../cgroup.ts';
import { command } from '../commands.ts';
import { eventually } from '../eventually.ts';
import { counted, type Report } from './report.ts';

/** What to look for: the lab's name and directory, and the ids of the BPF maps that its agents had open. */
export interface Traces {
  readonly name: string;
  readonly directory: string;
  readonly maps: readonly string[];
}

/** Ids of the BPF maps that a process has open (proc(5), fdinfo). */
export function mapsOf(pid: number): string[] {
  const directory = `/proc/${pid}/fdinfo`;
  return readable(() => readdirSync(directory)).flatMap(fd => {
    const id = /^map_id:\s*(\d+)$/m.exec(
      readable(() => [readFileSync(join(directory, fd), 'utf8')])[0] ?? '',
    );
    return id?.[1] === undefined ? [] : [id[1]];
  });
}

/** Says what is left; returns whether that is nothing. */
export async function reportLeftovers(traces: Traces, report: Report): Promise<boolean> {
  // A process that was killed, and a map whose last user has gone, take the kernel a moment.
  await eventually(async () => (await leftovers(traces)).length === 0, { timeoutMs: 5_000 }).catch(
    () => false,
  );
  const { maps } = traces;
  const left = await leftovers(traces);
  if (left.length === 0) {
    const known =
      maps.length === 0 ? [] : [`none of the ${counted(maps.length, 'BPF map')} that the agents had`];
    const looked = ['no namespace', 'no cgroup', 'no process', 'no mount or pin', ...known, 'no file'];
    report.line(`Nothing is left behind (looked for just now): ${looked.join(', ')}.`);
  } else {
    report.line('LEFT BEHIND:');
    for (const what of left) report.line(`  ${what}`);
  }
  return left.length === 0;
}

async function leftovers({ name, directory, maps }: Traces): Promise<string[]> {
  const mine = `cv-${name}`;
  const begins = (entry: string): boolean => entry.startsWith(`${mine}-`);
  const paths = [join(cgroup2Mount(), mine), directory, `/run/culvert-lab/${name}.json`];
  const alive = maps.length === 0 ? '' : await command('python3', [mapsAlive, ...maps]);
  return [
    ...readable(() => readdirSync('/run/netns'))
      .filter(begins)
      .map(entry => `network namespace ${entry}`),
    ...readable(() => readdirSync('/etc/netns'))
      .filter(begins)
      .map(entry => `/etc/netns/${entry}`),
    ...paths.filter(path => existsSync(path)),
    ...readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter(line => line.includes(` ${directory}/`)),
    ...readable(() => readdirSync('/proc'))
      .filter(pid => belongs(pid, mine))
      .map(pid => `process ${pid}`),
    ...alive
      .split(/\s+/)
      .filter(Boolean)
      .map(id => `BPF map ${id}`),
  ];
}

const mapsAlive = fileURLToPath(new URL('maps-alive.py', import.meta.url));

/** Whether a process is in a cgroup of the lab; one that has ended and waits to be counted is not. */
function belongs(pid: string, cgroup: string): boolean {
  const [status = '', membership = ''] = readable(() => [
    readFileSync(`/proc/${pid}/stat`, 'utf8'),
    readFileSync(`/proc/${pid}/cgroup`, 'utf8'),
  ]);
  return membership.includes(`/${cgroup}/`) && !status.includes(') Z ');
}

/** What can be read now; what vanishes meanwhile, or is none of ours, is nothing. */
function readable(read: () => string[]): string[] {
  try {
    return read();
  } catch {
    return [];
  }
}
