/**
 * bpf/culvert.h for TypeScript: how map keys and values look as bytes, and the names of the counters.
 *
 * A test compiles the header and compares. Numbers are in the machine's order, and all machines that Culvert runs on are
 * little-endian; addresses and, where said, ports are in network order.
 */
import { CulvertError } from '../base/errors.ts';
import { canonicalIp, ipValue } from '../model/address.ts';

/** CULVERT_ABI: part of the pin path, so that agents of different layouts never share a map. */
export const abi = 5;

/** CULVERT_COUNTERS, in its order; what each means is said there. */
export const counterNames = [
  'connect_captured',
  'connect_agent',
  'connect_agent_loop',
  'connect_local',
  'connect_link_local',
  'connect_no_address',
  'connect_no_address_refused',
  'connect_passed_stale',
  'connect_passed_listener',
  'connect_passed_memory',
  'connect_refused_stale',
  'connect_refused_listener',
  'connect_refused_memory',
  'dns_captured_udp',
  'dns_captured_tcp',
  'dns_passed',
  'dns_port_unknown',
  'flow_opened',
  'flow_accepted',
  'flow_unknown',
  'flow_lost',
  'flow_abandoned',
  'peer_opened',
  'peer_accepted',
  'peer_lost',
  'peer_abandoned',
  'lookup_steered',
  'lookup_own_port',
  'lookup_unnamed',
  'lookup_local',
  'lookup_passed_stale',
  'lookup_passed_listener',
  'lookup_dropped_stale',
  'lookup_dropped_listener',
  'kubelet_opened',
  'kubelet_arrived',
  'kubelet_unproven',
  'kubelet_lost',
  'path_allowed',
  'path_stale',
  'path_opened',
  'path_lost',
  'path_let_in',
  'path_turned_away',
  'path_accepted',
  'path_outrun',
  'path_joined',
  'path_unseen',
  'path_unfit',
  'path_apart',
  'path_to_tcp',
  'path_to_join',
  'path_revoked',
  'path_leaves',
  'path_urgent',
  'path_untold',
  'path_service',
  'path_handed',
  'path_refusing',
  'leg_joined',
  'leg_apart',
] as const;

export type CounterName = (typeof counterNames)[number];

/** Sizes of the structures, in bytes. */
export const sizes = {
  address: 16,
  config: 16,
  pod: 40,
  name: 60,
  endpoint: 20,
  memo: 40,
  flow: 48,
  kubelet: 56,
  dnsClient: 16,
  dnsServers: 80,
} as const;

const podFailClosed = 1;
const podDns = 2;
const nameProbe = 5;
export const nameProbed = 6;
const nameKubelet = 7;
const processName = 16;
const dnsRecent = 4;

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What `pods` holds for one namespace. */
export interface PodEntry {
  /** Canonical; null where the pod has no address of that family. */
  readonly ip4: string | null;
  readonly ip6: string | null;
  readonly failMode: 'open' | 'closed';
  readonly dnsCapture: boolean;
  readonly generation: number;
}

/** 16 bytes in network order, IPv4 as v4-mapped; null becomes all zeroes. Throws for what is no address. */
export function encodeAddress(ip: string | null): Buffer {
  const bytes = Buffer.alloc(sizes.address);
  if (ip === null) return bytes;
  const value = ipValue(ip);
  if (value === null) throw new CulvertError('REDIRECT_BAD_ADDRESS', `${ip} is not an IP address`);
  if (typeof value === 'number') {
    bytes.writeUInt16BE(0xffff, 10);
    bytes.writeUInt32BE(value, 12);
  } else {
    value.forEach((group, index) => bytes.writeUInt16BE(group, index * 2));
  }
  return bytes;
}

/** Canonical text of 16 bytes; null for all zeroes. */
export function decodeAddress(bytes: Buffer): string | null {
  if (bytes.every(byte => byte === 0)) return null;
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return canonicalIp(groups.join(':'));
}

/** A culvert_endpoint: key of `refusing`. */
export function encodeEndpoint({ address, port }: Endpoint): Buffer {
  const bytes = Buffer.alloc(sizes.endpoint);
  encodeAddress(address).copy(bytes, 0);
  bytes.writeUInt16BE(port, sizes.address);
  return bytes;
}

/** Key of `pods` and `listeners`. */
export function encodeCookie(cookie: bigint): Buffer {
  return encodeU64(cookie);
}

export function decodeCookie(key: Buffer): bigint {
  return key.readBigUInt64LE(0);
}

export function encodeU64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

/** Key of an array map, or a descriptor as the key of a socket storage. */
export function encodeIndex(index: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(index);
  return bytes;
}

