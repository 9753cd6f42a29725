/**
 * What of a built checkout goes into the image: the programs, the pinned Node, the packages that they import at run time,
 * and `culvert` in the PATH. No compiler, no sources of native code, no tests, no shell is needed to run it.
 *
 * The Containerfile calls this file; build.ts uses it to make the same image without a container engine.
 */
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { dirname, extname, join } from 'node:path';
import { CulvertError } from '../../base/errors.ts';

const checkout = join(import.meta.dirname, '../..');

/** Where the checkout's files are in the image. */
export const home = '/culvert';

/** The program that every container runs: Node with our options, no shell between it and signals. */
export const program = '/usr/local/bin/culvert';

/** What starts the agent, and keeps its listening sockets over a crash. */
const keeper = '/usr/local/bin/culvert-keeper';

/** Folders of sources that Node runs as they are. */
const sources = [
  'agent',
  'base',
  'bpf',
  'cli',
  'control',
  'crds',
  'daemonset',
  'model',
  'native',
  'proto',
  'tunnel',
  'waypoint',
  'xds',
];

/** Which files of those folders run, or are read by what runs. */
const wanted = /\.(ts|proto|yaml|json)$|\/bpf\/build\/[^/]+\.o$/;

/** Compiled programs; each has to be there, and is copied to where a checkout has it. */
const compiled = [
  'native/build/Release/culvert.node',
  'native/cni/build/culvert-cni',
  'native/keeper/build/culvert-keeper',
];

/** Kinds of files in packages that Node never opens. */
const unused = new Set(['.ts', '.mts', '.cts', '.map', '.md', '.flow']);

/** A package of the lock file that the image carries. */
export interface RuntimePackage {
  /** Its folder below the checkout, as the lock file calls it. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  readonly license: string | null;
  /** Checksum of what the registry gave, `sha512-…`. */
  readonly integrity: string | null;
}

interface LockEntry {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
}

/** Packages that are neither for development only, nor types, nor for another processor, nor headers. */
export function runtimePackages(lockFile: string = join(checkout, 'package-lock.json')): RuntimePackage[] {
  const { packages } = JSON.parse(readFileSync(lockFile, 'utf8')) as { packages: Record<string, LockEntry> };
  return Object.entries(packages)
    .filter(([path, { dev }]) => path !== '' && dev !== true)
    .map(([path, { version = '', license = null, integrity = null }]) => ({
      path,
      name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version,
      license,
      integrity,
    }))
    .filter(({ name }) => !name.startsWith('@types/') && name !== 'node-addon-api')
    .filter(({ name }) => !name.startsWith('node-linux-') || name === pinnedNode);
}

const pinnedNode = `node-linux-${process.arch}`;

/** Puts programs, Node and packages below `root`, and returns the packages. Throws IMAGE_NOT_BUILT before `make build`. */
export function installApplication(root: string): RuntimePackage[] {
  const there = join(root, home);
  for (const folder of sources) {
    const from = join(checkout, folder);
    if (existsSync(from)) copyTree(from, join(there, folder), path => wanted.test(path));
  }
  for (const file of compiled) {
    if (!existsSync(join(checkout, file)))
      throw new CulvertError('IMAGE_NOT_BUILT', `${file} is missing`, { fix: 'run `make build` first' });
    cpSync(join(checkout, file), join(there, file));
  }
  for (const file of ['package.json', 'LICENSE']) cpSync(join(checkout, file), join(there, file));
  const packages = runtimePackages();
  for (const { path, name } of packages) {
    if (name !== pinnedNode) copyPackage(path, there);
  }
  installNode(root);
  return packages;
}

function copyPackage(path: string, there: string): void {
  const from = join(checkout, path);
  copyTree(from, join(there, path), file => {
    // Packages below a package are entries of their own.
    if (file.slice(from.length).includes('/node_modules/')) return false;
    return !unused.has(extname(file)) || /licen[cs]e/i.test(file);
  });
}

/** Copies the files that are wanted; folders appear only where they hold one. */
function copyTree(from: string, to: string, wants: (path: string) => boolean): void {
  const listed = execFileSync('find', [from, '-type', 'f', '-print0'], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  for (const path of listed.split('\0')) {
    if (path === '' || !wants(path)) continue;
    const target = join(to, path.slice(from.length));
    mkdirSync(dirname(target), { recursive: true });
    cpSync(path, target);
  }
}

function installNode(root: string): void {
  const node = join(root, 'usr/local/bin/node');
  mkdirSync(dirname(node), { recursive: true });
  cpSync(join(checkout, 'node_modules', pinnedNode, 'bin/node'), node);
  // The symbols that addons link to are kept: they are in another table.
  execFileSync('strip', [node]);
  chmodSync(node, 0o755);
  const launcher = join(root, home, 'bin/culvert.ts');
  mkdirSync(dirname(launcher), { recursive: true });
  writeFileSync(launcher, "#!/usr/local/bin/node\nimport '../cli/main.ts';\n");
  chmodSync(launcher, 0o755);
  symlinkSync(join(home, 'bin/culvert.ts'), join(root, program));
  symlinkSync(join(home, 'native/keeper/build/culvert-keeper'), join(root, keeper));
}

if (import.meta.main) {
  const [root] = process.argv.slice(2);
  if (root === undefined) {
    process.stderr.write('usage: node daemonset/image/application.ts DIRECTORY\n');
    process.exitCode = 64;
  } else installApplication(root);
}
