/**
 * Everything that waypoints follow, as its objects come and go: one book for each list of model/l7.ts.
 */
import type { L7Change, L7State } from '../model/l7.ts';
import type { ObjectChange } from './build-objects.ts';
import { RouteBook, type RouteBookOptions } from './build-route-book.ts';

export class L7Books {
  readonly #routes: RouteBook;

  constructor(options: RouteBookOptions) {
    this.#routes = new RouteBook(options);
  }

  /** Each list sorted by key. */
  state(): L7State {
    return { routes: this.#routes.all() };
  }

  /** Takes changes of objects in; the objects are what they are now already. */
  apply(changes: readonly ObjectChange[]): L7Change[] {
    return this.#routes.apply(changes);
  }
}
