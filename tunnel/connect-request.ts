/**
 * The CONNECT request of HBONE: what a client says about a connection besides its destination, and reading it back.
 *
 * Headers (ambient HBONE, in use since ztunnel 1.24): `baggage` describes the client's workload, `forwarded` carries
 * the application's source address and the Service's host, `traceparent` joins both access lines.
 */
import { randomFillSync } from 'node:crypto';
import { parseHostPort } from '../model/address.ts';
import { parseSpiffeId } from '../model/identity.ts';
import type { Workload } from '../model/workload.ts';

export type Headers = readonly (readonly [name: string, value: string])[];

/** One for each connection, of the same few workloads. */
const baggageOf = new WeakMap<Workload, string>();

/** `baggage` of a workload; empty members are left out. */
export function baggage(workload: Workload): string {
  let text = baggageOf.get(workload);
  if (text === undefined) baggageOf.set(workload, (text = makeBaggage(workload)));
  return text;
}

function makeBaggage(workload: Workload): string {
  const members: [string, string][] = [
    ['k8s.cluster.name', workload.clusterId],
    ['k8s.namespace.name', workload.namespace],
    [`k8s.${workload.workloadType}.name`, workload.workloadName],
    ['service.name', workload.canonicalName],
    ['service.version', workload.canonicalRevision],
    ['cloud.region', workload.locality?.region ?? ''],
    ['cloud.availability_zone', workload.locality?.zone ?? ''],
  ];
  return members
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${encodeMember(value)}`)
    .join(',');
}

/** Keeps a value inside its list member (W3C Baggage §3.3.1.3 leaves out `,` `;` `\` `"` and controls). */
function encodeMember(value: string): string {
  return value.replaceAll(/[^\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]/g, encodeURIComponent);
}

/**
 * Forwarded (RFC 7239) with the application's own address, and the Service that it called where it is known.
 * @param source `ip:port`, IPv6 in brackets
 * @param identity SPIFFE URI of whom a waypoint connects for; an extension of ours, which others pass over
 */
export function forwarded(
  source: string,
  serviceHost: string | null,
  identity: string | null = null,
): string {
  const host = serviceHost === null ? '' : `;host=${serviceHost}`;
  return `for="${source}"${host}${identity === null ? '' : `;identity="${identity}"`}`;
}

export interface Forwarded {
  readonly for: { readonly host: string; readonly port: number } | null;
  readonly host: string | null;
  /** SPIFFE URI. */
  readonly identity: string | null;
}

/** `for` as `ip:port`, `host` and `identity` of a Forwarded header; null where absent or not well formed. */
export function parseForwarded(value: string): Forwarded {
  let source: { host: string; port: number } | null = null;
  let host: string | null = null;
  let identity: string | null = null;
  if (value.length > 1024) return { for: null, host: null, identity: null };
  for (const part of (value.split(',', 1)[0] ?? '').split(';')) {
    const equals = part.indexOf('=');
    if (equals < 0) continue;
    const name = part.slice(0, equals).trim().toLowerCase();
    const text = part.slice(equals + 1).trim();
    const plain = text.startsWith('"') && text.endsWith('"') && text.length >= 2 ? text.slice(1, -1) : text;
    if (name === 'for') source = parseHostPort(plain);
    else if (name === 'host' && /^[A-Za-z0-9.-]{1,253}$/.test(plain)) host = plain;
    else if (name === 'identity' && parseSpiffeId(plain) !== null) identity = plain;
  }
  return { for: source, host, identity };
}

const randomPool = Buffer.allocUnsafe(24 * 128);
let randomUsed = randomPool.length;

/** A new traceparent (W3C Trace Context, version 00, not sampled). */
export function newTraceparent(): string {
  if (randomUsed === randomPool.length) {
    randomFillSync(randomPool);
    randomUsed = 0;
  }
  const hex = randomPool.toString('hex', randomUsed, randomUsed + 24);
  randomUsed += 24;
  return `00-${hex.slice(0, 32)}-${hex.slice(32)}-00`;
}

/** The trace id of a traceparent, or null when it isn't one. */
export function traceId(traceparent: string | null): string | null {
  if (traceparent === null || traceparent.length !== 55) return null;
  return /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(traceparent)
    ? traceparent.slice(3, 35)
    : null;
}
