/**
 * Runs the system's own programs (ip, mount, nsenter…) and says what they said when they fail.
 *
 * The lab is made by the commands that a person would type, so that each step can be tried by hand.
 */
import { spawn } from 'node:child_process';
import { CulvertError } from '../../base/errors.ts';

/** Debian package that brings a program, for the message when it is missing. */
const packages: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nsenter: 'util-linux',
  mount: 'mount',
  umount: 'mount',
};

/** Runs a program to its end and returns its stdout; throws LAB_COMMAND_FAILED with its stderr otherwise. */
export function command(file: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
    // A program that ends without reading its input is judged by its exit code, not by the broken pipe.
    child.stdin.on('error', () => {});
    child.on('error', (cause: NodeJS.ErrnoException) => {
      const fix = cause.code === 'ENOENT' ? `install ${packages[file] ?? file}` : null;
      reject(new CulvertError('LAB_COMMAND_FAILED', `cannot run ${file}: ${cause.message}`, { fix, cause }));
    });
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(Buffer.concat(output).toString());
      const said = Buffer.concat(errors).toString().trim();
      reject(
        new CulvertError(
          'LAB_COMMAND_FAILED',
          `${file} ${args.join(' ')}: ${said || `ended with ${code ?? signal}`}`,
        ),
      );
    });
    child.stdin.end(input);
  });
}

/** Runs many `ip` commands in one process, in the given namespace or, with null, in ours; stops at the first error. */
export async function ip(namespace: string | null, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  const where = namespace === null ? [] : ['-n', namespace];
  await command('ip', [...where, '-batch', '-'], `${lines.join('\n')}\n`);
}

/** As `ip`, but goes on after errors and hides them: for taking down what may be gone already. */
export async function ipIgnoringErrors(lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await command('ip', ['-force', '-batch', '-'], `${lines.join('\n')}\n`).catch(() => '');
}

/**
 * Sets kernel parameters of one namespace, `ipv4/ip_forward` → 1, then runs `ip` commands in it.
 *
 * /proc/sys/net shows the namespace of who opens it, which is why a shell goes in rather than us.
 */
export async function configure(
  namespacePath: string,
  sysctls: Readonly<Record<string, number>>,
  lines: readonly string[],
): Promise<void> {
  const writes = Object.entries(sysctls).map(([name, value]) => `echo ${value} > /proc/sys/net/${name}`);
  const script = ['set -e', ...writes, 'exec ip -batch -'].join('\n');
  await command('nsenter', [`--net=${namespacePath}`, 'sh', '-c', script], `${lines.join('\n')}\n`);
}
