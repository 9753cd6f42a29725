/**
 * IP addresses, authorities and prefixes, in one canonical spelling each.
 *
 * Everything that compares addresses (policy, lookup, the authority check of a tunnel) compares canonical strings, so a
 * second spelling of an address must never pass unnoticed: parsing is strict, an IPv4-mapped IPv6 address becomes
 * IPv4, zones and the old inet_aton forms (`127.1`, `0x7f.1`, `010.0.0.1`) are refused.
 */
import ipaddr from 'ipaddr.js';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** A network prefix; `address` is canonical, `length` counts bits (at most 32 for IPv4, 128 for IPv6). */
export interface Cidr {
  readonly address: string;
  readonly length: number;
}

/** A parsed address: a uint32 for IPv4, eight 16-bit groups for IPv6. */
export type IpValue = number | readonly number[];

const digit0 = 48;
const dot = 46;
/** ::ffff:0:0/96 */
const mappedPrefixBits = 96;

/** The uint32 of a strict dotted quad, or -1. Runs per connection, so it neither allocates nor uses a RegExp. */
function ipv4Value(s: string): number {
  let value = 0;
  let octet = -1;
  let octets = 0;
  for (let i = 0; i <= s.length; i++) {
    const code = i === s.length ? dot : s.charCodeAt(i);
    if (code === dot) {
      if (octet < 0) return -1;
      value = value * 256 + octet;
      octets++;
      octet = -1;
    } else {
      const digit = code - digit0;
      if (digit < 0 || digit > 9 || octet === 0) return -1;
      octet = octet < 0 ? digit : octet * 10 + digit;
      if (octet > 255) return -1;
    }
  }
  return octets === 4 ? value : -1;
}

function parseIpv6(s: string): ipaddr.IPv6 | null {
  if (!s.includes(':') || s.includes('%')) return null;
  let hex = s;
  if (s.includes('.')) {
    // ipaddr.js reads `::1.2.3.4` as v4-mapped and allows zeros in front, so the tail is translated here.
    const colon = s.lastIndexOf(':');
    const tail = ipv4Value(s.slice(colon + 1));
    if (tail < 0) return null;
    hex = `${s.slice(0, colon + 1)}${(tail >>> 16).toString(16)}:${(tail & 0xffff).toString(16)}`;
  }
  try {
    return ipaddr.IPv6.parse(hex);
  } catch {
    return null;
  }
}

/** The canonical spelling (RFC 5952; IPv4-mapped as IPv4) of an address, or null if it is not one. */
export function canonicalIp(s: string): string | null {
  if (ipv4Value(s) >= 0) return s;
  const v6 = parseIpv6(s);
  if (v6 === null) return null;
  if (!v6.isIPv4MappedAddress()) return v6.toRFC5952String();
  const [, , , , , , high = 0, low = 0] = v6.parts;
  return `${high >>> 8}.${high & 255}.${low >>> 8}.${low & 255}`;
}

/** Whether a canonical address is IPv6. */
export function isIpv6(ip: string): boolean {
  return ip.includes(':');
}

/** Whether a canonical address is a loopback one. */
export function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.');
}

/** The value of an address for prefix matching (IPv4-mapped as IPv4), or null if it is not an address. */
export function ipValue(ip: string): IpValue | null {
  const v4 = ipv4Value(ip);
  if (v4 >= 0) return v4;
  const v6 = parseIpv6(ip);
  if (v6 === null) return null;
  const [, , , , , , high = 0, low = 0] = v6.parts;
  return v6.isIPv4MappedAddress() ? high * 65536 + low : v6.parts;
}

/** A decimal port 1–65535 without sign, blanks or zeros in front, or null. */
export function parsePort(s: string): number | null {
  if (!/^[1-9]\d{0,4}$/.test(s)) return null;
  const port = Number(s);
  return port <= 65535 ? port : null;
}

const dnsLabel = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** A name ending like this would be an address to some resolver (`127.1`, `1.2.3.4.5`, `0x7f.1`). */
const numericLabel = /^(\d+|0x[0-9a-f]*)$/;

