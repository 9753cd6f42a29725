/**
 * Entry of one worker thread: builds the shard, then only follows messages.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { FromShard, ShardStart, ToShard } from './messages.ts';
import { Shard } from './shard.ts';

if (parentPort === null) throw new Error('a shard runs as a worker thread only');
const port = parentPort;
const shard = new Shard(workerData as ShardStart, (message: FromShard) => port.postMessage(message));
port.on('message', (message: ToShard) => shard.receive(message));
port.postMessage({ type: 'started' } satisfies FromShard);
