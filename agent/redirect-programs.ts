/**
 * The compiled programs of bpf/: loaded onto shared maps with this agent's ports and timeout.
 *
 * Order matters when programs are replaced under traffic: whoever reads a map value comes before whoever writes it, so
 * the hook that starts everything, connect, comes last.
 */
import { fileURLToPath } from 'node:url';
import * as native from '../native/native.ts';
import type { PodPorts } from './config.ts';

/** What is a constant in the programs. */
export interface ProgramSettings {
  readonly ports: PodPorts;
  /** The agent counts as gone when heartbeat() was not called for this long. */
  readonly heartbeatTimeoutMs: number;
}

export interface Hook {
  /** bpf/<object>.bpf.c */
  readonly object: string;
  readonly program: string;
  readonly attachType: native.CgroupAttachType;
}

/** The cgroup hooks, readers first. */
export const hooks: readonly Hook[] = [
  { object: 'sockops', program: 'on_event', attachType: 'sock_ops' },
  { object: 'getpeername', program: 'getpeername4', attachType: 'getpeername4' },
  { object: 'getpeername', program: 'getpeername6', attachType: 'getpeername6' },
  { object: 'recvmsg', program: 'recvmsg4', attachType: 'recvmsg4' },
  { object: 'recvmsg', program: 'recvmsg6', attachType: 'recvmsg6' },
  { object: 'sendmsg', program: 'sendmsg4', attachType: 'sendmsg4' },
  { object: 'sendmsg', program: 'sendmsg6', attachType: 'sendmsg6' },
  { object: 'connect', program: 'connect4', attachType: 'connect4' },
  { object: 'connect', program: 'connect6', attachType: 'connect6' },
];

/** Names in bpf/maps.h. */
export const mapNames = [
  'pods',
  'config',
  'heartbeat',
  'orig_dst',
  'peer_name',
  'flows',
  'dns_servers',
  'kubelet',
  'kubelet_dials',
  'listeners',
  'path_config',
  'verdicts',
  'services',
  'refusing',
  'grants',
  'openings',
  'passages',
  'passage_sock',
  'joined',
  'unfit_programs',
  'path_events',
  'counters',
] as const;
export type MapName = (typeof mapNames)[number];
/** Descriptors of all maps; owned by whoever opened them. */
export type Maps = Readonly<Record<MapName, number>>;

function objectPath(name: string): string {
  return fileURLToPath(new URL(`../bpf/build/${name}.bpf.o`, import.meta.url));
}

function load(
  name: string,
  rodata: Record<string, number | bigint>,
  reuseMaps: Readonly<Record<string, number>>,
  skipPrograms: readonly string[] = [],
): native.BpfObject {
  const object = native.openObject(objectPath(name), { rodata, reuseMaps, maxEntries: {}, skipPrograms });
  try {
    object.load();
    return object;
  } catch (error) {
    object.close();
    throw error;
  }
}

function constants({ ports, heartbeatTimeoutMs }: ProgramSettings): Record<string, number | bigint> {
  return {
    heartbeat_timeout_ns: BigInt(heartbeatTimeoutMs) * 1_000_000n,
    outbound_port: ports.outbound,
    plaintext_port: ports.plaintext,
    hbone_port: ports.hbone,
    dns_port: ports.dns,
  };
}

/** Makes a fresh, unpinned set of maps. The caller closes the descriptors. */
export function createMaps(): Maps {
  using object = load('maps', {}, {});
  return Object.fromEntries(mapNames.map(name => [name, native.duplicate(object.mapFd(name))])) as Record<
    MapName,
    number
  >;
}

/** Loads every cgroup hook and hands each to `use` in the order of `hooks`; the programs are let go of afterwards. */
export function withHooks(
  maps: Maps,
  settings: ProgramSettings,
  use: (hook: Hook, programFd: number) => void,
): void {
  const objects = new Map<string, native.BpfObject>();
  try {
    for (const { object } of hooks) {
      if (!objects.has(object)) objects.set(object, loadHook(object, maps, settings));
    }
    for (const hook of hooks) {
      const object = objects.get(hook.object);
      if (object !== undefined) use(hook, object.programFd(hook.program));
    }
  } finally {
    for (const object of objects.values()) object.close();
  }
}

