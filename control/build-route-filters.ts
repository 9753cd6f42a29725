/** The filters of routes. One that can not be done makes its whole rule, or backend, answer with 500. */
import type { HeaderChange, HttpFilter, HttpMatch, PathChange } from '../model/http-route.ts';
import type { HttpRouteFilter } from '../model/kinds/http-route.ts';
import { faultOf, rateLimitOf } from './build-rate-limits.ts';
import { extensionKinds, type RouteScope } from './build-route-scope.ts';

export interface Filters {
  readonly filters: readonly HttpFilter[];
  /** Why they can not be done; null where they can. */
  readonly problem: string | null;
}

/** @param matches of the rule: replacing a prefix needs one */
export function filtersOf(
  scope: RouteScope,
  filters: readonly HttpRouteFilter[],
  field: string,
  matches: readonly HttpMatch[],
): Filters {
  const translated: HttpFilter[] = [];
  let problem: string | null = null;
  for (const [index, filter] of filters.entries()) {
    const place = `${field}[${index}]`;
    const result = filterOf(scope, filter, place, matches);
    if (typeof result === 'string') {
      problem ??= result;
      scope.say('error', 'unsupported-route', place, `requests that match are answered with 500: ${result}`);
    } else if (result !== null) translated.push(result);
  }
  return { filters: translated, problem };
}

/** The filter, why it can not be done, or null where it is left out (and that was said). */
function filterOf(
  scope: RouteScope,
  filter: HttpRouteFilter,
  field: string,
  matches: readonly HttpMatch[],
): HttpFilter | string | null {
  const { requestHeaderModifier, responseHeaderModifier, requestRedirect, requestMirror, urlRewrite, cors } =
    filter;
  switch (filter.type) {
    case 'RequestHeaderModifier':
      if (requestHeaderModifier === undefined) break;
      return { type: 'request-headers', change: headerChange(requestHeaderModifier) };
    case 'ResponseHeaderModifier':
      if (responseHeaderModifier === undefined) break;
      return { type: 'response-headers', change: headerChange(responseHeaderModifier) };
    case 'RequestRedirect': {
      if (requestRedirect === undefined) break;
      const path = pathChange(requestRedirect.path, matches);
      if (typeof path === 'string') return path;
      const { scheme = null, hostname = null, port = null, statusCode: status } = requestRedirect;
      return { type: 'redirect', redirect: { scheme, hostname, path, port, status } };
    }
    case 'URLRewrite': {
      if (urlRewrite === undefined) break;
      const path = pathChange(urlRewrite.path, matches);
      if (typeof path === 'string') return path;
      return { type: 'rewrite', rewrite: { hostname: urlRewrite.hostname ?? null, path } };
    }
    case 'RequestMirror':
      if (requestMirror === undefined) break;
      return mirror(scope, requestMirror, `${field}.requestMirror.backendRef`);
    case 'CORS': {
      if (cors === undefined) break;
      const { maxAge: maxAgeSeconds, ...rest } = cors;
      return { type: 'cors', cors: { ...rest, maxAgeSeconds } };
    }
    case 'ExtensionRef':
      if (filter.extensionRef === undefined) break;
      return extension(scope, filter.extensionRef);
    case 'ExternalAuth':
      return `filters of type ${filter.type} are not supported`;
  }
  return `a filter of type ${filter.type} needs the member of its name`;
}

type ExtensionRef = NonNullable<HttpRouteFilter['extensionRef']>;

/** What a rule names and there is not is never passed over: it may be what keeps requests away. */
function extension(scope: RouteScope, { group, kind, name }: ExtensionRef): HttpFilter | string {
  const known = extensionKinds.find(each => each === kind);
  if (group !== 'culvert.dev' || known === undefined)
    return `a filter is a ${extensionKinds.join(' or ')} of culvert.dev, not ${kind} of ${group}`;
  const object = scope.context.extension(known, name);
  if (object === null) return `there is no ${kind} ${scope.object.namespace}/${name}`;
  return object.kind === 'RateLimit'
    ? { type: 'rate-limit', limit: rateLimitOf(object, scope.context) }
    : { type: 'fault', fault: faultOf(object) };
}

type MirrorFilter = NonNullable<HttpRouteFilter['requestMirror']>;

/** A mirror that leads nowhere is left out: the request itself goes on. */
function mirror(scope: RouteScope, filter: MirrorFilter, field: string): HttpFilter | null {
  const backend = scope.backend(filter.backendRef, field);
  if (backend.invalid !== null) return null;
  const { percent = 100, fraction } = filter;
  const share = fraction === undefined ? percent / 100 : fraction.numerator / fraction.denominator;
  return { type: 'mirror', backend: { ...backend, filters: [] }, share: Math.min(1, share) };
}

function headerChange(filter: NonNullable<HttpRouteFilter['requestHeaderModifier']>): HeaderChange {
  const pairs = (list: readonly { readonly name: string; readonly value: string }[]) =>
    list.map(({ name, value }) => [name, value] as const);
  return { set: pairs(filter.set), add: pairs(filter.add), remove: filter.remove };
}

type PathModifier = NonNullable<NonNullable<HttpRouteFilter['urlRewrite']>['path']>;

/** A change of the path, null for none, or why it can not be made. */
function pathChange(
  modifier: PathModifier | undefined,
  matches: readonly HttpMatch[],
): PathChange | string | null {
  if (modifier === undefined) return null;
  if (modifier.type === 'ReplaceFullPath') return { type: 'full', value: modifier.replaceFullPath ?? '' };
  if (matches.some(({ path }) => path.type !== 'prefix'))
    return 'ReplacePrefixMatch needs matches of type PathPrefix';
  return { type: 'prefix', value: modifier.replacePrefixMatch ?? '' };
}
