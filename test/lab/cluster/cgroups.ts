/**
 * The control groups of a node, so that its kubelet sees a tree of its own, as on a machine of its own.
 *
 * Machines have one of two layouts. Unified: cgroup v2 alone, with controllers. Hybrid: each controller has a version 1
 * hierarchy of its own and cgroup v2 lies beside them without any. On a hybrid machine a node may have either: hybrid shows all
 * hierarchies, unified shows v2 alone, where limits of pods are accepted but not enforced.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cgroup2Mount, makeCgroup } from '../cgroup.ts';

export type CgroupLayout = 'hybrid' | 'unified';

export interface NodeCgroups {
  readonly layout: CgroupLayout;
  /** Cgroup v2 that the node sees as its root. */
  readonly root: string;
  /** Where in `root` a process joins that belongs to the node itself rather than to a pod. */
  readonly own: string;
  /** Directories of version 1 that each process of the node joins too. */
  readonly legacy: readonly string[];
  /** Whether processor, memory and number of processes can be limited. */
  readonly limits: boolean;
  /** Shell lines that show the node its own tree below /sys/fs/cgroup. */
  readonly mountLines: readonly string[];
}

/** One version 1 hierarchy and our place in it. */
interface Hierarchy {
  /** As mount options name it: `cpu,cpuacct` or `name=systemd`. */
  readonly controllers: string;
  readonly path: string;
}

const needed = ['cpu', 'cpuset', 'memory', 'pids'];

/** The layout of this machine. */
export function machineLayout(): CgroupLayout {
  return hierarchies().some(({ controllers }) => controllers.split(',').includes('memory'))
    ? 'hybrid'
    : 'unified';
}

/** Hierarchies of version 1 from /proc/self/cgroup and /proc/self/mountinfo, with the directories that are ours there. */
export function hierarchies(
  memberships: string = readFileSync('/proc/self/cgroup', 'utf8'),
  mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8'),
): Hierarchy[] {
  const mounts = mountinfo.split('\n').flatMap(line => {
    // proc(5): the fifth field is the mount point; after ' - ' come type, source and the options of the file system.
    const [before = '', after = ''] = line.split(' - ');
    const [type, , options = ''] = after.split(' ');
    return type === 'cgroup' ? [{ point: before.split(' ')[4] ?? '', options: options.split(',') }] : [];
  });
  return memberships.split('\n').flatMap(line => {
    const [, controllers = '', path = ''] = /^\d+:([^:]+):(.*)$/.exec(line) ?? [];
    const mount = mounts.find(({ options }) => controllers.split(',').every(name => options.includes(name)));
    return controllers === '' || mount === undefined ? [] : [{ controllers, path: join(mount.point, path) }];
  });
}

/** Which cgroups a node will have. `root` is its own in version 2; in version 1 they get the given name. */
export function planNodeCgroups(root: string, layout: CgroupLayout, name: string): NodeCgroups {
  const own = join(root, 'init');
  if (layout === 'unified') {
    const mountLines = ['mount -t cgroup2 cgroup2 /sys/fs/cgroup'];
    return {
      layout,
      root,
      own,
      legacy: [],
      limits: needed.every(name => controllers().includes(name)),
      mountLines,
    };
  }
  const known = hierarchies();
  const legacy = known.map(({ path }) => join(path, name));
  return { layout, root, own, legacy, limits: true, mountLines: hybridLines(known) };
}

/** Makes them. Nothing may live in the lab's cgroups above a unified one. */
export function makeNodeCgroups({ layout, root, own, legacy, limits }: NodeCgroups): void {
  makeCgroup(own);
  if (layout === 'unified' && limits) delegate(root);
  for (const directory of legacy) makeLegacyCgroup(directory);
}

function makeLegacyCgroup(directory: string): void {
  mkdirSync(directory, { recursive: true });
  if (!existsSync(join(directory, 'cpuset.cpus'))) return;
  // A new one has no processor and no memory, and nothing could run in it.
  for (const file of ['cpuset.cpus', 'cpuset.mems'])
    writeFileSync(join(directory, file), readFileSync(join(dirname(directory), file)));
  writeFileSync(join(directory, 'cgroup.clone_children'), '1');
}

function hybridLines(known: readonly Hierarchy[]): string[] {
  const there = '/sys/fs/cgroup';
  return [
    `mount -t tmpfs -o mode=755 cgroup ${there}`,
    ...known.flatMap(({ controllers }) => {
      const options = controllers.startsWith('name=') ? `none,${controllers}` : controllers;
      const folder = controllers.replace('name=', '');
      const links = folder.split(',').filter(name => name !== folder);
      return [
        `mkdir ${there}/${folder}`,
        `mount -t cgroup -o ${options} cgroup ${there}/${folder}`,
        ...links.map(name => `ln -s ${folder} ${there}/${name}`),
      ];
    }),
    `mkdir ${there}/unified`,
    `mount -t cgroup2 cgroup2 ${there}/unified`,
  ];
}

function controllers(): string[] {
  return readFileSync(join(cgroup2Mount(), 'cgroup.controllers'), 'utf8').trim().split(' ');
}

/** Passes controllers down from the root of cgroup v2, each level to the next. */
function delegate(root: string): void {
  const top = cgroup2Mount();
  const words = controllers()
    .map(name => `+${name}`)
    .join(' ');
  let level = top;
  for (const part of ['', ...root.slice(top.length + 1).split('/')]) {
    level = join(level, part);
    writeFileSync(join(level, 'cgroup.subtree_control'), words);
  }
}
