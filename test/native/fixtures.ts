/**
 * What the tests of the addon stand on: namespaces, cgroups, a bpffs and compiled BPF objects, each taken down with
 * the test that asked for it, also when it failed.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeError } from '../../native/errors.ts';
import * as native from '../../native/native.ts';

/** The part of a tap test that a fixture needs. */
export interface Owner {
  teardown(act: () => void): void;
}

let made = 0;

/** A name that no other test run on this machine has. */
function unique(): string {
  made += 1;
  return `cvnat-${process.pid}-${made}`;
}

/** Runs a program; the sanitizer of this process, if any, is not for others. */
export function command(file: string, ...args: readonly string[]): string {
  const { LD_PRELOAD: _, ...env } = process.env;
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env });
}

/** Runs a module in another Node, whose command line begins with `before`; it loads the same build of the addon. */
export function runModule(script: string, ...before: readonly string[]): string {
  const line = [...before, process.execPath, '--input-type=module', '--eval', script];
  return execFileSync(line[0] ?? '', line.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export interface Namespace {
  readonly name: string;
  readonly path: string;
  /** Open descriptor, closed with the test. */
  readonly fd: number;
}

/** Makes a network namespace with a loopback that is up. */
export function namespace(t: Owner): Namespace {
  const name = unique();
  const path = `/run/netns/${name}`;
  command('ip', 'netns', 'add', name);
  t.teardown(() => command('ip', 'netns', 'delete', name));
  command('ip', '-n', name, 'link', 'set', 'lo', 'up');
  const fd = native.openNetns(path);
  t.teardown(() => native.close(fd));
  native.netnsCookie(fd); // starts the namespace thread, which keeps a descriptor of its home open from then on
  return { name, path, fd };
}

/** The namespace that this process runs in. */
export function ownNamespace(t: Owner): number {
  const fd = native.openNetns('/proc/self/ns/net');
  t.teardown(() => native.close(fd));
  return fd;
}

export function directory(t: Owner): string {
  const path = mkdtempSync(join(tmpdir(), 'cvnat-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Mounts a bpffs of its own. */
export function bpffs(t: Owner): string {
  const path = directory(t);
  native.mountBpffs(path);
  t.teardown(() => native.unmount(path));
  return path;
}

export interface Cgroup {
  readonly path: string;
  readonly fd: number;
}

/** Makes a cgroup v2 directory, below a mount of its own, so that hybrid and unified layouts are the same. */
export function cgroup(t: Owner): Cgroup {
  const root = directory(t);
  native.mountCgroup2(root);
  t.teardown(() => native.unmount(root));
  const path = join(root, unique());
  mkdirSync(path);
  t.teardown(() => rmdirSync(path));
  const fd = openSync(path, 'r');
  t.teardown(() => closeSync(fd));
  return { path, fd };
}

/** Moves this process into a cgroup until the test ends. Sockets belong to the cgroup in which they were made. */
export function enter(t: Owner, group: Cgroup): void {
  const before = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  writeFileSync(join(group.path, 'cgroup.procs'), String(process.pid));
  t.teardown(() => writeFileSync(join(group.path, '..', before, 'cgroup.procs'), String(process.pid)));
}

/** Compiles programs/NAME.bpf.c and returns the path of the object. */
export function compile(t: Owner, name: string): string {
  const object = join(directory(t), `${name}.bpf.o`);
  const headers = `/usr/include/${command('cc', '-print-multiarch').trim()}`;
  const own = join(import.meta.dirname, '../../bpf');
  const source = join(import.meta.dirname, `programs/${name}.bpf.c`);
  command(
    'clang',
    '-target',
    'bpf',
    '-g',
    '-O2',
    '-mcpu=v3',
    '-I',
    headers,
    '-I',
    own,
    '-c',
    source,
    '-o',
    object,
  );
  return object;
}

export const noOptions: native.ObjectOptions = {
  rodata: {},
  reuseMaps: {},
  maxEntries: {},
  skipPrograms: [],
};

/** Compiles, opens and loads programs/sample.bpf.c without the program that no verifier accepts. */
export function sample(t: Owner, options: Partial<native.ObjectOptions> = {}): native.BpfObject {
  const object = native.openObject(compile(t, 'sample'), {
    ...noOptions,
    skipPrograms: ['refused'],
    ...options,
  });
  t.teardown(() => object.close());
  object.load();
  return object;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

/** Serves connections on a listening descriptor made by the addon. */
export async function serve(
  t: Owner,
  fd: number,
  onConnection: (socket: net.Socket) => void,
): Promise<net.Server> {
  const server = net.createServer({ allowHalfOpen: false }, onConnection);
  t.teardown(() => server.close());
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen({ fd }, resolve));
  return server;
}

/** Connects a fresh socket made by the addon; the errno name where that fails. */
export async function connect(
  t: Owner,
  fd: number,
  host: string,
  port: number,
): Promise<net.Socket | string> {
  const socket = new net.Socket({ fd, manualStart: true } as net.SocketConstructorOpts);
  t.teardown(() => socket.destroy());
  return new Promise(resolve => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.connect({ host, port }, () => resolve(socket));
  });
}

/** Descriptor of a socket that node:net owns. */
export function descriptor(socket: net.Socket): number {
  return (Reflect.get(socket, '_handle') as { readonly fd: number } | null)?.fd ?? -1;
}

/** How many descriptors this process has open. */
export function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}

/** What `act` throws, which must be a NativeError. */
export function failure(act: () => unknown): NativeError {
  try {
    act();
  } catch (error) {
    if (error instanceof NativeError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
