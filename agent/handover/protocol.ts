/**
 * What two agents of one node say to each other while one takes the place of the other: lines of JSON on a Unix socket.
 * Descriptors go beside it, by datagrams to a socket of the one that takes (native/src/descriptors.cc).
 *
 *   new → old   greeting: which protocols it speaks, and what it is
 *   old → new   hello, or refused
 *   new → old   ready: it knows the mesh, has certificates, and its programs are in place
 *   old → new   port, pod, listeners (each answered by got), then yours: from here on the new one accepts
 *   new → old   serving: the old one lets its connections end. Before that, whatever goes wrong, it takes all back
 *   new → old   return: it was told to stop while the old one is still there; old → new: resumed
 *   new → old   release: it has given its place to a third one, and nothing comes back any more
 *
 * Greeting and refused are the same in every version; all else is of the protocol that hello names.
 */
import { CulvertError } from '../../base/errors.ts';
import type { PodPorts } from '../config.ts';
import type { WantedPod } from '../mesh-source.ts';

/** Protocols of this build, best last. */
export const spoken: readonly number[] = [1];

export interface Greeting {
  readonly type: 'greeting';
  readonly protocols: readonly number[];
  readonly build: string;
  readonly node: string;
  /** Layout of what is pinned (redirect-abi.ts). */
  readonly layout: number;
  readonly podPorts: PodPorts;
  /** Name of its socket for descriptors, in the same directory. */
  readonly descriptors: string;
}

/** A server socket of the agent itself; its descriptor comes with it. */
export interface PortNotice {
  readonly type: 'port';
  readonly address: string;
  readonly port: number;
}

/** An enrolled pod; its sockets follow as `listeners`. */
export interface PodNotice {
  readonly type: 'pod';
  readonly wanted: WantedPod;
  /** Decimal. */
  readonly cookie: string;
  readonly timeWaitReuse: string;
}

/** Sockets of the pod named last: one set of a SO_REUSEPORT group, descriptors in the order of the fields. */
export interface ListenersNotice {
  readonly type: 'listeners';
  readonly dns: boolean;
}

export type FromOld =
  | { readonly type: 'hello'; readonly protocol: number; readonly build: string }
  | { readonly type: 'refused'; readonly code: string; readonly message: string; readonly fix: string | null }
  | PortNotice
  | PodNotice
  | ListenersNotice
  | { readonly type: 'yours' }
  | { readonly type: 'resumed' };

export type FromNew =
  | Greeting
  | { readonly type: 'got' }
  | { readonly type: 'ready' }
  | { readonly type: 'serving' }
  | { readonly type: 'release' }
  | { readonly type: 'return' };

/**
 * To the keeper (native/keeper), which keeps what it is told as it was said, and answers `got`, or `refused`:
 *
 *   hello            the agent serves: from here on a crash is followed by another start
 *   port             is kept; so are pod and its listeners, from `keep` on, in the place of what was kept of that pod
 *   drop, clear      a pod's sockets, or everything, are kept no longer
 *   ready            the next agent asks for what there is: hello and the rest as above, each answered by got, then yours
 */
export type ToKeeper =
  | { readonly type: 'hello'; readonly protocol: number; readonly build: string; readonly waitMs: number }
  | PortNotice
  | PodNotice
  | ListenersNotice
  | { readonly type: 'keep' }
  | { readonly type: 'drop'; readonly cookie: string }
  | { readonly type: 'clear' }
  | { readonly type: 'ready' }
  | { readonly type: 'got' };

export type FromKeeper = Exclude<FromOld, { type: 'resumed' }> | { readonly type: 'got' };

/** What the one that serves is, for judging whom it may give its place to. */
export type Standing = Omit<Greeting, 'type' | 'descriptors'>;

/** The protocol that both speak, the best there is; or why the one cannot take the place of the other. */
export function agree(own: Standing, greeting: Greeting): number | CulvertError {
  const common = greeting.protocols.filter(protocol => own.protocols.includes(protocol));
  const stopFirst =
    'stop the running agent first; until the new one is ready its pods are in their declared mode';
  if (common.length === 0)
    return new CulvertError(
      'HANDOVER_VERSION',
      `the running agent (${own.build}) hands over by protocol ${own.protocols.join(', ')}, the new one (${greeting.build}) takes over by ${greeting.protocols.join(', ')}`,
      { fix: stopFirst },
    );
  if (own.layout !== greeting.layout)
    return new CulvertError(
      'HANDOVER_LAYOUT',
      `the running agent (${own.build}) keeps its maps in layout ${own.layout}, the new one (${greeting.build}) in ${greeting.layout}`,
      { fix: stopFirst },
    );
  if (own.node !== greeting.node)
    return new CulvertError(
      'HANDOVER_REFUSED',
      `the running agent is that of node ${own.node}, the new one of ${greeting.node}`,
      { fix: 'give each its own --state-dir' },
    );
  if (JSON.stringify(own.podPorts) !== JSON.stringify(greeting.podPorts))
    return new CulvertError('HANDOVER_REFUSED', 'the new agent has other ports inside pods', {
      fix: stopFirst,
    });
  return Math.max(...common);
}

/** Whether it is what an agent of any version would say first. */
export function isGreeting(message: { readonly type: string }): message is Greeting {
  const said = message as Partial<Greeting>;
  return (
    said.type === 'greeting' &&
    Array.isArray(said.protocols) &&
    typeof said.build === 'string' &&
    typeof said.descriptors === 'string' &&
    /^[a-z0-9.-]+$/.test(said.descriptors)
  );
}
