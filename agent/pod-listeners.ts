/**
 * The sockets on which agents listen inside one pod: sets of four ports, all sets together one SO_REUSEPORT group.
 *
 * A set that was opened once is kept as long as the pod is enrolled, over shards that die and agents that are replaced:
 * closing one would reset the connections that wait in it. So there may be more sets than shards.
 */
import * as native from '../native/native.ts';
import type { PodPorts } from './config.ts';

export interface ListenerSet {
  readonly outbound: number;
  readonly plaintext: number;
  readonly hbone: number;
  readonly dnsUdp: number | null;
  readonly dnsTcp: number | null;
}

/** Connections that wait for accept; the kernel caps it at net.core.somaxconn of the pod's namespace. */
export const backlog = 4096;

/**
 * As many sets as there are shards, and more where more were inherited. Owns `inherited` from then on, also when it throws.
 */
export function openListeners(
  netnsFd: number,
  ports: PodPorts,
  wanted: { readonly shards: number; readonly dns: boolean },
  inherited: readonly ListenerSet[],
): ListenerSet[] {
  const address = native.hasIpv6(netnsFd) ? '::' : '0.0.0.0';
  const sets: ListenerSet[] = [...inherited];
  const opened: number[] = [];
  const kept = (fd: number): number => {
    opened.push(fd);
    return fd;
  };
  const options = (port: number) => ({ address, port, reusePort: true, v6Only: false });
  const tcp = (port: number): number => kept(native.tcpListener(netnsFd, { ...options(port), backlog }));
  const dns = (): Pick<ListenerSet, 'dnsUdp' | 'dnsTcp'> =>
    wanted.dns
      ? { dnsUdp: kept(native.udpSocket(netnsFd, options(ports.dns))), dnsTcp: tcp(ports.dns) }
      : { dnsUdp: null, dnsTcp: null };
  try {
    for (const [index, set] of sets.entries()) {
      if ((set.dnsTcp !== null) === wanted.dns) continue;
      sets[index] = { ...set, ...dns() };
      closeDns(set);
    }
    while (sets.length < wanted.shards) {
      sets.push({
        outbound: tcp(ports.outbound),
        plaintext: tcp(ports.plaintext),
        hbone: tcp(ports.hbone),
        ...dns(),
      });
    }
    return sets;
  } catch (error) {
    const whole = new Set(sets.flatMap(set => Object.values(set) as (number | null)[]));
    for (const fd of opened) if (!whole.has(fd)) native.close(fd);
    sets.forEach(closeSet);
    throw error;
  }
}

/** Copies of the sets that a shard accepts on, to be its own. */
export function setsOfShard(sets: readonly ListenerSet[], index: number, shards: number): ListenerSet[] {
  const copy = (fd: number | null): number | null => (fd === null ? null : native.duplicate(fd));
  return sets
    .filter((_, position) => position % shards === index)
    .map(set => ({
      outbound: native.duplicate(set.outbound),
      plaintext: native.duplicate(set.plaintext),
      hbone: native.duplicate(set.hbone),
      dnsUdp: copy(set.dnsUdp),
      dnsTcp: copy(set.dnsTcp),
    }));
}

export function closeSet(set: ListenerSet): void {
  for (const fd of [set.outbound, set.plaintext, set.hbone]) native.close(fd);
  closeDns(set);
}

function closeDns({ dnsUdp, dnsTcp }: ListenerSet): void {
  for (const fd of [dnsUdp, dnsTcp]) if (fd !== null) native.close(fd);
}
