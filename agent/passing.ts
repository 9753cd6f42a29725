/**
 * How shards hand each other what they have accepted: each has a queue in the kernel, into which the others put sockets. The
 * main thread holds its ends as well, so what waits in the queue of a shard that dies is its successor's, as in a listener.
 */
import { describeError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import type { Pod } from './pod.ts';
import type { ShardContext } from './shard-context.ts';

/** A pod has no more ports than that, and a tag of 32 bits says pod and port. */
const mostDoors = 4;

export interface PassedHandlers {
  /** @param door number of the port that it came by, as the other shard has said it */
  readonly onSocket: (pod: Pod, door: number, socket: native.AcceptedSocket) => void;
  /** Its client has reset it meanwhile. */
  readonly onGone: (pod: Pod, door: number) => void;
}

/** Hands a socket of the loop over to another shard; false: it stays. */
export function passTo(context: ShardContext, shard: number, pod: Pod, door: number, fd: number): boolean {
  const queue = context.queues[shard];
  try {
    if (queue === undefined || !native.passSocket(queue.in, fd, pod.tag * mostDoors + door)) return false;
  } catch (error) {
    troubled(context, error);
    return false;
  }
  context.legs.drop(fd);
  return true;
}

/** Takes what others hand over to this shard, from now on. */
export function takePassed(context: ShardContext, { onSocket, onGone }: PassedHandlers): void {
  const queue = context.queues[context.index];
  if (queue === undefined) return;
  context.legs.take(native.duplicate(queue.out), {
    onPassed: passed => {
      const pod = context.podsByTag.get(Math.floor(passed.tag / mostDoors));
      const door = passed.tag % mostDoors;
      if (passed.fd === null) {
        if (pod !== undefined) onGone(pod, door);
      } else if (pod === undefined) {
        // It has left the mesh.
        native.resetOnClose(passed.fd);
        context.legs.drop(passed.fd);
      } else {
        onSocket(pod, door, passed);
      }
    },
    onTrouble: error => troubled(context, error),
  });
}

function troubled(context: ShardContext, error: unknown): void {
  context.count('PASS_FAILED');
  context.log.error(
    { code: 'PASS_FAILED', err: describeError(error) },
    'a connection could not go from shard to shard',
  );
}
