/**
 * Whose sockets are the agent's own: those of one cgroup, which the hooks compare with that of the process that connects.
 */
import { realpathSync } from 'node:fs';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import { decodeConfig, encodeConfig, encodeIndex } from './redirect-abi.ts';
import type { Maps } from './redirect-programs.ts';

/** Id of the agent's cgroup. Throws REDIRECT_AGENT_CGROUP where it would not tell the agent from pods. */
export function agentCgroupId(cgroupRoot: string, agentCgroup: string): bigint {
  if (!isBelow(agentCgroup, cgroupRoot)) {
    throw new CulvertError(
      'REDIRECT_AGENT_CGROUP',
      `the agent's cgroup ${agentCgroup} is not below ${cgroupRoot}`,
      {
        fix: 'give the agent a cgroup of its own below the cgroup root: otherwise its sockets cannot be told from those of pods',
      },
    );
  }
  try {
    return native.cgroupId(agentCgroup);
  } catch (cause) {
    throw new CulvertError(
      'REDIRECT_NO_CGROUP2',
      `${agentCgroup} is no cgroup v2 directory: ${asCulvertError(cause, '').message}`,
      {
        fix: 'mount cgroup v2 and make the directory: mount -t cgroup2 none /sys/fs/cgroup/unified',
        cause,
      },
    );
  }
}

/** Makes ours the agent's cgroup; the one before stays recognised, since that agent may still be draining. */
export function claimCgroup(maps: Maps, cgroup: bigint): void {
  const found = native.mapLookup(maps.config, encodeIndex(0));
  const [current, previous] = found === null ? [0n, 0n] : decodeConfig(found);
  native.mapUpdate(
    maps.config,
    encodeIndex(0),
    encodeConfig(current === cgroup ? [current, previous] : [cgroup, current]),
    'any',
  );
}

/** Whether a directory lies below another, links resolved; not when they are the same. */
function isBelow(path: string, root: string): boolean {
  return startsWithPath(resolved(path), resolved(root)) && resolved(path) !== resolved(root);
}

/** Whether a path is `root` or below it, by its text. */
export function startsWithPath(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`);
}

/** The path without links; as it is where there is no such file. */
export function resolved(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
