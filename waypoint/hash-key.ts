/**
 * What of a request is hashed, so that requests that are alike go to one endpoint; and the cookie that is given to a client
 * that has none yet.
 */
import { randomUUID } from 'node:crypto';
import { hash32 } from '../model/hash-table.ts';
import { headerOf, type HttpHead } from '../model/http-head.ts';
import type { HashCookie, HashKey } from '../model/traffic-policy.ts';

import { cookieOf, setCookie } from './cookies.ts';
import type { Client } from './context.ts';

export interface Hash {
  readonly value: number;
  /** Value of `set-cookie` for the client; null: none. */
  readonly cookie: string | null;
}

/** Null where the request has nothing that could be hashed. */
export function hashOf(key: HashKey, client: Client | null, head: HttpHead | null): Hash | null {
  if (key.type === 'source') return client === null ? null : plain(client.address);
  if (head === null) return null;
  if (key.type === 'cookie') return cookieHash(key, head);
  const text =
    key.type === 'header'
      ? headerOf(head.headers, key.name)
      : new URLSearchParams(head.query ?? '').get(key.name);
  return text === null ? null : plain(text);
}

function plain(text: string): Hash {
  return { value: hash32(text), cookie: null };
}

function cookieHash(key: HashCookie, head: HttpHead): Hash | null {
  const known = cookieOf(head, key.name);
  if (known !== null) return plain(known);
  if (key.ttlMs === null) return null;
  const made = randomUUID();
  const { name, path, ttlMs, attributes } = key;
  const cookie = setCookie({ name, value: made, path, keepMs: ttlMs === 0 ? null : ttlMs, attributes });
  return { value: hash32(made), cookie };
}
