/**
 * A question of the waypoint's own, put to one endpoint after the other: whoever is asked decides about requests of clients,
 * so that one endpoint that is gone, or goes in the midst of its answer, must not. Such questions may be asked twice.
 */
import { performance } from 'node:perf_hooks';
import { CulvertError } from '../base/errors.ts';
import { ourselves, pickWay, type Way } from './balance.ts';
import type { WaypointContext } from './context.ts';

export interface Asked {
  /** `namespace/hostname` */
  readonly service: string;
  readonly port: number;
  /** For all tries together. */
  readonly timeoutMs: number;
}

/** An endpoint that did not answer, for which another one may be asked; any other error is thrown on as it is. */
export class NoAnswer extends Error {
  override readonly cause: CulvertError;

  constructor(cause: CulvertError) {
    super(cause.message);
    this.cause = cause;
  }
}

const maxTries = 3;

/**
 * Throws as `pickWay` does, and the last error where nobody answers.
 * @param ask rejects with NoAnswer where another endpoint may do better
 */
export async function askEndpoints<T>(
  context: WaypointContext,
  { service: key, port, timeoutMs }: Asked,
  ask: (way: Way, timeoutMs: number) => Promise<T>,
): Promise<T> {
  const service = context.mesh.service(key);
  if (service === null)
    throw new CulvertError('NO_HEALTHY_ENDPOINT', `there is no service ${key}`, { side: 'us' });
  const address = service.addresses[0]?.address ?? '';
  const destination = { kind: 'service', service, port, address, subset: null } as const;
  const deadline = performance.now() + timeoutMs;
  const tried = new Set<string>();
  for (let tries = 1; ; tries += 1) {
    const way = nextWay(context, destination, tried);
    const { uid } = way.workload;
    try {
      const answer = await ask(way, deadline - performance.now());
      context.health.succeeded(uid);
      way.upstream?.report(uid, 200);
      return answer;
    } catch (thrown) {
      if (!(thrown instanceof NoAnswer)) throw thrown;
      context.health.failed(uid);
      if (way.upstream?.report(uid, 'local') === true) context.metrics.ejected();
      if (tries >= maxTries || performance.now() >= deadline) throw thrown.cause;
      tried.add(uid);
    }
  }
}

/** Where all have been tried, another round: a connection that was kept may have ended as it was used. */
function nextWay(
  context: WaypointContext,
  destination: Parameters<typeof pickWay>[1],
  tried: Set<string>,
): Way {
  try {
    return pickWay(context, destination, { ...ourselves, exclude: tried }).way;
  } catch (thrown) {
    if (tried.size === 0) throw thrown;
    tried.clear();
    return pickWay(context, destination, ourselves).way;
  }
}
