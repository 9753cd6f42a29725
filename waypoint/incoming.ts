/**
 * One request of a client as the rest of the waypoint works with it, whichever version of HTTP it came by: http1-in.ts and
 * http2-in.ts make these, exchange.ts answers them.
 */
import type { Duplex } from 'node:stream';
import type { HeaderList, HttpHead } from '../model/http-head.ts';
import type { RequestBody } from './body.ts';
import type { Client, Destination } from './context.ts';

export interface Incoming {
  readonly client: Client;
  readonly destination: Destination;
  readonly version: 1 | 2;
  readonly head: HttpHead;
  /** Null where the request has none. */
  readonly body: RequestBody | null;
  /** The protocol that an HTTP/1.1 client asks to go on with on this connection. */
  readonly upgrade: string | null;
  /** A response before the final one: 103, say. */
  inform(status: number, headers: HeaderList): void;
  /** The final status and headers; once. `hasBody` false: nothing follows but the end. */
  respond(status: number, headers: HeaderList, hasBody: boolean): void;
  /** False: wait for `onDrain`. */
  write(chunk: Buffer): boolean;
  end(trailers: HeaderList): void;
  /** Breaks off: the client must not take what it has for the whole. `code` is an HTTP/2 error code. */
  abort(code: number): void;
  /** Answers 101 and hands over what is under the request. */
  switchTo(headers: HeaderList): Duplex;
  onDrain: () => void;
  /** The client is gone, or everything was sent. Once. */
  onClose: () => void;
}

/** Fields that belong to one connection (RFC 9110 §7.6.1); `transfer-encoding` and `upgrade` are made anew. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'te',
  'http2-settings',
  'proxy-authenticate',
  'proxy-authorization',
]);

/** What says that trailers follow: to be left out (`endToEnd`) where there are none. */
export const announcement: ReadonlySet<string> = new Set(['trailer']);

/** The list without what belongs to one connection, and without what its Connection field names. */
export function endToEnd(headers: HeaderList, drop: ReadonlySet<string> = none): string[] {
  const kept: string[] = [];
  let named: string[] | null = null;
  for (let at = 0; at < headers.length; at += 2) {
    const name = (headers[at] ?? '').toLowerCase();
    if (name === 'connection') named = [...(named ?? []), ...tokens(headers[at + 1] ?? '')];
    if (!hopByHop.has(name) && !drop.has(name)) kept.push(headers[at] ?? '', headers[at + 1] ?? '');
  }
  // What a client may not name: lengths decide where a message ends, and what we add is no client's to remove.
  const removable = named?.filter(
    name => name !== 'close' && name !== 'keep-alive' && !protectedFields.has(name),
  );
  if (removable === undefined || removable.length === 0) return kept;
  const remaining: string[] = [];
  for (let at = 0; at < kept.length; at += 2) {
    if (!removable.includes((kept[at] ?? '').toLowerCase()))
      remaining.push(kept[at] ?? '', kept[at + 1] ?? '');
  }
  return remaining;
}

const none: ReadonlySet<string> = new Set();
const protectedFields: ReadonlySet<string> = new Set(['content-length', 'host', 'authorization', 'cookie']);

function tokens(value: string): string[] {
  return value.split(',').map(token => token.trim().toLowerCase());
}

/** Lower-case names, several values as a list: what node:http2 takes. */
export function fieldsOf(headers: HeaderList): Record<string, string | string[]> {
  // Of nobody's kind, so that a field may be named `constructor`.
  const fields = Object.create(null) as Record<string, string | string[]>;
  const list = endToEnd(headers);
  for (let at = 0; at < list.length; at += 2) {
    const name = (list[at] ?? '').toLowerCase();
    const value = list[at + 1] ?? '';
    const known = fields[name];
    if (known === undefined) fields[name] = value;
    else fields[name] = Array.isArray(known) ? [...known, value] : [known, value];
  }
  return fields;
}