/** Helpers that kernels got after 5.15, newest first; what a hook does without each is said in bpf/README.md. */
const newerHelpers = [
  { have_namespace_pid: 1, have_mptcp_sock: 1, have_set_retval: 1 },
  { have_namespace_pid: 0, have_mptcp_sock: 1, have_set_retval: 1 },
  { have_namespace_pid: 0, have_mptcp_sock: 0, have_set_retval: 1 },
];

function loadHook(name: string, maps: Maps, settings: ProgramSettings): native.BpfObject {
  const rodata = constants(settings);
  if (name !== 'connect') return load(name, rodata, maps);
  for (const helpers of newerHelpers) {
    try {
      return load(name, { ...rodata, ...helpers }, maps);
    } catch {
      // If a missing helper was not the reason, the last attempt fails as well and says what is.
    }
  }
  return load(name, rodata, maps);
}

/** The programs of the kernel path, which need more of the kernel than all others: see bpf/README.md. */
export interface PathPrograms {
  /** Of type sock_ops, for the cgroup. */
  readonly passages: number;
  /** Of type sk_msg, for the map `joined`. */
  readonly join: number;
}

/** Where the kernel has no bpf_rdonly_cast (before 6.2), programs read its structures by a helper. */
function loadReader(name: string, maps: Maps): native.BpfObject {
  try {
    return load(name, { have_cast: 1 }, maps);
  } catch {
    // If that was not the reason, this fails as well and says what is.
    return load(name, { have_cast: 0 }, maps);
  }
}

/** Loads the programs of the kernel path and hands them to `use`; they are let go of afterwards. */
export async function withPathPrograms<T>(
  maps: Maps,
  use: (programs: PathPrograms) => T | Promise<T>,
): Promise<T> {
  using path = loadReader('path', maps);
  using join = loadReader('join', maps);
  return await use({ passages: path.programFd('on_passage'), join: join.programFd('on_write') });
}

/** Loads the program that joins legs (leg-join.ts); the descriptor is the caller's. */
export function loadLegProgram(maps: Maps): number {
  using leg = loadReader('leg', maps);
  return native.duplicate(leg.programFd('join_leg'));
}

/** What a program may ask of its socket that the join can't give; attached by fentry (bpf/habits.bpf.c). */
const habits = ['on_splice', 'on_peek_offset', 'on_ioctl', 'on_own_verdict', 'on_send'] as const;
/** Of functions that some kernels do not have, or not by themselves. */
const rareHabits = ['on_own_parser', 'on_joined_ioctl', 'on_mapped_read'] as const;

/** Loads these programs and hands each to `use`; they are let go of afterwards. Throws where the kernel has no fentry. */
export function withHabits(maps: Maps, use: (name: string, programFd: number) => void): void {
  using object = load('habits', {}, maps, rareHabits);
  for (const name of habits) use(name, object.programFd(name));
  for (const name of rareHabits) {
    const others = [...habits, ...rareHabits].filter(other => other !== name);
    try {
      using rare = load('habits', {}, maps, others);
      use(name, rare.programFd(name));
    } catch {
      // Then nobody can ask for it by itself, and it is not missed.
    }
  }
}

/** Loads the program that tells whether a joined socket has something unread; the descriptor is the caller's. */
export function loadUnreadProgram(maps: Maps): number {
  using object = load('unread', {}, maps);
  return native.duplicate(object.programFd('unread'));
}

/** Loads the sk_lookup program of one pod's namespace and hands it to `use`. */
export function withLookup(
  maps: Maps,
  settings: ProgramSettings,
  cookie: bigint,
  use: (programFd: number) => void,
): void {
  using object = load('lookup', { ...constants(settings), netns_cookie: cookie }, maps);
  use(object.programFd('lookup'));
}
