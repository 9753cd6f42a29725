/**
 * What containers have printed, from the files on their node: there is nobody to ask, and so they can be read while the API
 * server is away. They go with their pod.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterNode } from './node.ts';
import type { PodName } from './kubectl.ts';

export interface PodLog {
  readonly path: string;
  readonly lines: readonly string[];
}

/** The output of each container, oldest first, of the pods of a namespace whose names begin like this. */
export function podLogs(node: ClusterNode, { namespace, name }: PodName): PodLog[] {
  const folder = join(node.state, 'var/log/pods');
  if (!existsSync(folder)) return [];
  // NAMESPACE_POD_UID/CONTAINER/NUMBER.log
  return readdirSync(folder)
    .filter(pod => pod.startsWith(`${namespace}_${name}`))
    .flatMap(pod =>
      readdirSync(join(folder, pod), { recursive: true, encoding: 'utf8' })
        .filter(file => file.endsWith('.log'))
        .map(file => join(folder, pod, file)),
    )
    .sort()
    .map(path => ({ path, lines: linesOf(readFileSync(path, 'utf8')) }));
}

/** Container runtimes write `TIME STREAM TAG TEXT`; the tag P marks a part of a line whose rest follows. */
function linesOf(text: string): string[] {
  const joined = text.replaceAll(/^\S+ std(?:out|err) (?:F (.*)|P (.*)\n)/gm, '$1$2');
  return joined.split('\n').filter(line => line !== '');
}
