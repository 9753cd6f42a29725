/**
 * Values that several messages have: enumerations, IP addresses, ports, places of waypoints.
 *
 * What cannot be read is left out, with a word about it in `problems`: the rest of the resource stands.
 */
import { isIpv6, ipValue, canonicalIp, parseCidr } from '../model/address.ts';
import type { NetworkAddress } from '../model/service.ts';
import type { AppProtocol, GatewayAddress, PortMapping } from '../model/workload.ts';
import { protocols } from '../proto/load.ts';
import type { Sparse } from '../proto/load.ts';
import type { WireGatewayAddress, WireNetworkAddress, WirePort } from '../proto/messages.ts';
import { Pool, sharedText } from './sharing.ts';

/** An enumeration of the protocol as the names the model has for it. */
export interface Choice<Name extends string> {
  toWire(name: Name): number;
  /** Null for numbers that mean nothing here. */
  fromWire(number: number): Name | null;
}

/** `wireNames` are those of the .proto file where the model says it otherwise. */
export function choice<Name extends string>(
  enumeration: string,
  names: readonly Name[],
  wireName: (name: Name) => string = name => name,
): Choice<Name> {
  const values = protocols.schema.enumeration(enumeration);
  const numbers = new Map<Name, number>();
  const byNumber = new Map<number, Name>();
  for (const name of names) {
    const value = values.number(wireName(name));
    if (value === null) throw new Error(`${enumeration} has no ${wireName(name)}`);
    numbers.set(name, value);
    byNumber.set(value, name);
  }
  return {
    toWire: name => numbers.get(name) ?? 0,
    fromWire: value => byNumber.get(value) ?? null,
  };
}

/** 4 or 16 bytes of a canonical address. */
export function ipToWire(ip: string): Buffer {
  const value = ipValue(ip);
  if (value === null) throw new Error(`${JSON.stringify(ip)} is not an IP address`);
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  }
  const bytes = Buffer.alloc(16);
  for (const [index, group] of value.entries()) bytes.writeUInt16BE(group, index * 2);
  return bytes;
}

/** The canonical address, an IPv4-mapped one as IPv4; null unless 4 or 16 bytes. */
export function ipFromWire(bytes: Buffer): string | null {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return null;
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return canonicalIp(groups.join(':'));
}

/** A prefix among a service's addresses is written `10.0.0.0/8`. */
export function networkAddressToWire({ network, address }: NetworkAddress): Sparse<WireNetworkAddress> {
  const prefix = address.includes('/') ? parseCidr(address) : null;
  return prefix === null
    ? { network, address: ipToWire(address) }
    : { network, address: ipToWire(prefix.address), length: prefix.length };
}

export function networkAddressFromWire(wire: WireNetworkAddress, problems: string[]): NetworkAddress | null {
  const ip = ipFromWire(wire.address);
  const network = sharedText(wire.network);
  if (ip === null) {
    problems.push(`an address of ${wire.address.length} bytes`);
    return null;
  }
  if (wire.length === null || wire.length === wire.address.length * 8) return { network, address: ip };
  // The bytes of an IPv4-mapped prefix count 96 more than the IPv4 one they mean.
  const length = wire.address.length === 16 && !isIpv6(ip) ? wire.length - 96 : wire.length;
  const prefix = parseCidr(`${ip}/${length}`);
  if (prefix === null) {
    problems.push(`a prefix of ${wire.length} bits`);
    return null;
  }
  return { network, address: `${prefix.address}/${prefix.length}` };
}

export function gatewayToWire(gateway: GatewayAddress): Sparse<WireGatewayAddress> {
  const { destination, hboneMtlsPort } = gateway;
  return destination.kind === 'hostname'
    ? { hostname: { namespace: destination.namespace, hostname: destination.hostname }, hboneMtlsPort }
    : { address: networkAddressToWire(destination), hboneMtlsPort };
}

/** Null when it says no place. */
export function gatewayFromWire(wire: WireGatewayAddress, problems: string[]): GatewayAddress | null {
  const { hostname, address, hboneMtlsPort } = wire;
  if (hostname !== null) {
    const { namespace, hostname: name } = hostname;
    return { destination: { kind: 'hostname', namespace, hostname: name }, hboneMtlsPort };
  }
  const place = address === null ? null : networkAddressFromWire(address, problems);
  if (place !== null) return { destination: { kind: 'address', ...place }, hboneMtlsPort };
  if (address === null) problems.push('a waypoint without a place');
  return null;
}

const appProtocols = choice<AppProtocol>('istio.workload.AppProtocol', [
  'UNKNOWN',
  'HTTP11',
  'HTTP2',
  'GRPC',
  'TCP',
  'TLS',
]);

export function portToWire(port: PortMapping): Sparse<WirePort> {
  return { ...port, appProtocol: appProtocols.toWire(port.appProtocol) };
}

const portLists = new Pool<readonly PortMapping[]>();
const maxPort = 65_535;

/** Equal lists are one array. Ports that no TCP has are left out rather than cut to 16 bits, which makes them others. */
export function portsFromWire(wire: readonly WirePort[], problems: string[]): readonly PortMapping[] {
  const possible = wire.filter(port => port.servicePort <= maxPort && port.targetPort <= maxPort);
  if (possible.length < wire.length) problems.push(`a port above ${maxPort}`);
  const key = possible.map(port => `${port.servicePort}:${port.targetPort}:${port.appProtocol}`).join();
  return portLists.share(key, () =>
    possible.map(({ servicePort, targetPort, appProtocol }) => ({
      servicePort,
      targetPort,
      appProtocol: appProtocols.fromWire(appProtocol) ?? 'UNKNOWN',
    })),
  );
}
