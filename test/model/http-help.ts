/** Routes and requests for tests, of which a test says only what it is about. */
import { httpPrecedence } from '../../model/http-match.ts';
import type { HttpHead } from '../../model/http-head.ts';
import type { HttpBackend, HttpMatch, HttpRoute, HttpRule } from '../../model/http-route.ts';

export const service = 'shop/web.shop.svc.cluster.local';

export function head(path: string, changes: Partial<HttpHead> = {}): HttpHead {
  const [bare = '/', query] = path.split('?', 2);
  return {
    method: 'GET',
    path: bare,
    query: query ?? null,
    scheme: 'http',
    authority: 'web',
    headers: [],
    ...changes,
  };
}

export function match(changes: Partial<Omit<HttpMatch, 'precedence'>> = {}): HttpMatch {
  const parts = {
    path: { type: 'prefix', value: '' },
    method: null,
    headers: [],
    query: [],
    ...changes,
  } as const;
  return { ...parts, precedence: httpPrecedence(parts) };
}

export function prefix(value: string): HttpMatch {
  return match({ path: { type: 'prefix', value } });
}

export function exact(value: string): HttpMatch {
  return match({ path: { type: 'exact', value } });
}

export function backend(name: string, changes: Partial<HttpBackend> = {}): HttpBackend {
  const parts = {
    service: `shop/${name}.shop.svc.cluster.local`,
    port: 80,
    subset: null,
    weight: 1,
    filters: [],
    invalid: null,
  };
  return { ...parts, ...changes };
}

export function rule(matches: readonly HttpMatch[], changes: Partial<HttpRule> = {}): HttpRule {
  return {
    name: null,
    matches,
    filters: [],
    backends: [backend('web')],
    timeouts: { requestMs: null, backendRequestMs: null },
    retry: null,
    session: null,
    ...changes,
  };
}

export function route(name: string, rules: readonly HttpRule[], changes: Partial<HttpRoute> = {}): HttpRoute {
  return {
    kind: 'HTTPRoute',
    namespace: 'shop',
    name,
    createdAt: 0,
    parents: [{ service, port: null }],
    rules,
    ...changes,
  };
}
