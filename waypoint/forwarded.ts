/**
 * What a waypoint tells the next one about a request: where it came from, whose it is, and which trace it belongs to.
 *
 * Fields that say who the client is are ours alone to write: what a client claims about itself is removed.
 */
import { randomUUID } from 'node:crypto';
import type { HttpHead } from '../model/http-head.ts';
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
  const list: string[] = [];
  let [forwardedFor, requestId, parent] = ['', '', ''];
  let hasProto = false;
  let state = -1;
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? '';
    const value = headers[at + 1] ?? '';
    const first = name.charCodeAt(0) | 0x20;
    // Only names that begin with x or t matter here.
    if (first === 0x78 || first === 0x74) {
      const known = name.toLowerCase();
      if (known === 'x-forwarded-client-cert') continue;
      if (known === 'x-forwarded-for') {
        forwardedFor += `${value}, `;
        continue;
      }
      if (known === 'x-forwarded-proto') hasProto = true;
      else if (known === 'x-request-id') requestId ||= value;
      else if (known === 'traceparent') {
        // Two of them are as good as none.
        parent = parent === '' ? value : 'several';
        continue;
      } else if (known === 'tracestate') state = list.length;
    }
    list.push(name, value);
  }
  let trace = traceId(parent);
  if (trace === null) {
    // A context that can not be read is none (W3C Trace Context §3.2.1), and its tracestate belongs to nothing.
    if (state >= 0) list.splice(state, 2);
    parent = newTraceparent();
    trace = traceId(parent);
  }
  if (!hasProto) list.push('x-forwarded-proto', head.scheme);
  if (requestId === '') {
    requestId = randomUUID();
    list.push('x-request-id', requestId);
  }
  list.push('x-forwarded-for', forwardedFor + client.address);
  list.push('x-forwarded-client-cert', `By=${own};URI=${client.identity}`, 'traceparent', parent);
  return { head: { ...head, headers: list }, traceId: trace, requestId };
}
