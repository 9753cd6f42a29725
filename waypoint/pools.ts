/** The connections of one waypoint to endpoints, of both versions of HTTP. */
import type { WaypointContext } from './context.ts';
import { Http1Pools } from './http1-out.ts';
import { Http2Pools } from './http2-out.ts';

interface Pools {
  readonly http1: Http1Pools;
  readonly http2: Http2Pools;
}

const pools = new WeakMap<WaypointContext, Pools>();

export function poolsOf(context: WaypointContext): Pools {
  let known = pools.get(context);
  if (known === undefined)
    pools.set(context, (known = { http1: new Http1Pools(context), http2: new Http2Pools(context) }));
  return known;
}

export async function closePools(context: WaypointContext): Promise<void> {
  const known = pools.get(context);
  known?.http2.close();
  await known?.http1.close();
}
