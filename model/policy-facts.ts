/**
 * Turns a connection into what policy matchers ask for: the identity taken apart, the addresses as numbers.
 *
 * Runs once per decision. A connection about which nothing can be said (an address or identity that does not parse) is
 * a fault of ours, and is refused rather than judged as if the field were absent.
 */
import { canonicalIp, ipValue } from './address.ts';
import type { IpValue } from './address.ts';
import { parseSpiffeId } from './identity.ts';
import type { PolicyConnection } from './policy.ts';

/** What is known of a connection, in the form the matchers ask for. Null identity fields mean plaintext. */
export interface Facts {
  /** The SPIFFE URI without `spiffe://`. */
  readonly principal: string | null;
  readonly namespace: string | null;
  /** `namespace/service account`; the trust domain does not count. */
  readonly account: string | null;
  readonly sourceIp: string;
  readonly sourceValue: IpValue;
  readonly destinationValue: IpValue;
  readonly destinationPort: number;
}

/** What the matchers ask for, or why nothing can be said of this connection: then it is refused. */
export function factsOf(connection: PolicyConnection): Facts | string {
  const source = addressOf(connection.sourceIp);
  const destination = addressOf(connection.destinationIp);
  if (source === null) return `source "${connection.sourceIp}" is not an IP address`;
  if (destination === null) return `destination "${connection.destinationIp}" is not an IP address`;
  const peer = connection.sourceIdentity === null ? plaintext : peerOf(connection.sourceIdentity);
  if (peer === null) {
    return `source identity "${connection.sourceIdentity}" is not a SPIFFE workload identity`;
  }
  return {
    principal: peer.principal,
    namespace: peer.namespace,
    account: peer.account,
    sourceIp: source.ip,
    sourceValue: source.value,
    destinationValue: destination.value,
    destinationPort: connection.destinationPort,
  };
}

type Peer = Pick<Facts, 'principal' | 'namespace' | 'account'>;

interface Address {
  readonly ip: string;
  readonly value: IpValue;
}

const plaintext: Peer = { principal: null, namespace: null, account: null };
const peerOf = remembered(parsePeer);
const ipv6Of = remembered(parseAddress);

/** Parsing IPv4 is as fast as remembering it. */
function addressOf(text: string): Address | null {
  return text.includes(':') ? ipv6Of(text) : parseAddress(text);
}

function parseAddress(text: string): Address | null {
  const ip = canonicalIp(text);
  const value = ip === null ? null : ipValue(ip);
  return ip === null || value === null ? null : { ip, value };
}

function parsePeer(identity: string): Peer | null {
  const parsed = parseSpiffeId(identity);
  if (parsed === null) return null;
  const { trustDomain, namespace, serviceAccount } = parsed;
  return {
    principal: `${trustDomain}/ns/${namespace}/sa/${serviceAccount}`,
    namespace,
    account: `${namespace}/${serviceAccount}`,
  };
}

/** Peers and their addresses are few; the bound only keeps a flood of made-up ones from growing the memory. */
const maxRemembered = 4096;

function remembered<T>(parse: (text: string) => T | null): (text: string) => T | null {
  const known = new Map<string, T>();
  return text => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const parsed = parse(text);
    if (parsed === null) return null;
    if (known.size >= maxRemembered) known.clear();
    known.set(text, parsed);
    return parsed;
  };
}
