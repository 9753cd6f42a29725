/**
 * Decides about one DNS packet: answered from the mesh, or left to the server that the client asked. No I/O.
 */
import { ipValue, type IpValue } from '../../model/address.ts';
import { lookupName, type DnsClient, type DnsMesh } from '../../model/dns-names.ts';
import { maxTcpSize, noError, readQuery, typeA, typeAaaa, udpLimit } from './codec.ts';
import { writeAnswer } from './reply.ts';

export type DnsProtocol = 'udp' | 'tcp';

export interface Answering {
  readonly mesh: DnsMesh;
  /** The cluster's domain, without dots at its ends. */
  readonly domain: string;
  readonly ttlSeconds: number;
  /** As Math.random. */
  readonly random: () => number;
}

export type Ruling =
  | { readonly kind: 'answer'; readonly reply: Buffer }
  /**
   * Passed on untouched. `instead` is what the client gets where the server knows no such name or can't be asked: the
   * name is ours and exists, so this type of it is merely absent.
   */
  | { readonly kind: 'forward'; readonly instead: Buffer | null };

const passedOn: Ruling = { kind: 'forward', instead: null };

export function rule(answering: Answering, client: DnsClient, packet: Buffer, protocol: DnsProtocol): Ruling {
  const query = readQuery(packet);
  if (query === null) return passedOn;
  const host = lookupName(answering.mesh, client, query.name, answering.domain);
  if (host === null) return passedOn;
  const ours = query.type === typeA || query.type === typeAaaa;
  const addresses = ours ? shuffled(ofFamily(host.addresses, query.type), answering.random) : [];
  const reply = writeAnswer(
    packet,
    query,
    {
      rcode: noError,
      alias: host.alias ? host.hostname : null,
      addresses,
      zone: answering.domain,
      ttlSeconds: answering.ttlSeconds,
    },
    protocol === 'udp' ? udpLimit(query) : maxTcpSize,
  );
  return ours ? { kind: 'answer', reply } : { kind: 'forward', instead: reply };
}

function ofFamily(addresses: readonly string[], type: number): IpValue[] {
  const kind = type === typeA ? 'number' : 'object';
  return addresses.map(ipValue).filter((value): value is IpValue => value !== null && typeof value === kind);
}

/** Fisher–Yates: clients take the first address, so the order is what spreads them. */
function shuffled<T>(items: T[], random: () => number): T[] {
  for (let last = items.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [items[last], items[other]];
    if (a === undefined || b === undefined) continue;
    items[last] = b;
    items[other] = a;
  }
  return items;
}
