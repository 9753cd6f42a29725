/**
 * Where a pod's connections enter a shard: listeners that the main thread opened inside the pod's namespace, one of a
 * SO_REUSEPORT group for each shard. Adopted by descriptor; nothing is bound here.
 */
import net from 'node:net';
import { describeError } from '../base/errors.ts';
import { acceptTunnel } from './inbound.ts';
import { joining } from './leg-join.ts';
import { acceptOutbound } from './outbound.ts';
import { acceptPlaintext } from './plaintext.ts';
import { backlog, type ListenerSet } from './pod-listeners.ts';
import type { Pod } from './pod.ts';
import type { ShardContext } from './shard-context.ts';
import type { Leg } from './leg.ts';
import type { SocketAddress } from '../native/native.ts';
import { reset } from './socket-handle.ts';

/** Starts to accept on the three listeners of each set. */
export function listen(context: ShardContext, pod: Pod, sets: readonly ListenerSet[]): void {
  for (const { outbound, plaintext, hbone } of sets) {
    adopt(context, pod, outbound, acceptFromPod);
    adopt(context, pod, plaintext, acceptPlaintext);
    adoptTunnels(context, pod, hbone);
  }
}

type Accept = (context: ShardContext, pod: Pod, client: Leg, from: SocketAddress) => void;

const acceptFromPod: Accept = (context, pod, client, from) => {
  client.joining = joining(context, pod, client.fd, from);
  acceptOutbound(context, pod, client, from);
};

/** Connections of applications. */
function adopt(context: ShardContext, pod: Pod, fd: number, accept: Accept): void {
  const onConnection = (client: Leg, from: SocketAddress): void => {
    if (pod.gone || context.draining) {
      client.reset();
      return;
    }
    try {
      accept(context, pod, client, from);
    } catch (error) {
      failed(context, pod, error);
      client.reset();
    }
  };
  const onTrouble = (error: unknown): void => listenerFailed(context, pod, describeError(error));
  pod.listeners.push(context.legs.listen(fd, { onConnection, onTrouble }));
}

/** Tunnels: TLS reads by itself from the first byte. */
function adoptTunnels(context: ShardContext, pod: Pod, fd: number): void {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    if (pod.gone || context.draining) {
      reset(socket);
      return;
    }
    try {
      acceptTunnel(context, pod, socket);
    } catch (error) {
      failed(context, pod, error);
      socket.on('error', () => {});
      socket.destroy();
    }
  });
  server.on('error', error => listenerFailed(context, pod, error.message));
  // Not within the options: there Node passes it over where a descriptor is given.
  server.listen({ fd }, backlog);
  pod.listeners.push(server);
}

/** One connection's failure is nobody else's. */
function failed(context: ShardContext, pod: Pod, error: unknown): void {
  context.count('ACCEPT_FAILED');
  context.log.error(
    { code: 'ACCEPT_FAILED', pod: pod.name, err: String(error) },
    'connection dropped by an internal error',
  );
}

function listenerFailed(context: ShardContext, pod: Pod, err: string): void {
  context.count('LISTENER_ERROR');
  context.log.error({ code: 'LISTENER_ERROR', pod: pod.name, err }, 'listener failed');
}
