/** What a rule of a VirtualService does with a request: filters, timeouts and retries. */
import type {
  HeaderChange,
  HttpFilter,
  HttpRedirect,
  HttpRetry,
  HttpTimeouts,
  PathChange,
  RetryCondition,
} from '../model/http-route.ts';
import { goDurationMs } from '../model/kinds/durations.ts';
import type { VirtualServiceHttp } from '../model/kinds/virtual-service.ts';
import type { Say } from './finding.ts';
import { patternProblem } from './pattern.ts';

type Headers = NonNullable<VirtualServiceHttp['headers']>;

/** Changes of headers: of the request first, then of the response. */
export function headerFilters(headers: Headers | undefined): HttpFilter[] {
  const filters: HttpFilter[] = [];
  if (headers?.request !== undefined)
    filters.push({ type: 'request-headers', change: changeOf(headers.request) });
  if (headers?.response !== undefined)
    filters.push({ type: 'response-headers', change: changeOf(headers.response) });
  return filters;
}

function changeOf({ set = {}, add = {}, remove = [] }: NonNullable<Headers['request']>): HeaderChange {
  return { set: Object.entries(set), add: Object.entries(add), remove };
}

/** The path and host that endpoints see; a text that says why it can not be done. */
export function rewriteOf(rewrite: NonNullable<VirtualServiceHttp['rewrite']>): HttpFilter | string {
  const { uri, authority: hostname = null, uriRegexRewrite } = rewrite;
  let path: PathChange | null = uri === undefined ? null : { type: 'prefix', value: uri };
  if (uriRegexRewrite !== undefined) {
    const problem = patternProblem(uriRegexRewrite.match);
    if (problem !== null) return problem;
    // `\1` of RE2 is `$1` here, and a dollar is none.
    const value = uriRegexRewrite.rewrite.replaceAll('$', '$$$$').replaceAll(/\\(\d)/g, '$$$1');
    path = { type: 'pattern', pattern: uriRegexRewrite.match, value };
  }
  return { type: 'rewrite', rewrite: { hostname, path } };
}

export function redirectOf(redirect: NonNullable<VirtualServiceHttp['redirect']>): HttpFilter {
  const { uri, authority: hostname = null, scheme = null, port, derivePort, redirectCode = 301 } = redirect;
  const wellKnown = scheme === 'https' ? 443 : 80;
  // Another host has no port unless one is asked for.
  const isPlain = derivePort === 'FROM_PROTOCOL_DEFAULT' || (derivePort === undefined && hostname !== null);
  return {
    type: 'redirect',
    redirect: {
      scheme,
      hostname,
      path: uri === undefined ? null : { type: 'full', value: uri },
      port: port ?? (isPlain ? wellKnown : null),
      // Its schema takes no others.
      status: redirectCode as HttpRedirect['status'],
    },
  };
}

export function answerOf({ status, body }: NonNullable<VirtualServiceHttp['directResponse']>): HttpFilter {
  const text =
    body?.string === undefined ? (body?.bytes ?? null) : Buffer.from(body.string).toString('base64');
  return { type: 'answer', answer: { status, body: text } };
}

export function corsOf(
  policy: NonNullable<VirtualServiceHttp['corsPolicy']>,
  field: string,
  say: Say,
): HttpFilter {
  const allowOrigins = [...(policy.allowOrigin ?? [])];
  for (const [index, { exact, prefix, regex }] of (policy.allowOrigins ?? []).entries()) {
    if (exact !== undefined) allowOrigins.push(exact);
    else if (regex === '.*' || prefix === '') allowOrigins.push('*');
    else {
      const message = 'not allowed: an origin is exact, or all are';
      say('error', 'unsupported-route', `${field}.allowOrigins[${index}]`, message);
    }
  }
  return {
    type: 'cors',
    cors: {
      allowOrigins,
      allowMethods: policy.allowMethods ?? [],
      allowHeaders: policy.allowHeaders ?? [],
      exposeHeaders: policy.exposeHeaders ?? [],
      allowCredentials: policy.allowCredentials ?? false,
      maxAgeSeconds: Math.round(goDurationMs(policy.maxAge ?? '5s') / 1_000),
    },
  };
}