function parseDnsName(s: string): string | null {
  if (s.length > 253) return null;
  const name = s.toLowerCase();
  const labels = name.split('.');
  return labels.every(l => dnsLabel.test(l)) && !numericLabel.test(labels.at(-1) ?? '') ? name : null;
}

/**
 * Parses `1.2.3.4:80`, `[::1]:80` or `name:80`, as in the `:authority` of CONNECT. The host comes back canonical: an
 * address as `canonicalIp` has it, a name in lower case. Anything else, also user info or blanks, is null.
 */
export function parseHostPort(authority: string): HostPort | null {
  const colon = authority.lastIndexOf(':');
  if (colon < 0) return null;
  const port = parsePort(authority.slice(colon + 1));
  if (port === null) return null;
  const name = authority.slice(0, colon);
  const bracketed = name.startsWith('[') && name.endsWith(']');
  if (bracketed && !name.includes(':')) return null;
  const inner = bracketed ? canonicalIp(name.slice(1, -1)) : name.includes(':') ? null : canonicalIp(name);
  const host = inner ?? (bracketed ? null : parseDnsName(name));
  return host === null ? null : { host, port };
}

/** The authority form of a canonical host and a port; IPv6 is bracketed. */
export function formatHostPort(host: string, port: number): string {
  return isIpv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Parses `10.0.0.0/8` or a bare address (the prefix of its own bits). Host bits may be set and do not count. */
export function parseCidr(s: string): Cidr | null {
  const slash = s.indexOf('/');
  const text = slash < 0 ? s : s.slice(0, slash);
  const address = canonicalIp(text);
  if (address === null) return null;
  const bits = isIpv6(text) ? 128 : 32;
  const suffix = slash < 0 ? String(bits) : s.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(suffix) || Number(suffix) > bits) return null;
  const mapped = bits === 128 && !isIpv6(address);
  const length = Number(suffix) - (mapped ? mappedPrefixBits : 0);
  return length < 0 ? null : { address, length };
}

/** Whether the prefix contains a canonical address. For many questions to one prefix use CidrSet. */
export function cidrContains(cidr: Cidr, ip: string): boolean {
  const value = ipValue(ip);
  return value !== null && (CidrSet.from([cidr])?.contains(value) ?? false);
}

/** Prefixes parsed once, asked often. */
export class CidrSet {
  /** Base and length, alternating. */
  readonly #v4: number[] = [];
  readonly #v6: { readonly groups: readonly number[]; readonly length: number }[] = [];

  /** Null if any entry is not a prefix: a policy must not lose one in silence. */
  static from(cidrs: readonly Cidr[]): CidrSet | null {
    const set = new CidrSet();
    for (const { address, length } of cidrs) {
      const value = ipValue(address);
      if (value === null || !Number.isInteger(length) || length < 0) return null;
      if (typeof value === 'number') {
        if (length > 32) return null;
        set.#v4.push(value, length);
      } else {
        if (length > 128) return null;
        set.#v6.push({ groups: value, length });
      }
    }
    return set;
  }

  contains(ip: IpValue): boolean {
    if (typeof ip !== 'number') return this.#v6.some(c => sharesBits(c.groups, ip, c.length));
    for (let i = 0; i < this.#v4.length; i += 2) {
      const base = this.#v4[i] ?? 0;
      const length = this.#v4[i + 1] ?? 32;
      // A shift by 32 is a shift by 0, so /0 stands apart.
      if (length === 0 || (base ^ ip) >>> (32 - length) === 0) return true;
    }
    return false;
  }
}

function sharesBits(a: readonly number[], b: readonly number[], length: number): boolean {
  for (let group = 0, left = length; left > 0; group++, left -= 16) {
    const difference = (a[group] ?? 0) ^ (b[group] ?? 0);
    if (difference >>> (left >= 16 ? 0 : 16 - left) !== 0) return false;
  }
  return true;
}
