/** The ways of one request's tries: each to an endpoint of its own while there are others. */
import { asCulvertError, type CulvertError } from '../base/errors.ts';
import { pickWay, type Way } from './balance.ts';
import type { Client, WaypointContext } from './context.ts';
import type { ForwardPlan } from './filters.ts';

export class Ways {
  readonly #context: WaypointContext;
  readonly #tried = new Set<string>();
  #cookie: string | null = null;

  constructor(context: WaypointContext) {
    this.#context = context;
  }

  /** By which the client comes to the endpoint again that was picked first; null: none. */
  get cookie(): string | null {
    return this.#cookie;
  }

  /** Its endpoint is picked again only when all have been tried. */
  tried({ workload }: Way): void {
    this.#tried.add(workload.uid);
  }

  /**
   * The way of the next try, or why there is none.
   * @param last of the try before; null: there was none
   */
  pick(plan: ForwardPlan, client: Client, last: Way | null): Way | CulvertError {
    const { destination, retry, session, head } = plan;
    const elsewhere = retry?.remoteLocalities === true ? (last?.workload ?? null) : null;
    const asker = { client, head, exclude: this.#tried, elsewhere, session: session?.endpoint ?? null };
    for (;;) {
      try {
        const { way, cookie } = pickWay(this.#context, destination, asker);
        this.#cookie ??= cookie;
        return way;
      } catch (thrown) {
        // All have been tried: another round is better than no answer.
        if (this.#tried.size === 0) return asCulvertError(thrown, 'NO_HEALTHY_ENDPOINT');
        this.#tried.clear();
      }
    }
  }
}
