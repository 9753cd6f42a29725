/**
 * What the demo needs of a machine, and which package brings the programs that are missing.
 */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../../../base/errors.ts';
import { requireMachine } from '../../../cli/machine.ts';

const programs: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nsenter: 'util-linux',
  taskset: 'util-linux',
  tcpdump: 'tcpdump',
  curl: 'curl',
  nginx: 'nginx-light',
  'redis-server': 'redis-server',
  'redis-cli': 'redis-tools',
  exim4: 'exim4-daemon-light',
  openssl: 'openssl',
  python3: 'python3',
  cc: 'gcc',
};

const unfit = new Set(['MACHINE_UNFIT', 'LAB_NEEDS_ROOT', 'LAB_NO_CGROUP2', 'LAB_CGROUP']);

/** Throws MACHINE_UNFIT with everything that is missing. */
export function requireFitness(): void {
  requireMachine();
  const missing = Object.keys(programs).filter(program => !isInstalled(program));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(program => programs[program]))];
  throw new CulvertError('MACHINE_UNFIT', `this needs ${missing.join(', ')}`, {
    fix: `sh native/packages.sh lab, or install ${packages.join(' ')}`,
  });
}

function isInstalled(program: string): boolean {
  return `${process.env['PATH']}:/usr/sbin:/sbin`.split(':').some(directory => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether an error says that the machine is not fit, rather than that something went wrong. */
export function isUnfit(error: unknown): boolean {
  return error instanceof CulvertError && unfit.has(error.code);
}
