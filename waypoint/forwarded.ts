/**
 * What a waypoint tells the next one about a request: where it came from, whose it is, and which trace it belongs to.
 *
 * Fields that say who the client is are ours alone to write: what a client claims about itself is removed.
 */
import { randomUUID } from 'node:crypto';
import { canonicalIp } from '../model/address.ts';
import { headerOf, type HttpHead } from '../model/http-head.ts';
import {
  type B3Fields,
  formatTraceparent,
  parseB3,
  parseTraceparent,
  type TraceParent,
} from '../model/trace-context.ts';
import { newTraceparent } from '../tunnel/connect-request.ts';
import type { Client } from './context.ts';
import type { SpanContext } from './span-of.ts';

export interface Traced {
  readonly head: HttpHead;
  readonly traceId: string;
  readonly requestId: string;
  /** The span to be made of it; null: none. */
  readonly span: SpanContext | null;
}

/** Of requests that belong to no trace; those that do are sampled as their trace is. */
export interface Sampling {
  /** 0 to 1 */
  readonly share: number;
  readonly random: () => number;
}

/** What no client may say about itself. */
const ours = new Set(['x-forwarded-client-cert']);
/** What it may say in the one spelling that is added to. */
const underscored = new Set([...ours, 'x-forwarded-for', 'x-forwarded-proto']);

const b3Names = new Map<string, keyof B3Fields>([
  ['b3', 'b3'],
  ['x-b3-traceid', 'traceId'],
  ['x-b3-spanid', 'spanId'],
  ['x-b3-sampled', 'sampled'],
  ['x-b3-flags', 'flags'],
]);

/**
 * The head with `x-forwarded-for`, `x-forwarded-client-cert`, `x-request-id` and `traceparent` (W3C Trace Context). A
 * context that came is passed on as it is, unless a span of this process stands between. B3 is read where there is no
 * `traceparent`, and left as it came: its trace is the same.
 * @param own SPIFFE ID of this waypoint
 * @param sampling null: no spans are made
 */
export function withContext(
  head: HttpHead,
  client: Client,
  own: string,
  sampling: Sampling | null = null,
): Traced {
  const { headers } = head;
  const list: string[] = [];
  let [forwardedFor, requestId, traceparent] = ['', '', ''];
  let hasProto = false;
  let state = -1;
  let b3: Record<keyof B3Fields, string> | null = null;
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? '';
    const value = headers[at + 1] ?? '';
    const first = name.charCodeAt(0) | 0x20;
    // Only names that begin with b, x or t matter here.
    if (first === 0x78 || first === 0x74 || first === 0x62) {
      const known = name.toLowerCase();
      // Also as `x_forwarded_for`, which some servers take for the same.
      if (ours.has(known) || (known.includes('_') && underscored.has(known.replaceAll('_', '-')))) continue;
      if (known === 'x-forwarded-for') {
        forwardedFor += `${value}, `;
        continue;
      }
      if (known === 'x-forwarded-proto') hasProto = true;
      else if (known === 'x-request-id') requestId ||= value;
      else if (known === 'traceparent') {
        // Two of them are as good as none.
        traceparent = traceparent === '' ? value : 'several';
        continue;
      } else if (known === 'tracestate') state = list.length;
      const field = b3Names.get(known);
      if (field !== undefined) {
        b3 ??= { b3: '', traceId: '', spanId: '', sampled: '', flags: '' };
        b3[field] ||= value;
      }
    }
    list.push(name, value);
  }
  const came = traceparent === '' ? null : parseTraceparent(traceparent);
  // A context that can not be read is none (W3C Trace Context §3.2.1), and its tracestate belongs to nothing.
  if (came === null && state >= 0) list.splice(state, 2);
  const traceState = came === null || state < 0 ? '' : (list[state + 1] ?? '');
  const { parent, traceId, span } = traceOf(came ?? (b3 === null ? null : parseB3(b3)), sampling, traceState);
  if (!hasProto) list.push('x-forwarded-proto', head.scheme);
  if (requestId === '') {
    requestId = randomUUID();
    list.push('x-request-id', requestId);
  }
  list.push('x-forwarded-for', forwardedFor + client.address);
  list.push('x-forwarded-client-cert', `By=${own};URI=${client.identity}`);
  // One of a later version is passed on as it came (W3C Trace Context §4.3).
  list.push('traceparent', came !== null && span === null ? traceparent : parent);
  return { head: { ...head, headers: list }, traceId, requestId, span };
}

function traceOf(
  came: TraceParent | null,
  sampling: Sampling | null,
  traceState: string,
): { readonly parent: string; readonly traceId: string; readonly span: SpanContext | null } {
  const sampled = came?.sampled ?? (sampling !== null && sampling.random() < sampling.share);
  const fresh = came === null || (sampling !== null && sampled) ? newTraceparent() : '';
  const traceId = came?.traceId ?? fresh.slice(3, 35);
  if (sampling === null || !sampled) {
    const parent = came === null ? fresh : formatTraceparent(traceId, came.spanId, sampled);
    return { parent, traceId, span: null };
  }
  const spanId = fresh.slice(36, 52);
  const span = { traceId, spanId, parentId: came?.spanId ?? null, traceState };
  return { parent: formatTraceparent(traceId, spanId, true), traceId, span };
}

/**
 * The client behind the client: whom it says it forwards for, in the last entry of `x-forwarded-for` before ours, else
 * itself. Null where that is no address.
 * @param head with what `withContext` has added
 */
export function remoteAddress(head: HttpHead, client: Client): string | null {
  const entries = (headerOf(head.headers, 'x-forwarded-for') ?? '').split(',');
  const said = entries.at(-2);
  return said === undefined ? client.address : canonicalIp(said.trim());
}
