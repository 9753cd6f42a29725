/** The connections of one waypoint to endpoints, of both versions of HTTP, and the choice between them. */
import { asCulvertError } from '../base/errors.ts';
import { announcesTrailers } from '../model/trailers.ts';
import type { Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import { Http1Pools } from './http1-out.ts';
import { Http2Pools } from './http2-out.ts';
import { Negotiation } from './negotiation.ts';
import {
  h2InternalError,
  type OutgoingCall,
  type OutgoingHandlers,
  type OutgoingRequest,
} from './outgoing.ts';
import { sendAlone } from './single-call.ts';

/** `agreed`: what the endpoint chooses in its TLS handshake. */
export type OutgoingVersion = 'http1' | 'http2' | 'agreed';

interface Pools {
  readonly http1: Http1Pools;
  readonly http2: Http2Pools;
  readonly negotiation: Negotiation;
}

const pools = new WeakMap<WaypointContext, Pools>();

export function poolsOf(context: WaypointContext): Pools {
  let known = pools.get(context);
  if (known === undefined) {
    const negotiation = new Negotiation(context);
    const http1 = new Http1Pools(context, way => negotiation.open(way, 'http/1.1'));
    const http2 = new Http2Pools(context, way => negotiation.open(way, 'h2'));
    pools.set(context, (known = { http1, http2, negotiation }));
  }
  return known;
}

/** Sends a request by the version that is to be spoken. */
export function send(
  context: WaypointContext,
  version: OutgoingVersion,
  way: Way,
  request: OutgoingRequest,
  handlers: OutgoingHandlers,
): OutgoingCall {
  const { http1, http2, negotiation } = poolsOf(context);
  const chosen = version === 'agreed' && way.tls !== null ? negotiation.known(way) : version;
  if (chosen === null) return new LaterCall(context, way, request, handlers);
  const isHttp2 = chosen === 'http2' || chosen === 'h2';
  if (
    !isHttp2 &&
    request.body !== null &&
    request.trailers !== undefined &&
    announcesTrailers(request.head.headers)
  ) {
    const dialled = (to: Way) => negotiation.open(to, 'http/1.1');
    return sendAlone(context, way, { request, upgrade: null, dial: dialled }, handlers);
  }
  return (isHttp2 ? http2 : http1).send(way, request, handlers);
}

/** A request that waits until it is known what its endpoint speaks. */
class LaterCall implements OutgoingCall {
  #call: OutgoingCall | null = null;
  #aborted = false;

  constructor(context: WaypointContext, way: Way, request: OutgoingRequest, handlers: OutgoingHandlers) {
    void this.#start(context, way, request, handlers);
  }

  resume(): void {
    this.#call?.resume();
  }

  abort(): void {
    this.#aborted = true;
    this.#call?.abort();
  }

  async #start(
    context: WaypointContext,
    way: Way,
    request: OutgoingRequest,
    handlers: OutgoingHandlers,
  ): Promise<void> {
    try {
      const spoken = await poolsOf(context).negotiation.ask(way);
      const version = spoken === 'h2' ? 'http2' : 'http1';
      if (!this.#aborted) this.#call = send(context, version, way, request, handlers);
    } catch (thrown) {
      if (this.#aborted) return;
      const error = asCulvertError(thrown, 'DIAL_FAILED', { side: 'server' });
      handlers.onError({ error, seen: false, code: h2InternalError });
    }
  }
}

export async function closePools(context: WaypointContext): Promise<void> {
  const known = pools.get(context);
  known?.negotiation.close();
  known?.http2.close();
  await known?.http1.close();
}
