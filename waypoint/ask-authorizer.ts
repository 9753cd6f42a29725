/**
 * Asks an authorizer about one request: any server of Envoy's authorization protocol (gRPC), or an HTTP server that gets the
 * request itself. It is reached like everything else, by a tunnel where it is in the mesh.
 */
import { CulvertError } from '../base/errors.ts';
import {
  askingHeaders,
  chosenHeaders,
  nothingWanted,
  headerMap,
  isSafeField,
  pathOf,
  type Authorizer,
  type WantedHeaders,
} from '../model/authorizer.ts';
import type { HeaderList, HttpHead } from '../model/http-head.ts';
import { type Codec, loadProtocol } from '../proto/load.ts';
import { ownIdentity, type WaypointContext } from './context.ts';
import { callUnary } from './grpc-call.ts';
import { callHttp } from './http-call.ts';
import type { Incoming } from './incoming.ts';

export type AuthorizerAnswer = Allowed | Denied;

export interface Allowed {
  readonly allowed: true;
  readonly request: WantedHeaders;
  /** In the query of the request: a null value removes. */
  readonly query: readonly (readonly [name: string, value: string | null])[];
  readonly response: WantedHeaders;
}

/** What the client gets. */
export interface Denied {
  readonly allowed: false;
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Buffer;
}

/** What of a body is to be shown. */
export interface ShownBody {
  readonly bytes: Buffer;
  readonly isWhole: boolean;
}

interface WireOption {
  readonly header: { readonly key: string; readonly value: string; readonly rawValue: Buffer } | null;
  readonly append: { readonly value: boolean } | null;
  readonly appendAction: number;
}

interface WireDenied {
  readonly status: { readonly code: number } | null;
  readonly headers: readonly WireOption[];
  readonly body: string;
}

interface WireResponse {
  readonly status: { readonly code: number; readonly message: string } | null;
  readonly deniedResponse: WireDenied | null;
  readonly okResponse: {
    readonly headers: readonly WireOption[];
    readonly headersToRemove: readonly string[];
    readonly responseHeadersToAdd: readonly WireOption[];
    readonly queryParametersToSet: readonly { readonly key: string; readonly value: string }[];
    readonly queryParametersToRemove: readonly string[];
  } | null;
  readonly errorResponse: WireDenied | null;
}

interface WirePeer {
  readonly address: { readonly socketAddress: { readonly address: string; readonly portValue: number } };
  readonly service: string;
  readonly principal: string;
}

interface WireRequest {
  readonly attributes: {
    readonly source: WirePeer;
    readonly destination: WirePeer;
    readonly request: {
      readonly time: { readonly seconds: number; readonly nanos: number };
      readonly http: {
        readonly id: string;
        readonly method: string;
        readonly headers: Record<string, string>;
        readonly path: string;
        readonly host: string;
        readonly scheme: string;
        readonly size: number;
        readonly protocol: string;
        readonly body: string;
        readonly rawBody: Buffer;
      };
    };
  };
}

let codecs: { request: Codec<WireRequest>; response: Codec<WireResponse> } | null = null;

function protocol(): NonNullable<typeof codecs> {
  if (codecs === null) {
    const loaded = loadProtocol('ext-authz.proto');
    codecs = {
      request: loaded.message<WireRequest>('culvert.authz.CheckRequest'),
      response: loaded.message<WireResponse>('culvert.authz.CheckResponse'),
    };
  }
  return codecs;
}

/** Rejects where it can not be asked, or answers what is no answer. */
export function askAuthorizer(
  context: WaypointContext,
  authorizer: Authorizer,
  incoming: Incoming,
  head: HttpHead,
  body: ShownBody | null,
): Promise<AuthorizerAnswer> {
  return authorizer.protocol === 'grpc'
    ? askByGrpc(context, authorizer, incoming, head, body)
    : askByHttp(context, authorizer, head, body);
}

