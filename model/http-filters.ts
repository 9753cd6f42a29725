/**
 * What filters make of a request and of its response: headers changed, the path rewritten, or a redirect instead.
 */
import { headerOf, hostOf, isNamed, type HeaderList, type HttpHead } from './http-head.ts';
import type { HeaderChange, HttpMatch, HttpRedirect, HttpRewrite, PathChange } from './http-route.ts';

/** The list with a change made. */
export function changeHeaders(headers: HeaderList, change: HeaderChange): HeaderList {
  const { set, add, remove } = change;
  const gone = [...remove, ...set.map(([name]) => name)];
  const changed: string[] = [];
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? '';
    if (!gone.some(removed => isNamed(name, removed))) changed.push(name, headers[at + 1] ?? '');
  }
  for (const [name, value] of set) changed.push(name, value);
  for (const [name, value] of add) {
    // One line for all values of a header is what most servers read, where two lines are not always joined.
    const before = headerOf(changed, name);
    if (before === null || name === 'set-cookie') changed.push(name, value);
    else replace(changed, name, `${before},${value}`);
  }
  return changed;
}

function replace(headers: string[], name: string, value: string): void {
  for (let at = headers.length - 2; at >= 0; at -= 2) if (isNamed(headers[at], name)) headers.splice(at, 2);
  headers.push(name, value);
}

/**
 * The path after a change.
 * @param match what the request was matched by: a prefix is replaced where it is one, else the whole path is kept
 */
export function changePath(path: string, change: PathChange, match: HttpMatch): string {
  if (change.type === 'full') return change.value === '' ? '/' : change.value;
  if (change.type === 'pattern') {
    const changed = path.replaceAll(new RegExp(change.pattern, 'g'), change.value);
    return changed.startsWith('/') ? changed : `/${changed}`;
  }
  if (match.path.type === 'start') {
    const started = change.value + path.slice(match.path.value.length);
    return started.startsWith('/') ? started : `/${started}`;
  }
  if (match.path.type !== 'prefix') return path;
  const rest = path.slice(match.path.value.length);
  const start = change.value.endsWith('/') ? change.value.slice(0, -1) : change.value;
  const joined = rest === '' || rest.startsWith('/') ? start + rest : `${start}/${rest}`;
  return joined.startsWith('/') ? joined : `/${joined}`;
}

/** The request after a rewrite. */
export function rewrite(head: HttpHead, { hostname, path }: HttpRewrite, match: HttpMatch): HttpHead {
  return {
    ...head,
    authority: hostname ?? head.authority,
    path: path === null ? head.path : changePath(head.path, path, match),
  };
}

const wellKnownPorts = { http: 80, https: 443 } as const;

/**
 * Where a redirect sends the client.
 * @param listenerPort the port of the service that was asked
 */
export function redirectLocation(
  head: HttpHead,
  redirect: HttpRedirect,
  match: HttpMatch,
  listenerPort: number,
): string {
  const scheme = redirect.scheme ?? head.scheme;
  const host = redirect.hostname ?? hostOf(head.authority);
  const port = redirect.port ?? (redirect.scheme === null ? listenerPort : wellKnownPorts[scheme]);
  const path = redirect.path === null ? head.path : changePath(head.path, redirect.path, match);
  const query = head.query === null ? '' : `?${head.query}`;
  return `${scheme}://${host}${port === wellKnownPorts[scheme] ? '' : `:${port}`}${path}${query}`;
}
