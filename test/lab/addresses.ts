/**
 * Who has which address in a lab: a /24 and a /64 of pods per node, one network between the nodes.
 *
 * node n:  pods 10.244.n.0/24 and fd00:10:244:n::/64, its bridge is .1 and the pods' gateway
 *          towards other nodes 172.18.0.n and fd00:172:18::n
 * outside: 172.18.0.254, a machine on the nodes' network that belongs to no cluster
 */
import { CulvertError } from '../../base/errors.ts';

/** An interface's addresses with their prefix lengths left off; v6 is null in a lab without IPv6. */
export interface Addresses {
  readonly v4: string;
  readonly v6: string | null;
}

export const podPrefix = { v4: 24, v6: 64 } as const;
export const nodePrefix = { v4: 24, v6: 64 } as const;

const firstSlot = 2;
const lastSlot = 254;
const outsideSlot = 254;

/** @param node 1 for the first node */
export function podSubnet(node: number, ipv6: boolean): Addresses {
  return { v4: `10.244.${node}.0/24`, v6: ipv6 ? `fd00:10:244:${hex(node)}::/64` : null };
}

/** @param slot place in the node's subnet, 1 is the bridge */
export function podAddresses(node: number, slot: number, ipv6: boolean): Addresses {
  return { v4: `10.244.${node}.${slot}`, v6: ipv6 ? `fd00:10:244:${hex(node)}::${hex(slot)}` : null };
}

export function nodeAddresses(node: number, ipv6: boolean): Addresses {
  return { v4: `172.18.0.${node}`, v6: ipv6 ? `fd00:172:18::${hex(node)}` : null };
}

export function outsideAddresses(ipv6: boolean): Addresses {
  return nodeAddresses(outsideSlot, ipv6);
}

/** The lowest place that nobody has, so that a deleted pod's address goes to the next pod made. */
export function freeSlot(taken: ReadonlySet<number>): number {
  for (let slot = firstSlot; slot <= lastSlot; slot++) if (!taken.has(slot)) return slot;
  throw new CulvertError(
    'LAB_NODE_FULL',
    `a node holds ${lastSlot - firstSlot + 1} pods and has no address left`,
  );
}

/**
 * A hardware address that follows from the IPv4 address. Whoever inherits an address inherits this too, so nobody's
 * neighbour table points at a pod that is gone.
 */
export function hardwareAddress(v4: string): string {
  return `0a:58:${v4
    .split('.')
    .map(part => hex(Number(part)).padStart(2, '0'))
    .join(':')}`;
}

function hex(value: number): string {
  return value.toString(16);
}
