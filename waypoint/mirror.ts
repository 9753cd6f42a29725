/**
 * Copies of requests for other backends, sent when the request itself is over, so that they never hold it up. What they are
 * answered with is read and forgotten. A body that was too large to keep is not copied, and that is counted.
 */
import { Readable } from 'node:stream';
import { pickWay } from './balance.ts';
import type { RequestBody } from './body.ts';
import type { Client, WaypointContext } from './context.ts';
import type { ForwardPlan } from './filters.ts';
import { send } from './pools.ts';

/** A copy that takes longer is given up. */
const limitMs = 30_000;

export function sendMirrors(
  context: WaypointContext,
  client: Client,
  plan: ForwardPlan,
  body: RequestBody | null,
): void {
  const bytes = body === null ? null : body.whole();
  for (const destination of plan.mirrors) {
    if (body !== null && bytes === null) {
      context.metrics.mirrored('too-large');
      continue;
    }
    try {
      const asker = { client, head: plan.head, exclude: new Set<string>(), session: null, elsewhere: null };
      const { way } = pickWay(context, destination, asker);
      const version = way.protocol === 'HTTP2' || way.protocol === 'GRPC' ? 'http2' : 'agreed';
      const settle = (result: string): void => {
        clearTimeout(timer);
        context.metrics.mirrored(result);
      };
      const copy = bytes === null ? null : Readable.from([bytes], { objectMode: false });
      const call = send(
        context,
        version,
        way,
        { head: plan.head, body: copy },
        {
          onInformation: () => {},
          onResponse: () => {},
          onData: () => true,
          onEnd: () => settle('answered'),
          onSwitch: (_headers, socket) => socket.destroy(),
          onError: () => settle('failed'),
        },
      );
      const timer = setTimeout(() => {
        call.abort();
        settle('failed');
      }, limitMs).unref();
    } catch {
      context.metrics.mirrored('failed');
    }
  }
}
