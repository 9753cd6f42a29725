/**
 * The head of a request as routing sees it, whichever version of HTTP it came by.
 *
 * Headers are one flat list, name and value in turn, as parsers give them: nothing is made per header.
 */
export interface HttpHead {
  readonly method: string;
  /** Normalised (http-path.ts), without the query. */
  readonly path: string;
  /** What follows the `?`; null where there is none. */
  readonly query: string | null;
  readonly scheme: 'http' | 'https';
  /** `host` or `host:port`, as the client wrote it. */
  readonly authority: string;
  /** Without `host` and pseudo headers. */
  readonly headers: HeaderList;
}

/** `[name, value, name, value, …]` in order of arrival, names in any case. */
export type HeaderList = readonly string[];

/** The value of a header (lower-case name): several are joined by `, `. Null where there is none. */
export function headerOf(headers: HeaderList, name: string): string | null {
  let found: string | null = null;
  for (let at = 0; at < headers.length; at += 2) {
    if (!isNamed(headers[at], name)) continue;
    const value = headers[at + 1] ?? '';
    found = found === null ? value : `${found}, ${value}`;
  }
  return found;
}

/** Whether a header name is `name`, which is lower-case. */
export function isNamed(header: string | undefined, name: string): boolean {
  return header?.length === name.length && (header === name || header.toLowerCase() === name);
}

/** Host of an authority, without its port; IPv6 keeps its brackets. */
export function hostOf(authority: string): string {
  const colon = authority.lastIndexOf(':');
  return colon > authority.lastIndexOf(']') ? authority.slice(0, colon) : authority;
}
