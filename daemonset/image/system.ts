/**
 * The rest of the root filesystem where no container engine brings a base image: the shared libraries of this machine that
 * Node and the addon link to, the files that name users, and what scanners look for to know the packages. Debian or Ubuntu.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { home } from './application.ts';

/** User and group of every process that does not ask for another; distroless images call it nonroot. */
export const unprivileged = 65532;

const folders = [
  'bin',
  'dev',
  'etc',
  'lib',
  'proc',
  'root',
  'run',
  'sys',
  'tmp',
  'usr/bin',
  'var/log',
  'var/tmp',
];

/** A Debian package of which the image has files. */
export interface SystemPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
}

/** Completes a root filesystem that holds the application, and returns the packages of which it took files. */
export function installSystem(root: string): SystemPackage[] {
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
  const programs = ['usr/local/bin/node', `${home}/native/build/Release/culvert.node`];
  const libraries = new Set(programs.flatMap(program => librariesOf(join(root, program))));
  for (const library of libraries) {
    mkdirSync(dirname(join(root, library)), { recursive: true });
    copyFileSync(realpathSync(library), join(root, library));
  }
  users(root);
  const packages = packagesOf(libraries);
  for (const found of packages) describePackage(root, found);
  cpSync(realpathSync('/etc/os-release'), join(root, 'etc/os-release'));
  return packages;
}

function librariesOf(program: string): string[] {
  const named = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...named.matchAll(/(?:=> |^\s+)(\/\S+)/gm)].map(([, path = '']) => path);
}

function users(root: string): void {
  const id = unprivileged;
  const write = (name: string, text: string): void => writeFileSync(join(root, 'etc', name), text);
  write(
    'passwd',
    `root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:${id}:${id}:nonroot:/nonexistent:/sbin/nologin\n`,
  );
  write('group', `root:x:0:\nnonroot:x:${id}:\n`);
  // Files before DNS, as every distribution has it: glibc alone would ask DNS for localhost.
  write('nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n');
}

/** The packages that own the files, each once, by name. */
function packagesOf(files: ReadonlySet<string>): SystemPackage[] {
  const owners = new Set<string>();
  for (const file of files) {
    // Merged /usr: dpkg knows some files by the path they had before.
    const paths = [file, realpathSync(file), realpathSync(file).replace(/^\/usr/, '')];
    const owner = paths.map(ownerOf).find(name => name !== null);
    if (owner !== null && owner !== undefined) owners.add(owner);
  }
  const format = '${Package}\t${Version}\t${Architecture}\n';
  const shown = execFileSync('dpkg-query', ['-W', '-f', format, ...owners], { encoding: 'utf8' });
  return shown
    .trimEnd()
    .split('\n')
    .map(line => {
      const [name = '', version = '', architecture = ''] = line.split('\t');
      return { name, version, architecture };
    })
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

function ownerOf(path: string): string | null {
  try {
    const found = execFileSync('dpkg-query', ['-S', path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return found.split(': ')[0] ?? null;
  } catch {
    return null; // Known under another path, or under none.
  }
}

/** The package's status where scanners of images without dpkg look for it, and its licence. */
function describePackage(root: string, { name, architecture }: SystemPackage): void {
  const status = execFileSync('dpkg-query', ['-s', `${name}:${architecture}`], { encoding: 'utf8' });
  const folder = join(root, 'var/lib/dpkg/status.d');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, basename(name)), status);
  const copyright = `/usr/share/doc/${name}/copyright`;
  if (!existsSync(copyright)) return;
  mkdirSync(join(root, dirname(copyright)), { recursive: true });
  copyFileSync(realpathSync(copyright), join(root, copyright));
}
