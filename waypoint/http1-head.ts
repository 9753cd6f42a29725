/**
 * The head of a request of HTTP/1.1, held against what Node's parser leaves to others, so that no two programs can read one request
 * as different ones.
 */
import type { IncomingMessage } from 'node:http';
import type { HttpHead } from '../model/http-head.ts';
import { endToEnd } from './incoming.ts';
import { isAuthority, splitTarget } from './target.ts';

/** The one trouble that has a status of its own. */
export const tooManyFields = 'too many header fields';

/** The head of a request, or why it is none. */
export function readHead(
  request: Pick<IncomingMessage, 'rawHeaders' | 'url' | 'method' | 'httpVersionMinor'>,
  maxFields: number,
): HttpHead | string {
  const { rawHeaders, url = '', method = '', httpVersionMinor } = request;
  if (rawHeaders.length > 2 * maxFields) return tooManyFields;
  let host: string | null = null;
  let lengths = 0;
  let codings = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const value = rawHeaders[at + 1] ?? '';
    const name = rawHeaders[at] ?? '';
    switch (name.length === 4 || name.length >= 14 ? name.toLowerCase() : '') {
      case 'host':
        if (host !== null) return 'more than one Host';
        host = value;
        break;
      case 'content-length':
        lengths += 1;
        if (!/^\d{1,15}$/.test(value)) return 'Content-Length is no number';
        break;
      case 'transfer-encoding':
        codings += 1;
        if (value.toLowerCase() !== 'chunked') return 'Transfer-Encoding other than chunked';
        break;
    }
    if (value.includes('\r') || value.includes('\n')) return 'folded header field';
  }
  if (lengths + codings > 1) return 'more than one length';
  if (codings > 0 && httpVersionMinor === 0) return 'Transfer-Encoding in HTTP/1.0';
  if (host === null && httpVersionMinor > 0) return 'no Host';
  const target = readTarget(url, host ?? '');
  if (typeof target === 'string') return target;
  return { method, scheme: 'http', headers: endToEnd(rawHeaders, made), ...target };
}

const made: ReadonlySet<string> = new Set(['host', 'expect']);

/** RFC 9112 §3.2: path or absolute URL, whose authority must be what Host says. */
function readTarget(url: string, host: string): Pick<HttpHead, 'path' | 'query' | 'authority'> | string {
  let rest = url;
  if (!isAuthority(host)) return 'Host is no host';
  if (!url.startsWith('/')) {
    const [, authority, path] = /^http:\/\/([^/?#]*)([^#]*)$/i.exec(url) ?? [];
    if (authority === undefined || path === undefined) return 'request target is neither path nor http URL';
    if (authority.toLowerCase() !== host.toLowerCase()) return 'request target and Host differ';
    rest = path.startsWith('/') ? path : `/${path}`;
  }
  return splitTarget(rest, host);
}