const grpcNumbers = new Map([
  ['CANCELLED', 1],
  ['UNKNOWN', 2],
  ['INVALID_ARGUMENT', 3],
  ['DEADLINE_EXCEEDED', 4],
  ['NOT_FOUND', 5],
  ['ALREADY_EXISTS', 6],
  ['PERMISSION_DENIED', 7],
  ['RESOURCE_EXHAUSTED', 8],
  ['FAILED_PRECONDITION', 9],
  ['ABORTED', 10],
  ['OUT_OF_RANGE', 11],
  ['UNIMPLEMENTED', 12],
  ['INTERNAL', 13],
  ['UNAVAILABLE', 14],
  ['DATA_LOSS', 15],
  ['UNAUTHENTICATED', 16],
]);

/** The filter, or why it can not be done. */
export function faultOf({ delay, abort }: NonNullable<VirtualServiceHttp['fault']>): HttpFilter | string {
  const shareOf = (percentage: { readonly value: number } | undefined, percent = 100): number =>
    (percentage?.value ?? percent) / 100;
  if (delay !== undefined && delay.fixedDelay === undefined) return 'a delay has a fixedDelay';
  const { grpcStatus, httpStatus } = abort ?? {};
  const grpc = grpcStatus === undefined ? null : (grpcNumbers.get(grpcStatus) ?? Number(grpcStatus));
  if (grpc !== null && !(grpc >= 0 && grpc <= 16)) return `${grpcStatus} is no status of gRPC`;
  if (abort !== undefined && httpStatus === undefined && grpc === null)
    return 'an abort has a httpStatus or grpcStatus';
  return {
    type: 'fault',
    fault: {
      delay:
        delay === undefined
          ? null
          : { share: shareOf(delay.percentage, delay.percent), ms: goDurationMs(delay.fixedDelay ?? '0s') },
      abort:
        abort === undefined
          ? null
          : { share: shareOf(abort.percentage), status: httpStatus ?? 200, grpcStatus: grpc },
    },
  };
}

const conditions: ReadonlySet<string> = new Set<RetryCondition>([
  '5xx',
  'gateway-error',
  'connect-failure',
  'refused-stream',
  'reset',
  'reset-before-request',
  'retriable-4xx',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]);
const usual = 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes';
const usualAttempts = 2;
const usualBackoff = '25ms';

export function retryOf(
  { retries, timeout }: VirtualServiceHttp,
  field: string,
  say: Say,
): { readonly retry: HttpRetry | null; readonly timeouts: HttpTimeouts } {
  const limit = (text: string | undefined): number | null => {
    const ms = goDurationMs(text ?? '0s');
    return ms === 0 ? null : ms;
  };
  const timeouts = { requestMs: limit(timeout), backendRequestMs: limit(retries?.perTryTimeout) };
  if (retries === undefined) return { retry: null, timeouts };
  const on: RetryCondition[] = [];
  const codes: number[] = [];
  for (const token of (retries.retryOn ?? usual).split(',').map(part => part.trim())) {
    if (/^[1-5]\d\d$/.test(token)) codes.push(Number(token));
    else if (isCondition(token)) on.push(token);
    else if (token !== '' && token !== 'retriable-status-codes') {
      const message = `nothing is tried again for ${token}: it is not known`;
      say('warning', 'unsupported-value', `${field}.retries.retryOn`, message);
    }
  }
  // A try that took too long has failed as one that broke off has.
  if (timeouts.backendRequestMs !== null && on.length > 0) on.push('timeout');
  return {
    retry: {
      attempts: retries.attempts ?? usualAttempts,
      on,
      codes,
      backoffMs: goDurationMs(retries.backoff ?? usualBackoff),
      remoteLocalities: retries.retryRemoteLocalities ?? null,
    },
    timeouts,
  };
}

function isCondition(token: string): token is RetryCondition {
  return conditions.has(token);
}
