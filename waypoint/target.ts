/** What a request is addressed to, held against what may be: shared by both versions of HTTP. */
import type { HttpHead } from '../model/http-head.ts';
import { normalisePath } from '../model/http-path.ts';

/** Path and query of a request target that begins with `/`, or what is wrong with it. */
export function splitTarget(
  target: string,
  authority: string,
): Pick<HttpHead, 'path' | 'query' | 'authority'> | string {
  const mark = target.indexOf('?');
  const path = normalisePath(mark < 0 ? target : target.slice(0, mark));
  if (path === null) return 'path that can not be';
  const query = mark < 0 ? null : target.slice(mark + 1);
  if (query !== null && !/^[\x21-\x22\x24-\x7e]*$/.test(query)) return 'query that can not be';
  return { path, query, authority };
}

/**
 * Empty, or host and perhaps port: nothing that another program could take for a path or a user, and no name that it could
 * read as another (escapes, several dots).
 */
export function isAuthority(text: string): boolean {
  if (text.includes('..')) return false;
  return /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=]*)(?::\d{0,5})?$/.test(text);
}

/** What applications that fold the case of methods could take for another is none. */
export function isMethod(text: string): boolean {
  return /^[A-Z][A-Z0-9!#$%&'*+\-.^_`|~]*$/.test(text);
}
