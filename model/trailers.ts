/**
 * Trailer fields of requests: those that may be passed on (RFC 9110 §6.5.1). A field that says how a message is to be read,
 * where it goes or who sends it comes too late in a trailer, and one that a server takes for a header all the same would say
 * it past every policy.
 */
import { headerOf, type HeaderList } from './http-head.ts';

const forbidden: ReadonlySet<string> = new Set([
  // Framing, and what belongs to one connection.
  'connection',
  'content-length',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  // Routing and conditions.
  'cache-control',
  'expect',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'max-forwards',
  'pragma',
  'range',
  // Who sends it.
  'authorization',
  'cookie',
  'forwarded',
  'proxy-authenticate',
  'proxy-authorization',
  'set-cookie',
  'via',
  'www-authenticate',
  // How the content is to be read.
  'content-encoding',
  'content-range',
  'content-type',
  // What is said about a trace, at the beginning.
  'b3',
  'traceparent',
  'tracestate',
]);

/** Without those that may not be trailers; names in any case. */
export function passableTrailers(list: HeaderList): HeaderList {
  const kept: string[] = [];
  for (let at = 0; at < list.length; at += 2) {
    const name = (list[at] ?? '').toLowerCase();
    if (forbidden.has(name) || name.startsWith('x-forwarded-') || !/^[!#$%&'*+.^_`|~\w-]+$/.test(name))
      continue;
    kept.push(list[at] ?? '', list[at + 1] ?? '');
  }
  return kept;
}

/** Whether a request says that trailers come, and is sent in pieces, as they need it. */
export function announcesTrailers(headers: HeaderList): boolean {
  return headerOf(headers, 'trailer') !== null && headerOf(headers, 'content-length') === null;
}