async function askByGrpc(
  context: WaypointContext,
  { service, port, timeoutMs, body: shows }: Authorizer,
  { client, destination, version }: Incoming,
  head: HttpHead,
  body: ShownBody | null,
): Promise<AuthorizerAnswer> {
  const { request, response } = protocol();
  const now = Date.now();
  const headers = headerMap(head);
  const bytes = body?.bytes ?? Buffer.alloc(0);
  const message = request.encode({
    attributes: {
      source: {
        address: { socketAddress: { address: client.address, portValue: client.port } },
        principal: client.identity,
      },
      destination: {
        address: { socketAddress: { address: destination.address, portValue: destination.port } },
        service: destination.kind === 'service' ? destination.service.hostname : '',
        principal: ownIdentity(context) ?? '',
      },
      request: {
        time: { seconds: Math.floor(now / 1000), nanos: (now % 1000) * 1_000_000 },
        http: {
          id: headers['x-request-id'] ?? '',
          method: head.method,
          headers,
          path: pathOf(head),
          host: head.authority,
          scheme: head.scheme,
          size: Number(headers['content-length'] ?? (body?.isWhole === true ? bytes.length : -1)),
          protocol: version === 2 ? 'HTTP/2' : 'HTTP/1.1',
          body: shows?.asBytes === true ? '' : bytes.toString(),
          rawBody: shows?.asBytes === true ? bytes : Buffer.alloc(0),
        },
      },
    },
  });
  const path = '/envoy.service.auth.v3.Authorization/Check';
  const said = response.decode(await callUnary(context, { service, port, path, message, timeoutMs }));
  const { status, deniedResponse, okResponse, errorResponse } = said;
  if (errorResponse !== null) throw failed(`${service} answers with an error`);
  const code = status?.code ?? 0;
  if (code !== 0 || deniedResponse !== null) {
    return {
      allowed: false,
      status: statusOf(deniedResponse?.status?.code ?? 0),
      headers: wantedOf(deniedResponse?.headers ?? []).set.flat(),
      body: Buffer.from(deniedResponse?.body ?? ''),
    };
  }
  const wanted = wantedOf(okResponse?.headers ?? []);
  return {
    allowed: true,
    request: { ...wanted, remove: okResponse?.headersToRemove ?? [] },
    query: [
      ...(okResponse?.queryParametersToRemove ?? []).map(name => [name, null] as const),
      ...(okResponse?.queryParametersToSet ?? []).map(({ key, value }) => [key, value] as const),
    ],
    response: { set: [], add: pairsOf(okResponse?.responseHeadersToAdd ?? []), remove: [] },
  };
}

async function askByHttp(
  context: WaypointContext,
  authorizer: Authorizer,
  head: HttpHead,
  body: ShownBody | null,
): Promise<AuthorizerAnswer> {
  const { service, port, timeoutMs, pathPrefix, toUpstream, toDownstreamOnAllow, toDownstreamOnDeny } =
    authorizer;
  const shown = body?.bytes ?? Buffer.alloc(0);
  const answer = await callHttp(context, {
    service,
    port,
    timeoutMs,
    method: head.method,
    authority: head.authority,
    path: pathPrefix.replace(/\/$/, '') + pathOf(head),
    headers: [...askingHeaders(authorizer, head), 'content-length', String(shown.length)],
    body: shown.length === 0 ? null : shown,
  });
  const { status, headers } = answer;
  if (status === 200) {
    return {
      allowed: true,
      request: { ...nothingWanted, set: joined(chosenHeaders(headers, toUpstream)) },
      query: [],
      response: { ...nothingWanted, add: chosenHeaders(headers, toDownstreamOnAllow) },
    };
  }
  if (status >= 500) throw failed(`${service} answers with HTTP ${status}`);
  const kept = chosenHeaders(headers, toDownstreamOnDeny.length === 0 ? ['*'] : toDownstreamOnDeny);
  return { allowed: false, status: statusOf(status), headers: kept.flat(), body: answer.body };
}

/** Only what refuses: a denial must not look like the endpoint's own answer. */
function statusOf(code: number): number {
  return code >= 300 && code <= 599 ? code : 403;
}

function wantedOf(options: readonly WireOption[]): WantedHeaders {
  const appends = ({ append, appendAction }: WireOption): boolean =>
    append === null ? false : append.value && appendAction === 0;
  return {
    set: pairsOf(options.filter(option => !appends(option))),
    add: pairsOf(options.filter(appends)),
    remove: [],
  };
}

function pairsOf(options: readonly WireOption[]): [string, string][] {
  return options.flatMap(({ header }): [string, string][] => {
    if (header === null) return [];
    const value = header.value === '' ? header.rawValue.toString('latin1') : header.value;
    return isSafeField(header.key, value) ? [[header.key.toLowerCase(), value]] : [];
  });
}

/** Several values of one name as one field: what is set is the only one of its name. */
function joined(pairs: readonly (readonly [string, string])[]): [string, string][] {
  const values = new Map<string, string>();
  for (const [name, value] of pairs) {
    const before = values.get(name);
    values.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return [...values];
}

function failed(message: string): CulvertError {
  return new CulvertError('AUTHORIZER_UNAVAILABLE', message, { side: 'server' });
}
