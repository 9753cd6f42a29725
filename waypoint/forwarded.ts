/**
 * What a waypoint tells the next one about a request: where it came from, whose it is, and which trace it belongs to.
 *
 * Fields that say who the client is are ours alone to write: what a client claims about itself is removed.
 */
import { randomUUID } from 'node:crypto';
import { headerOf, type HeaderList, type HttpHead } from '../model/http-head.ts';
import { newTraceparent, traceId } from '../tunnel/connect-request.ts';
import type { Client } from './context.ts';

export interface Traced {
  readonly head: HttpHead;
  readonly traceId: string | null;
  readonly requestId: string;
}

/**
 * The head with `x-forwarded-for`, `x-forwarded-client-cert`, `x-request-id` and `traceparent` (W3C Trace Context). A
 * context that came is passed on as it is: this process writes no spans that could stand between.
 * @param own SPIFFE ID of this waypoint
 */
export function withContext(head: HttpHead, client: Client, own: string): Traced {
  const { headers } = head;
  const kept = without(headers, 'x-forwarded-client-cert');
  const before = headerOf(headers, 'x-forwarded-for');
  const list = before === null ? kept : without(kept, 'x-forwarded-for');
  list.push('x-forwarded-for', before === null ? client.address : `${before}, ${client.address}`);
  list.push('x-forwarded-client-cert', `By=${own};URI=${client.identity}`);
  if (headerOf(headers, 'x-forwarded-proto') === null) list.push('x-forwarded-proto', head.scheme);
  const given = headerOf(headers, 'x-request-id');
  const requestId = given ?? randomUUID();
  if (given === null) list.push('x-request-id', requestId);
  const parent = headerOf(headers, 'traceparent');
  let trace = traceId(parent);
  if (trace !== null) return { head: { ...head, headers: list }, traceId: trace, requestId };
  // A context that can not be read is none (W3C Trace Context §3.2.1), and its tracestate belongs to nothing.
  const made = newTraceparent();
  trace = traceId(made);
  const fresh = parent === null ? list : without(without(list, 'traceparent'), 'tracestate');
  fresh.push('traceparent', made);
  return { head: { ...head, headers: fresh }, traceId: trace, requestId };
}

function without(headers: HeaderList, name: string): string[] {
  const kept: string[] = [];
  for (let at = 0; at < headers.length; at += 2) {
    const field = headers[at] ?? '';
    if (field.length !== name.length || field.toLowerCase() !== name) kept.push(field, headers[at + 1] ?? '');
  }
  return kept;
}
