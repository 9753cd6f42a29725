/** A connection to an endpoint for bytes that are carried as they are, within the limits of its service's traffic policy. */
import type { Duplex } from 'node:stream';
import { CulvertError } from '../base/errors.ts';
import { pickWay, type Way } from './balance.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { dial } from './tunnel-out.ts';

/** An endpoint that answers; one that can not be dialled is passed over once for each there is, three at most. */
export async function dialEndpoint(
  context: WaypointContext,
  client: Client,
  destination: Destination,
): Promise<{ server: Duplex; way: Way }> {
  const tried = new Set<string>();
  let last: unknown = null;
  for (;;) {
    const asker = { client, head: null, exclude: tried, session: null, elsewhere: null };
    const way = wayOr(last, () => pickWay(context, destination, asker).way);
    const { uid } = way.workload;
    const slot = way.upstream?.load.connect() ?? null;
    if (slot instanceof CulvertError) throw slot;
    const leave = way.upstream?.begin(uid);
    try {
      const server = await dial(context, client, way);
      server.once('close', () => {
        slot?.release();
        leave?.();
      });
      context.health.succeeded(uid);
      way.upstream?.report(uid, 200);
      return { server, way };
    } catch (error) {
      slot?.release();
      leave?.();
      context.health.failed(uid);
      if (way.upstream?.report(uid, 'local') === true) context.metrics.ejected();
      tried.add(uid);
      last = error;
      if (tried.size >= 3 || destination.kind === 'workload') throw error;
    }
  }
}

/** Where all were tried, why the last one could not be reached says more than that there is no other. */
function wayOr(last: unknown, pick: () => Way): Way {
  try {
    return pick();
  } catch (none) {
    throw last ?? none;
  }
}
