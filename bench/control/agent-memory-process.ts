/**
 * The memory of one agent that knows a large mesh: the main thread with its discovery client, and one shard with its own
 * copy of what came, as agent/shards.ts hands it on. The code of both is loaded as in an agent, nothing else of it runs.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import pino from 'pino';
import '../../agent/cluster/cluster-source.ts';
import { settle } from '../../base/settle.ts';
import { XdsClient } from '../../xds/client.ts';
import { entriesName } from '../../xds/codec.ts';
import { discoveryNode } from '../../xds/node.ts';
import { tokenOf } from './light-agent.ts';

export interface AgentMemoryOptions {
  readonly port: number;
  readonly roots: string;
  /** For its files. */
  readonly directory: string;
  readonly node: string;
  /** Names that it asks for; null to be told of everything. */
  readonly names: readonly string[] | null;
}

export interface AgentMemory {
  /** Before it connected, bytes. */
  readonly before: number;
  /** When it knows what it wants, bytes. */
  readonly after: number;
  /** Of everything it was told of. */
  readonly workloads: number;
  /** How long each name took that it asked for, one after the other, milliseconds. */
  readonly askedMs: readonly number[];
}

const settleMs = 2_000;
const lookMs = 50;

async function measure({ port, roots, directory, node, names }: AgentMemoryOptions): Promise<AgentMemory> {
  const [rootPath, tokenPath] = [join(directory, 'root.pem'), join(directory, 'token')];
  writeFileSync(rootPath, roots);
  writeFileSync(tokenPath, tokenOf(node));
  const shard = new Worker(new URL('agent-memory-shard.ts', import.meta.url));
  await once(shard, 'online');
  const before = await resident();
  const identity = { podName: node, podNamespace: 'culvert-system', serviceAccount: 'culvert-agent' };
  let workloads = 0;
  const client = new XdsClient({
    endpoint: { address: `localhost:${port}`, rootPath, tokenPath, serverName: null, headers: {} },
    node: discoveryNode({ nodeName: node, podIp: '', clusterId: '', version: '', ...identity }),
    subscriptions: ['settings', 'nodePod', 'authorization', 'address'],
    onDemand: names !== null,
    always: names === null ? [] : [entriesName],
    log: pino({ level: 'silent' }),
    onUpdate: ({ delta }) => {
      workloads += delta.workloads.length;
      shard.postMessage(delta);
    },
  });
  client.start();
  while (!client.state().synced) await delay(lookMs);
  const never = new AbortController();
  const askedMs: number[] = [];
  for (const name of names ?? []) {
    const start = performance.now();
    await client.want(name, never.signal);
    askedMs.push(performance.now() - start);
  }
  // The shard has taken in everything when it has this.
  shard.postMessage(null);
  await once(shard, 'message');
  const after = await resident();
  client.close();
  await shard.terminate();
  return { before, after, workloads, askedMs };
}

/** When garbage is gone and pages that nobody uses are given back. */
async function resident(): Promise<number> {
  settle();
  await delay(settleMs);
  return process.memoryUsage.rss();
}

process.on('message', (options: AgentMemoryOptions) => {
  void measure(options).then(memory => process.send?.(memory, () => process.exit()));
});