export function encodePod(pod: PodEntry): Buffer {
  const bytes = Buffer.alloc(sizes.pod);
  encodeAddress(pod.ip4).copy(bytes, 0);
  encodeAddress(pod.ip6).copy(bytes, 16);
  bytes.writeUInt32LE((pod.failMode === 'closed' ? podFailClosed : 0) | (pod.dnsCapture ? podDns : 0), 32);
  bytes.writeUInt32LE(pod.generation >>> 0, 36);
  return bytes;
}

export function decodePod(bytes: Buffer): PodEntry {
  const flags = bytes.readUInt32LE(32);
  return {
    ip4: decodeAddress(bytes.subarray(0, 16)),
    ip6: decodeAddress(bytes.subarray(16, 32)),
    failMode: (flags & podFailClosed) === 0 ? 'open' : 'closed',
    dnsCapture: (flags & podDns) !== 0,
    generation: bytes.readUInt32LE(36),
  };
}

/** Value of `config`: the cgroups whose sockets are the agent's. */
export function encodeConfig(cgroups: readonly [bigint, bigint]): Buffer {
  return Buffer.concat(cgroups.map(encodeU64));
}

export function decodeConfig(bytes: Buffer): [bigint, bigint] {
  return [bytes.readBigUInt64LE(0), bytes.readBigUInt64LE(8)];
}

/**
 * A culvert_name that turns the agent's own socket into a probe: the connect hook treats it as an application's, but
 * brings it to `listenerPort` instead of the outbound port.
 */
export function encodeProbe(target: Endpoint, listenerPort: number): Buffer {
  const bytes = Buffer.alloc(sizes.name);
  encodeAddress(target.address).copy(bytes, 0);
  bytes.writeUInt16BE(target.port, 16);
  bytes.writeUInt16LE(nameProbe, 18);
  bytes.writeUInt16BE(listenerPort, 20);
  return bytes;
}

/** What a culvert_name says: whose it is, and for a probe that was not captured which verdict it met. */
export function decodeName(bytes: Buffer): { readonly role: number; readonly verdict: CounterName | null } {
  return { role: bytes.readUInt16LE(18), verdict: counterNames[bytes.readUInt16LE(22)] ?? null };
}

/** The process whose connections are the kubelet's. */
export interface KubeletProcess {
  /** Cookie of its network namespace, the node's. */
  readonly netns: bigint;
  readonly cgroup: bigint;
  readonly pid: number;
  /** The PID namespace that `pid` is counted in: `st_dev` and `st_ino` of its file. */
  readonly pidNamespace: { readonly device: bigint; readonly inode: bigint };
  /** As the kernel keeps it, at most 15 bytes. */
  readonly name: string;
}

/** Value of `kubelet`; null becomes all zeroes: nobody is the kubelet. */
export function encodeKubelet(kubelet: KubeletProcess | null): Buffer {
  const bytes = Buffer.alloc(sizes.kubelet);
  if (kubelet === null) return bytes;
  const { netns, cgroup, pid, pidNamespace, name } = kubelet;
  bytes.writeBigUInt64LE(netns, 0);
  bytes.writeBigUInt64LE(cgroup, 8);
  bytes.writeBigUInt64LE(kernelDevice(pidNamespace.device), 16);
  bytes.writeBigUInt64LE(pidNamespace.inode, 24);
  bytes.writeUInt32LE(pid, 32);
  bytes.write(name, 40, processName - 1, 'utf8');
  return bytes;
}

/** The kernel keeps 20 bits of a device number for the minor part, below the major one; stat(2) mixes them. */
function kernelDevice(device: bigint): bigint {
  const minor = (device & 0xffn) | ((device >> 12n) & 0xfff00n);
  const major = (device >> 8n) & 0xfffn;
  return (major << 20n) | minor;
}

/** Whether the culvert_name of an accepted socket says that the node's kubelet opened its connection. */
export function isKubelet(name: Buffer | null): boolean {
  return name !== null && name.readUInt16LE(18) === nameKubelet;
}

/** Key of `dns_servers`; port 0 stands for sockets whose port was not known. */
export function encodeDnsClient(cookie: bigint, port: number, family: 4 | 6): Buffer {
  const bytes = Buffer.alloc(sizes.dnsClient);
  bytes.writeBigUInt64LE(cookie, 0);
  bytes.writeUInt16LE(port, 8);
  bytes.writeUInt16LE(family, 10);
  return bytes;
}

/** Servers of one client, the most recent first. */
export function decodeDnsServers(bytes: Buffer): Endpoint[] {
  const servers: Endpoint[] = [];
  for (let index = 0; index < dnsRecent; index += 1) {
    const at = index * sizes.endpoint;
    const address = decodeAddress(bytes.subarray(at, at + sizes.address));
    const port = bytes.readUInt16BE(at + sizes.address);
    if (address === null || port === 0) break;
    servers.push({ address, port });
  }
  return servers;
}
