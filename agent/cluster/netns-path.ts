/**
 * The path of a pod's network namespace as this process sees it. Runtimes name it as the node's own processes do, and an
 * agent in a container may have it elsewhere.
 */
import { statSync } from 'node:fs';

/** The node's own namespace is nobody's pod, and a path may lead to nothing, or to what is no namespace. */
export type NoNetns = 'node' | 'missing';

export function visibleNetns(path: string): { readonly path: string } | NoNetns {
  const own = statSync('/proc/self/ns/net');
  // /var/run is a link to /run where it is not the same; the first process of the node sees what the node sees.
  for (const candidate of [path, path.replace(/^\/var\/run\//, '/run/'), `/proc/1/root${path}`]) {
    const found = statOf(candidate);
    // All namespaces are files of one file system of the kernel's own.
    if (found === null || found.dev !== own.dev) continue;
    return found.ino === own.ino ? 'node' : { path: candidate };
  }
  return 'missing';
}

function statOf(path: string): { readonly dev: number; readonly ino: number } | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}
