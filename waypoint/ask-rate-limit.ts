/**
 * Asks a service that counts for all waypoints whether a request is within its limits: any server of Envoy's rate-limit
 * protocol (gRPC). It is reached like everything else, by a tunnel where it is in the mesh.
 */
import { asCulvertError, CulvertError } from '../base/errors.ts';
import type { HeaderChange } from '../model/http-route.ts';
import { type Codec, loadProtocol } from '../proto/load.ts';
import type { WaypointContext } from './context.ts';
import { callUnary } from './grpc-call.ts';
import type { RateAsk, RateEntryValue } from './rate-limits.ts';

const path = '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit';
const ok = 1;
const overLimit = 2;

export interface RateAnswer {
  /** Null: the request goes on. */
  readonly refusal: CulvertError | null;
  /** Headers that the service wants in the response. */
  readonly change: HeaderChange;
}

interface WireRequest {
  readonly domain: string;
  readonly descriptors: readonly { readonly entries: readonly RateEntryValue[] }[];
  readonly hitsAddend: number;
}

interface WireResponse {
  readonly overallCode: number;
  readonly statuses: readonly {
    readonly code: number;
    readonly currentLimit: { readonly name: string } | null;
  }[];
  readonly responseHeadersToAdd: readonly { readonly key: string; readonly value: string }[];
}

interface Codecs {
  readonly request: Codec<WireRequest>;
  readonly response: Codec<WireResponse>;
}

let codecs: Codecs | null = null;

function protocol(): Codecs {
  if (codecs === null) {
    const loaded = loadProtocol('ratelimit.proto');
    codecs = {
      request: loaded.message<WireRequest>('culvert.ratelimit.RateLimitRequest'),
      response: loaded.message<WireResponse>('culvert.ratelimit.RateLimitResponse'),
    };
  }
  return codecs;
}

/** Never rejects: what happens while the service can not be asked is for the limit to say. */
export async function askRateLimit(
  context: WaypointContext,
  { limit, descriptors }: RateAsk,
): Promise<RateAnswer> {
  const { service, port, domain, timeoutMs, failClosed } = limit;
  try {
    const { request, response } = protocol();
    const message = request.encode({
      domain,
      hitsAddend: 0,
      descriptors: descriptors.map(entries => ({ entries })),
    });
    const { overallCode, responseHeadersToAdd, statuses } = response.decode(
      await callUnary(context, { service, port, path, message, timeoutMs }),
    );
    if (overallCode !== ok && overallCode !== overLimit)
      throw new CulvertError('RATE_LIMIT_UNAVAILABLE', `${service} answers with code ${overallCode}`);
    const change: HeaderChange = {
      set: responseHeadersToAdd.flatMap(({ key, value }) => safeHeader(key, value)),
      add: [],
      remove: [],
    };
    context.metrics.rateLimited('global', overallCode === ok ? 'allowed' : 'refused');
    if (overallCode === ok) return { refusal: null, change };
    const struck = statuses.find(({ code }) => code === overLimit)?.currentLimit?.name ?? '';
    const what = struck === '' ? `of domain ${domain}` : struck;
    return {
      refusal: new CulvertError('RATE_LIMITED', `more than the limit ${what} permits`, { side: 'client' }),
      change,
    };
  } catch (thrown) {
    const { code, message } = asCulvertError(thrown, 'RATE_LIMIT_UNAVAILABLE');
    context.metrics.rateLimited('global', failClosed ? 'refused-unasked' : 'allowed-unasked');
    context.log.warn(
      { code: 'RATE_LIMIT_UNAVAILABLE', err: `${code}: ${message}`, service },
      'rate limit not asked',
    );
    const why = 'whether the request is within its limit can not be asked';
    const refusal = failClosed ? new CulvertError('RATE_LIMIT_UNAVAILABLE', why, { side: 'server' }) : null;
    return { refusal, change: { set: [], add: [], remove: [] } };
  }
}

/** What a service says may not become another header, or another response. */
function safeHeader(key: string, value: string): [string, string][] {
  const isSafe = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/.test(key) && /^[\t\x20-\x7e]*$/.test(value);
  const name = key.toLowerCase();
  return isSafe && !['content-length', 'transfer-encoding', 'connection'].includes(name)
    ? [[name, value]]
    : [];
}
