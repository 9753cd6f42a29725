/**
 * The cables and switches of a lab, as lines for `ip`:
 *
 *   pod eth0 ── podN ┐                                   ┌ podN ── eth0 pod
 *   pod eth0 ── podN ┴ pods (bridge) node-a eth0 ─┐ ┌─ eth0 node-b (bridge) pods ┘
 *                                                 └ underlay ┘  (bridge, in the namespace "outside")
 *
 * A node is a router between the bridge of its pods and the network of the nodes, as with a CNI plugin that routes.
 * Nothing of it lies in the machine's own namespace.
 */
import {
  type Addresses,
  hardwareAddress,
  nodeAddresses,
  nodePrefix,
  outsideAddresses,
  podAddresses,
  podPrefix,
  podSubnet,
} from './addresses.ts';
import { configure, ip } from './commands.ts';
import { namespaceDirectory } from './sweep.ts';

/** A node's or a pod's end of the plumbing. */
export interface NodeWiring {
  /** Namespace name. */
  readonly netns: string;
  /** 1 for the first node. */
  readonly index: number;
}

export interface PodWiring {
  readonly netns: string;
  readonly node: NodeWiring;
  readonly slot: number;
  /** Interface name on the node's side. */
  readonly hostInterface: string;
}

const bridge = 'pods';
const underlay = 'underlay';

/** Without duplicate address detection an IPv6 address is usable at once, not after a second. */
const noAddressDetection = { 'ipv6/conf/all/accept_dad': 0, 'ipv6/conf/default/accept_dad': 0 };

export async function makeNamespaces(names: readonly string[]): Promise<void> {
  await ip(
    null,
    names.map(name => `netns add ${name}`),
  );
}

/** Builds all nodes, their bridges, the network between them, and the routes from each node to the pods of the others. */
export async function wireNodes(outside: string, nodes: readonly NodeWiring[], ipv6: boolean): Promise<void> {
  await configure(pathOf(outside), ipv6 ? noAddressDetection : {}, [
    'link set lo up',
    `link add ${underlay} address ${hardwareAddress(outsideAddresses(ipv6).v4)} type bridge`,
    `link set ${underlay} up`,
    ...addressLines(underlay, outsideAddresses(ipv6), nodePrefix),
    ...nodes.flatMap(node => [
      `link add node${node.index} type veth peer name eth0 netns ${node.netns}`,
      `link set node${node.index} master ${underlay} up`,
    ]),
    ...nodes.flatMap(node => routeLines(podSubnet(node.index, ipv6), nodeAddresses(node.index, ipv6))),
  ]);
  await Promise.all(nodes.map(node => wireNode(node, nodes, ipv6)));
}

async function wireNode(node: NodeWiring, nodes: readonly NodeWiring[], ipv6: boolean): Promise<void> {
  const others = nodes.filter(other => other !== node);
  const forwarding6 = {
    ...noAddressDetection,
    'ipv6/conf/eth0/accept_dad': 0,
    'ipv6/conf/all/forwarding': 1,
  };
  const gateway = podAddresses(node.index, 1, ipv6);
  await configure(pathOf(node.netns), { 'ipv4/ip_forward': 1, ...(ipv6 ? forwarding6 : {}) }, [
    'link set lo up',
    // Its own: a bridge takes the lowest of its ports' otherwise, and a pod that comes later would change it, so that the
    // others speak to a gateway that is no more until they ask again, up to 45 s later.
    `link add ${bridge} address ${hardwareAddress(gateway.v4)} type bridge`,
    `link set ${bridge} up`,
    ...addressLines(bridge, gateway, podPrefix),
    'link set eth0 up',
    ...addressLines('eth0', nodeAddresses(node.index, ipv6), nodePrefix),
    ...others.flatMap(other => routeLines(podSubnet(other.index, ipv6), nodeAddresses(other.index, ipv6))),
    ...routeLines({ v4: 'default', v6: ipv6 ? 'default' : null }, outsideAddresses(ipv6)),
  ]);
}

/** Plugs pods, whose namespaces exist, into their nodes. */
export async function wirePods(pods: readonly PodWiring[], ipv6: boolean): Promise<void> {
  const nodes = new Set(pods.map(pod => pod.node));
  await Promise.all(
    [...nodes].map(node =>
      ip(
        node.netns,
        pods
          .filter(pod => pod.node === node)
          .flatMap(pod => {
            const { v4 } = podAddresses(node.index, pod.slot, ipv6);
            const podEnd = `name eth0 address ${hardwareAddress(v4)} netns ${pod.netns}`;
            return [
              `link add ${pod.hostInterface} type veth peer ${podEnd}`,
              `link set ${pod.hostInterface} master ${bridge} up`,
            ];
          }),
      ),
    ),
  );
  await Promise.all(pods.map(pod => wirePod(pod, ipv6)));
}

async function wirePod(pod: PodWiring, ipv6: boolean): Promise<void> {
  const sysctls = ipv6 ? { ...noAddressDetection, 'ipv6/conf/eth0/accept_dad': 0 } : {};
  await configure(pathOf(pod.netns), sysctls, [
    'link set lo up',
    'link set eth0 up',
    ...addressLines('eth0', podAddresses(pod.node.index, pod.slot, ipv6), podPrefix),
    ...routeLines({ v4: 'default', v6: ipv6 ? 'default' : null }, podAddresses(pod.node.index, 1, ipv6)),
  ]);
}

/**
 * Pulls a pod's cable. Whoever still holds the namespace (an agent, for a moment) holds one without an interface, so that
 * the address can be given to another pod at once.
 */
export async function unplugPod(pod: PodWiring): Promise<void> {
  await ip(pod.node.netns, [`link del ${pod.hostInterface}`]);
}

function addressLines(device: string, { v4, v6 }: Addresses, prefix: { v4: number; v6: number }): string[] {
  const lines = [`addr add ${v4}/${prefix.v4} dev ${device}`];
  if (v6 !== null) lines.push(`addr add ${v6}/${prefix.v6} dev ${device} nodad`);
  return lines;
}

function routeLines(to: Addresses, via: Addresses): string[] {
  const lines = [`route add ${to.v4} via ${via.v4}`];
  if (to.v6 !== null && via.v6 !== null) lines.push(`route add ${to.v6} via ${via.v6}`);
  return lines;
}

function pathOf(netns: string): string {
  return `${namespaceDirectory}/${netns}`;
}
