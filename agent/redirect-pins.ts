/**
 * What outlives the agent: maps and links pinned on bpffs, so that pods keep their declared mode while no agent runs and
 * the next one takes over without a gap.
 *
 *   <bpffs>/culvert/<instance>/v<abi>/maps/<map>
 *                                    /links/<attach type>       hooks of the cgroup
 *                                    /links/lookup-<cookie>     sk_lookup of one pod's namespace
 *                                    /links/habit-<program>     fentry, where sockets are joined
 *
 * Maps of another shape are never read: what is pinned under another layout is replaced as a whole.
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import { abi } from './redirect-abi.ts';
import { createMaps, mapNames, type MapName, type Maps } from './redirect-programs.ts';

const lookupPrefix = 'lookup-';
/** Of links that end with their last holder, and can't be detached before. */
const habitPrefix = 'habit-';

export class Pins {
  readonly #instance: string;
  readonly #maps: string;
  readonly #links: string;

  /** Makes the directories, 0700, mounting bpffs where it is not. Throws REDIRECT_NO_BPFFS. */
  constructor(bpffs: string, instance: string) {
    mountBpffs(bpffs);
    // bpffs keeps names with dots for itself; node names often have some.
    const name = encodeURIComponent(instance).replaceAll('.', '%2E');
    if (name === '') throw new CulvertError('REDIRECT_BAD_INSTANCE', 'the name of the instance is empty');
    this.#instance = join(bpffs, 'culvert', name);
    this.#maps = join(this.#instance, `v${abi}`, 'maps');
    this.#links = join(this.#instance, `v${abi}`, 'links');
    for (const path of [this.#maps, this.#links]) makeDirectory(path);
  }

  /**
   * Opens the pinned maps or, where there are none of this shape, makes and pins fresh ones.
   * @param shared an agent works with those that are pinned: throws HANDOVER_LAYOUT instead of replacing them
   */
  openMaps(shared = false): { readonly maps: Maps; readonly adopted: boolean } {
    const fresh = createMaps();
    const pinned = openAll(name => join(this.#maps, name));
    if (pinned !== null && mapNames.every(name => sameShape(pinned[name], fresh[name]))) {
      closeAll(fresh);
      return { maps: pinned, adopted: true };
    }
    if (pinned !== null) closeAll(pinned);
    if (shared) {
      closeAll(fresh);
      throw new CulvertError('HANDOVER_LAYOUT', 'the running agent has maps of other shapes', {
        fix: 'stop the running agent first; until the new one is ready its pods are in their declared mode',
      });
    }
    // Links first: programs on maps that nobody can reach would hold every pod in the mode of an agent that is gone.
    this.#removeBelow(this.#links);
    this.#removeBelow(this.#maps);
    for (const name of mapNames) native.pin(fresh[name], join(this.#maps, name));
    return { maps: fresh, adopted: false };
  }

  /** Opens a pinned link; null where there is none. */
  openLink(name: string): number | null {
    return native.openPinned(join(this.#links, name));
  }

  pinLink(linkFd: number, name: string): void {
    native.pin(linkFd, join(this.#links, name));
  }

  /** Detaches a pinned link and removes the pin; nothing where there is none. */
  removeLink(name: string): void {
    removePin(join(this.#links, name));
  }

  /** Cookies of the namespaces that have a pinned lookup link. */
  lookups(): bigint[] {
    return readdirSync(this.#links)
      .filter(name => name.startsWith(lookupPrefix))
      .map(name => BigInt(name.slice(lookupPrefix.length)));
  }

  static habitName(program: string): string {
    return `${habitPrefix}${program}`;
  }

  /** Removes the links of fentry programs. */
  removeHabits(): void {
    for (const name of readdirSync(this.#links)) if (name.startsWith(habitPrefix)) this.removeLink(name);
  }

  static lookupName(cookie: bigint): string {
    return `${lookupPrefix}${cookie}`;
  }

  /** Removes what other versions of Culvert have pinned for this instance. */
  removeOtherVersions(): void {
    for (const version of readdirSync(this.#instance)) {
      if (version === `v${abi}`) continue;
      const path = join(this.#instance, version);
      for (const part of ['links', 'maps']) this.#removeBelow(join(path, part));
      removeDirectories([join(path, 'links'), join(path, 'maps'), path]);
    }
  }

  /** Removes the maps and the directories; the links must be gone. */
  removeAll(): void {
    this.#removeBelow(this.#links);
    this.#removeBelow(this.#maps);
    const version = join(this.#instance, `v${abi}`);
    removeDirectories([this.#links, this.#maps, version, this.#instance, join(this.#instance, '..')]);
  }

  #removeBelow(directory: string): void {
    for (const name of entriesOf(directory)) removePin(join(directory, name));
  }
}

/** As mkdir -p. Node's own way with `recursive` never returns on file systems that answer ENOENT, such as /proc. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

function mountBpffs(path: string): void {
  try {
    makeDirectory(path);
    native.mountBpffs(path);
  } catch (thrown) {
    const cause = asCulvertError(thrown, 'REDIRECT_NO_BPFFS');
    throw new CulvertError(
      'REDIRECT_NO_BPFFS',
      `no bpffs at ${path}, and it can't be mounted there: ${cause.message}`,
      {
        fix: `run as root with CAP_SYS_ADMIN, or mount it before: mkdir -p ${path} && mount -t bpf bpf ${path}`,
        cause: thrown,
      },
    );
  }
}

function openAll(pathOf: (name: MapName) => string): Maps | null {
  const opened: Partial<Record<MapName, number>> = {};
  for (const name of mapNames) {
    const fd = native.openPinned(pathOf(name));
    if (fd === null) {
      closeAll(opened);
      return null;
    }
    opened[name] = fd;
  }
  return opened as Maps;
}

export function closeAll(maps: Partial<Maps>): void {
  for (const fd of Object.values(maps)) native.close(fd);
}

function sameShape(a: number, b: number): boolean {
  const [x, y] = [native.mapInfo(a), native.mapInfo(b)];
  return (
    x.type === y.type &&
    x.keySize === y.keySize &&
    x.valueSize === y.valueSize &&
    x.maxEntries === y.maxEntries &&
    x.flags === y.flags
  );
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** A link is detached at once, whoever else holds it; a map stays with whoever has it open. */
function removePin(path: string): void {
  const fd = native.openPinned(path);
  if (fd === null) return;
  try {
    if (path.includes('/links/') && !path.includes(`/${habitPrefix}`)) native.detachLink(fd);
  } finally {
    native.close(fd);
    native.unpin(path);
  }
}

function removeDirectories(paths: readonly string[]): void {
  for (const path of paths) {
    try {
      rmdirSync(path);
    } catch (error) {
      // Another instance lives beside ours, or it is gone already.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw error;
    }
  }
}
