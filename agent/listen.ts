/**
 * Where a pod's connections enter a shard: listeners that the main thread opened inside the pod's namespace, one of a
 * SO_REUSEPORT group for each shard. Adopted by descriptor; nothing is bound here. What comes to one shard and is another's to
 * carry (spread.ts) is passed on, and enters there.
 */
import net from 'node:net';
import { describeError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import type { AcceptedSocket } from '../native/native.ts';
import { acceptTunnel } from './inbound.ts';
import { joining } from './leg-join.ts';
import type { Leg } from './leg.ts';
import { acceptOutbound } from './outbound.ts';
import { passTo, takePassed } from './passing.ts';
import { acceptPlaintext } from './plaintext.ts';
import type { ListenerSet } from './pod-listeners.ts';
import type { Pod } from './pod.ts';
import type { ShardContext } from './shard-context.ts';
import type { Spread } from './spread.ts';

/** One of a pod's ports. */
interface Door {
  readonly listener: (set: ListenerSet) => number;
  /** What counts the connections that come in by it. */
  readonly spread: (pod: Pod) => Spread;
  readonly enter: (context: ShardContext, pod: Pod, socket: AcceptedSocket) => void;
}

/** In an order that all shards agree on. */
const doors: readonly Door[] = [
  {
    listener: set => set.outbound,
    spread: pod => pod.clients,
    enter: (context, pod, socket) => {
      const client = legOf(context, pod, socket);
      client.joining = joining(context, pod, client.fd, socket);
      guarded(
        context,
        pod,
        () => acceptOutbound(context, pod, client, socket),
        () => client.reset(),
      );
    },
  },
  {
    listener: set => set.plaintext,
    spread: pod => pod.clients,
    enter: (context, pod, socket) => {
      const client = legOf(context, pod, socket);
      guarded(
        context,
        pod,
        () => acceptPlaintext(context, pod, client, socket),
        () => client.reset(),
      );
    },
  },
  {
    listener: set => set.hbone,
    spread: pod => pod.peers,
    enter: (context, pod, { fd }) => {
      context.legs.disown(fd);
      // TLS reads by itself from the first byte.
      const socket = new net.Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
      socket.once('close', () => pod.peers.over());
      guarded(
        context,
        pod,
        () => acceptTunnel(context, pod, socket),
        () => {
          socket.on('error', () => {});
          socket.destroy();
        },
      );
    },
  },
];

/** Starts to accept on the three listeners of each set. */
export function listen(context: ShardContext, pod: Pod, sets: readonly ListenerSet[]): void {
  for (const set of sets) {
    for (const [at, door] of doors.entries()) {
      const listener = context.legs.listen(door.listener(set), {
        onConnection: socket => {
          const shard = door.spread(pod).place();
          if (shard !== context.index && passTo(context, shard, pod, at, socket.fd)) return;
          if (shard !== context.index) door.spread(pod).keep(shard);
          enter(context, pod, door, socket);
        },
        onTrouble: error => listenerFailed(context, pod, describeError(error)),
      });
      pod.listeners.push(listener);
    }
  }
  pod.clients.begin();
  pod.peers.begin();
}

/** Starts to serve what other shards have accepted. */
export function listenToShards(context: ShardContext): void {
  takePassed(context, {
    onSocket: (pod, at, socket) => {
      const door = doors[at];
      if (door !== undefined) enter(context, pod, door, socket);
    },
    onGone: (pod, at) => doors[at]?.spread(pod).over(),
  });
}

function enter(context: ShardContext, pod: Pod, door: Door, socket: AcceptedSocket): void {
  if (!pod.gone && !context.draining) {
    door.enter(context, pod, socket);
    return;
  }
  native.resetOnClose(socket.fd);
  context.legs.drop(socket.fd);
  door.spread(pod).over();
}

function legOf(context: ShardContext, pod: Pod, socket: AcceptedSocket): Leg {
  const leg = context.legs.legOf(socket);
  leg.counted = pod.clients;
  return leg;
}

/** One connection's failure is nobody else's. */
function guarded(context: ShardContext, pod: Pod, accept: () => void, end: () => void): void {
  try {
    accept();
  } catch (error) {
    context.count('ACCEPT_FAILED');
    context.log.error(
      { code: 'ACCEPT_FAILED', pod: pod.name, err: String(error) },
      'connection dropped by an internal error',
    );
    end();
  }
}

function listenerFailed(context: ShardContext, pod: Pod, err: string): void {
  context.count('LISTENER_ERROR');
  context.log.error({ code: 'LISTENER_ERROR', pod: pod.name, err }, 'listener failed');
}
