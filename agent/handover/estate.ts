/**
 * What goes from one agent to the next: listening sockets, with the connections that wait in them. One side sends it, the
 * other holds it until each socket has found its place. Over a crash it goes by way of the keeper (keeper.ts).
 */
import { join } from 'node:path';
import { CulvertError } from '../../base/errors.ts';
import * as native from '../../native/native.ts';
import type { WantedPod } from '../mesh-source.ts';
import { closeSet, type ListenerSet } from '../pod-listeners.ts';
import type { Channel } from './channel.ts';
import type { FromNew, FromOld, ListenersNotice, PodNotice, PortNotice } from './protocol.ts';

/** An enrolled pod with its sockets. */
export interface PodEstate {
  readonly wanted: WantedPod;
  readonly cookie: bigint;
  /** What `net.ipv4.tcp_tw_reuse` was in there before any agent. */
  readonly timeWaitReuse: string;
  readonly sets: readonly ListenerSet[];
}

/** A server socket of the agent itself. */
export interface PortEstate {
  readonly address: string;
  readonly port: number;
  readonly fd: number;
}

export interface Estate {
  readonly pods: readonly PodEstate[];
  readonly ports: readonly PortEstate[];
}

/** What was received and has not found its place yet. */
export class Inheritance {
  readonly #pods = new Map<bigint, PodEstate>();
  readonly #ports = new Map<string, number>();
  readonly #onDiscard: (cookie: bigint) => void;

  /** @param onDiscard told of each pod whose sockets are closed because nobody takes them */
  constructor({ pods, ports }: Estate, onDiscard: (cookie: bigint) => void = () => {}) {
    this.#onDiscard = onDiscard;
    for (const pod of pods) this.#pods.set(pod.cookie, pod);
    for (const { address, port, fd } of ports) this.#ports.set(`${address} ${port}`, fd);
  }

  /** The pods as they were enrolled, and the cookies of their namespaces. */
  pods(): Pick<PodEstate, 'wanted' | 'cookie'>[] {
    return [...this.#pods.values()];
  }

  /** The sockets of a pod's namespace, which are the caller's from then on. */
  takePod(cookie: bigint): PodEstate | null {
    const pod = this.#pods.get(cookie) ?? null;
    this.#pods.delete(cookie);
    return pod;
  }

  takePort(address: string, port: number): number | null {
    const fd = this.#ports.get(`${address} ${port}`) ?? null;
    this.#ports.delete(`${address} ${port}`);
    return fd;
  }

  /** Closes what found no place. */
  close(): void {
    this.closePods();
    this.closePorts();
  }

  closePods(): void {
    for (const cookie of this.#pods.keys()) this.discardPod(cookie);
  }

  discardPod(cookie: bigint): void {
    const pod = this.takePod(cookie);
    if (pod === null) return;
    pod.sets.forEach(closeSet);
    this.#onDiscard(cookie);
  }

  closePorts(): void {
    for (const fd of this.#ports.values()) native.close(fd);
    this.#ports.clear();
  }
}

type Notice = PortNotice | PodNotice | ListenersNotice;

/** Says one message with its descriptors; resolves when the other side has them. */
export type Say<Message> = (message: Message, fds: readonly number[]) => Promise<void>;

/** Whoever an estate comes from: the agent before, or the keeper. */
interface Testator {
  expect(
    types: readonly (Notice['type'] | 'yours')[],
    timeoutMs: number,
  ): Promise<Notice | { type: 'yours' }>;
  send(message: { readonly type: 'got' }): void;
}

/** Each message waits for the one before: the kernel keeps only a few datagrams. */
export const answerMs = 5_000;

/** Sends copies of everything. */
export async function sendEstate(
  channel: Channel<FromNew, FromOld>,
  { pods, ports }: Estate,
  directory: string,
  socket: string,
): Promise<void> {
  const path = join(directory, socket);
  const say: Say<Notice> = async (message, fds) => {
    if (fds.length > 0) native.sendDescriptors(path, fds);
    channel.send(message);
    await channel.expect(['got'], answerMs);
  };
  for (const port of ports) await sayPort(say, port);
  for (const pod of pods) await sayPod(say, pod);
}

export function sayPort(say: Say<PortNotice>, { address, port, fd }: PortEstate): Promise<void> {
  return say({ type: 'port', address, port }, [fd]);
}

export async function sayPod(
  say: Say<PodNotice | ListenersNotice>,
  { wanted, cookie, timeWaitReuse, sets }: PodEstate,
): Promise<void> {
  await say({ type: 'pod', wanted, cookie: cookie.toString(), timeWaitReuse }, []);
  for (const { outbound, plaintext, hbone, dnsUdp, dnsTcp } of sets) {
    const dns = dnsUdp === null || dnsTcp === null ? [] : [dnsUdp, dnsTcp];
    await say({ type: 'listeners', dns: dns.length > 0 }, [outbound, plaintext, hbone, ...dns]);
  }
}

/**
 * Receives until `yours`.
 * @param socket where descriptors arrive
 * @param onDiscard as for Inheritance
 */
export async function receiveEstate(
  channel: Testator,
  socket: number,
  onDiscard: (cookie: bigint) => void = () => {},
): Promise<Inheritance> {
  const pods: (PodEstate & { sets: ListenerSet[] })[] = [];
  const ports: PortEstate[] = [];
  try {
    for (;;) {
      const message = await channel.expect(['port', 'pod', 'listeners', 'yours'], answerMs);
      if (message.type === 'yours') return new Inheritance({ pods, ports }, onDiscard);
      if (message.type === 'port') {
        const [fd = -1] = native.receiveDescriptors(socket);
        ports.push({ address: message.address, port: message.port, fd });
      } else if (message.type === 'pod') {
        const { wanted, timeWaitReuse } = message;
        pods.push({ wanted, cookie: BigInt(message.cookie), timeWaitReuse, sets: [] });
      } else {
        pods.at(-1)?.sets.push(listenerSet(native.receiveDescriptors(socket), message.dns));
      }
      channel.send({ type: 'got' });
    }
  } catch (error) {
    new Inheritance({ pods, ports }).close();
    throw error;
  }
}

function listenerSet(fds: readonly number[], dns: boolean): ListenerSet {
  const [outbound, plaintext, hbone, dnsUdp, dnsTcp] = fds;
  if (
    outbound === undefined ||
    plaintext === undefined ||
    hbone === undefined ||
    (dns && dnsTcp === undefined)
  ) {
    for (const fd of fds) native.close(fd);
    throw new CulvertError('HANDOVER_PROTOCOL', `a pod came with ${fds.length} sockets`);
  }
  return { outbound, plaintext, hbone, dnsUdp: dnsUdp ?? null, dnsTcp: dnsTcp ?? null };
}
