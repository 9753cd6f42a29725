/**
 * Ties programs to where they run: the hooks to the cgroup root, sk_lookup to each pod's namespace. A link that is pinned
 * already gets the new program in its place, so that no connection falls between two programs.
 */
import { closeSync, openSync } from 'node:fs';
import * as native from '../native/native.ts';
import { Pins } from './redirect-pins.ts';
import {
  type Hook,
  type Maps,
  type ProgramSettings,
  withHabits,
  withHooks,
  withLookup,
} from './redirect-programs.ts';

/** Attaches all cgroup hooks, or replaces their programs. */
export function attachHooks(pins: Pins, maps: Maps, settings: ProgramSettings, cgroupRoot: string): void {
  const rootId = native.cgroupId(cgroupRoot);
  const root = openSync(cgroupRoot, 'r');
  try {
    withHooks(maps, settings, (hook, program) => attachHook(pins, hook, program, root, rootId));
  } finally {
    closeSync(root);
  }
}

function attachHook(pins: Pins, hook: Hook, program: number, root: number, rootId: bigint): void {
  attachToCgroup(pins, hook.attachType, hook.attachType, program, root, rootId);
}

/** Attaches one program to the cgroup root under a pin of that name, or puts it in the place of the one that is there. */
export function attachToCgroup(
  pins: Pins,
  pin: string,
  attachType: native.CgroupAttachType,
  program: number,
  root: number,
  rootId: bigint,
): void {
  const replaced = withPinned(pins, pin, link => {
    // Cleared by the kernel when the cgroup is removed; another one means that the operator chose another root.
    if (native.linkInfo(link).cgroupId !== rootId) return false;
    native.updateLink(link, program, null);
    return true;
  });
  if (replaced === true) return;
  if (replaced === false) pins.removeLink(pin);
  pinAndClose(pins, native.attachCgroup(program, root, attachType), pin);
}

/** Attaches the programs of bpf/habits.bpf.c beside those of an earlier agent, which go then. */
export function attachHabits(pins: Pins, maps: Maps): void {
  withHabits(maps, (name, program) => {
    const link = native.attachTracing(program);
    pins.removeLink(Pins.habitName(name));
    pinAndClose(pins, link, Pins.habitName(name));
  });
}

/** Attaches the sk_lookup program of one namespace, or replaces it. */
export function attachLookup(
  pins: Pins,
  maps: Maps,
  settings: ProgramSettings,
  cookie: bigint,
  netnsFd: number,
): void {
  const name = Pins.lookupName(cookie);
  withLookup(maps, settings, cookie, program => {
    const replaced = withPinned(pins, name, link => native.updateLink(link, program, null));
    if (replaced === null) pinAndClose(pins, native.attachNetns(program, netnsFd), name);
  });
}

/** Puts our program into each lookup link of an earlier agent; returns the cookies of namespaces that are gone. */
export function takeOverLookups(pins: Pins, maps: Maps, settings: ProgramSettings): bigint[] {
  const gone: bigint[] = [];
  for (const cookie of pins.lookups()) {
    withPinned(pins, Pins.lookupName(cookie), link => {
      // Cleared by the kernel when the namespace ends.
      if (native.linkInfo(link).netnsInode === 0) gone.push(cookie);
      else withLookup(maps, settings, cookie, program => native.updateLink(link, program, null));
    });
  }
  return gone;
}

function pinAndClose(pins: Pins, link: number, name: string): void {
  try {
    pins.pinLink(link, name);
  } finally {
    native.close(link);
  }
}

/** Runs with a pinned link and closes it; null where nothing is pinned under that name. */
export function withPinned<T>(pins: Pins, name: string, use: (link: number) => T): T | null {
  const link = pins.openLink(name);
  if (link === null) return null;
  try {
    return use(link);
  } finally {
    native.close(link);
  }
}
