/**
 * Where a pod's connections enter a shard: listeners that the main thread opened inside the pod's namespace, one of a
 * SO_REUSEPORT group for each shard. Adopted by descriptor; nothing is bound here.
 */
import net from 'node:net';
import { acceptTunnel } from './inbound.ts';
import { acceptOutbound } from './outbound.ts';
import { acceptPlaintext } from './plaintext.ts';
import { backlog, type ListenerSet } from './pod-listeners.ts';
import type { Pod } from './pod.ts';
import type { ShardContext } from './shard-context.ts';
import { reset } from './socket-handle.ts';

/** Starts to accept on the three listeners of each set. */
export function listen(context: ShardContext, pod: Pod, sets: readonly ListenerSet[]): void {
  for (const { outbound, plaintext, hbone } of sets) {
    adopt(context, pod, outbound, true, socket => acceptOutbound(context, pod, socket));
    adopt(context, pod, plaintext, true, socket => acceptPlaintext(context, pod, socket));
    // TLS reads by itself from the first byte.
    adopt(context, pod, hbone, false, socket => acceptTunnel(context, pod, socket));
  }
}

function adopt(
  context: ShardContext,
  pod: Pod,
  fd: number,
  paused: boolean,
  accept: (socket: net.Socket) => void,
): void {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: paused, noDelay: true }, socket => {
    if (pod.gone || context.draining) {
      reset(socket);
      return;
    }
    try {
      accept(socket);
    } catch (error) {
      // One connection's failure is nobody else's.
      context.count('ACCEPT_FAILED');
      context.log.error(
        { code: 'ACCEPT_FAILED', pod: pod.name, err: String(error) },
        'connection dropped by an internal error',
      );
      socket.on('error', () => {});
      socket.destroy();
    }
  });
  server.on('error', error => {
    context.count('LISTENER_ERROR');
    context.log.error({ code: 'LISTENER_ERROR', pod: pod.name, err: error.message }, 'listener failed');
  });
  server.listen({ fd, backlog });
  pod.servers.push(server);
}
