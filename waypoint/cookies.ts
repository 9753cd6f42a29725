/** Cookies (RFC 6265): the one of a name that a client sent, and the line that gives it another. */
import { headerOf, type HttpHead } from '../model/http-head.ts';

/** The value of the first cookie of a name; null where there is none. */
export function cookieOf({ headers }: HttpHead, name: string): string | null {
  const line = headerOf(headers, 'cookie');
  // HTTP/2 may cut the field in pieces, which are joined by a comma here.
  for (const pair of line?.split(/[;,]/) ?? []) {
    const equals = pair.indexOf('=');
    if (equals > 0 && pair.slice(0, equals).trim() === name)
      return pair
        .slice(equals + 1)
        .trim()
        .replace(/^"(.*)"$/, '$1');
  }
  return null;
}

export interface CookieToSet {
  readonly name: string;
  readonly value: string;
  readonly path: string;
  /** How long the client keeps it; null: until it ends its own session. */
  readonly keepMs: number | null;
  /** Further ones, as they are. */
  readonly attributes: readonly string[];
}

/** The value of `set-cookie`. Scripts of a page have no use for it. */
export function setCookie({ name, value, path, keepMs, attributes }: CookieToSet): string {
  const age = keepMs === null ? [] : [`Max-Age=${Math.ceil(keepMs / 1000)}`];
  return [`${name}=${value}`, ...age, `Path=${path}`, 'HttpOnly', ...attributes].join('; ');
}
