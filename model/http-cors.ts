/**
 * Cross-origin requests of browsers: what a preflight is answered with, and what an actual response gets (Fetch §3.2).
 */
import { headerOf, type HttpHead } from './http-head.ts';
import type { HttpCors } from './http-route.ts';

export type CorsHeaders = readonly (readonly [name: string, value: string])[];

/** Whether a request is a preflight. */
export function isPreflight(head: HttpHead): boolean {
  return (
    head.method === 'OPTIONS' &&
    headerOf(head.headers, 'origin') !== null &&
    headerOf(head.headers, 'access-control-request-method') !== null
  );
}

/** Headers of the answer to a preflight; without any where the origin or method is not allowed. */
export function preflightHeaders(head: HttpHead, cors: HttpCors): CorsHeaders {
  const shared = responseHeaders(head, cors);
  const method = headerOf(head.headers, 'access-control-request-method') ?? '';
  const asked = headerOf(head.headers, 'access-control-request-headers');
  if (!isAllowed(shared) || !allowsMethod(cors, method)) return [];
  const methods = cors.allowMethods.includes('*') ? method : cors.allowMethods.join(', ');
  const headers = cors.allowHeaders.includes('*') ? (asked ?? '') : cors.allowHeaders.join(', ');
  return [
    ...shared.filter(([name]) => name !== 'access-control-expose-headers'),
    ...(methods === '' ? [] : ([['access-control-allow-methods', methods]] as const)),
    ...(headers === '' ? [] : ([['access-control-allow-headers', headers]] as const)),
    ['access-control-max-age', String(cors.maxAgeSeconds)],
  ];
}

/** Headers that the response to a cross-origin request gets. */
export function responseHeaders(head: HttpHead, cors: HttpCors): CorsHeaders {
  const origin = headerOf(head.headers, 'origin');
  if (origin === null) return [];
  // The answer depends on who asks, also where it is no.
  const vary = ['vary', 'origin'] as const;
  if (!cors.allowOrigins.some(pattern => allowsOrigin(pattern, origin))) return [vary];
  const anyone = cors.allowOrigins.includes('*') && !cors.allowCredentials;
  return [
    ['access-control-allow-origin', anyone ? '*' : origin],
    ...(cors.allowCredentials ? ([['access-control-allow-credentials', 'true']] as const) : []),
    ...(cors.exposeHeaders.length === 0
      ? []
      : ([['access-control-expose-headers', cors.exposeHeaders.join(', ')]] as const)),
    ...(anyone ? [] : [vary]),
  ];
}

function isAllowed(headers: CorsHeaders): boolean {
  return headers.some(([name]) => name === 'access-control-allow-origin');
}

/** Methods that need no preflight are always allowed (Fetch §4.8: CORS-safelisted). */
function allowsMethod(cors: HttpCors, method: string): boolean {
  return (
    cors.allowMethods.includes('*') ||
    cors.allowMethods.includes(method) ||
    ['GET', 'HEAD', 'POST'].includes(method)
  );
}

/** `*` as the first label stands for one or more labels. */
function allowsOrigin(pattern: string, origin: string): boolean {
  if (pattern === '*') return true;
  const given = origin.toLowerCase();
  const wanted = pattern.toLowerCase();
  const star = wanted.indexOf('*');
  if (star < 0) return given === wanted;
  const [before, after] = [wanted.slice(0, star), wanted.slice(star + 1)];
  if (given.length <= before.length + after.length) return false;
  if (!given.startsWith(before) || !given.endsWith(after)) return false;
  return !/[/:@]/.test(given.slice(before.length, given.length - after.length));
}
