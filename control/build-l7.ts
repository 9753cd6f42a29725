/**
 * Everything that waypoints follow, as its objects come and go: one book for each list of model/l7.ts.
 */
import type { L7Change, L7State } from '../model/l7.ts';
import { AuthenticationBook } from './build-authentications.ts';
import { BackendTlsBook } from './build-backend-tls-book.ts';
import { CredentialBook, type NamedObject } from './build-credentials.ts';
import { HttpPolicyBook, type HttpPolicyBookOptions } from './build-http-policies.ts';
import type { ObjectChange } from './build-objects.ts';
import { RateLimitBook } from './build-rate-limit-book.ts';
import { RouteBook } from './build-route-book.ts';
import { RouteConflicts } from './build-route-conflicts.ts';
import { TelemetryBook } from './build-telemetry-book.ts';
import { SplitBook } from './build-split-book.ts';
import { VirtualBook, type VirtualBookOptions } from './build-virtual-book.ts';
import { TrafficBook, type TrafficBookOptions } from './build-traffic-book.ts';

/** What else has changed with the objects: services by key, workloads by uid. */
export interface L7Touched {
  readonly services: Iterable<string>;
  readonly workloads: Iterable<string>;
}

export class L7Books {
  readonly #routes: RouteBook;
  readonly #virtual: VirtualBook;
  readonly #splits: SplitBook;
  readonly #backendTls: BackendTlsBook;
  readonly #conflicts: RouteConflicts;
  readonly #traffic: TrafficBook;
  readonly #limits: RateLimitBook;
  readonly #telemetry: TelemetryBook;
  readonly #policies: HttpPolicyBook;
  readonly #authentications: AuthenticationBook;
  readonly #credentials: CredentialBook;

  constructor(options: Omit<TrafficBookOptions, 'backendTls'> & HttpPolicyBookOptions & VirtualBookOptions) {
    this.#routes = new RouteBook(options);
    this.#virtual = new VirtualBook(options);
    this.#splits = new SplitBook(options);
    this.#conflicts = new RouteConflicts(options);
    this.#backendTls = new BackendTlsBook(options);
    this.#traffic = new TrafficBook({ ...options, backendTls: this.#backendTls });
    this.#limits = new RateLimitBook(options);
    this.#telemetry = new TelemetryBook(options);
    this.#policies = new HttpPolicyBook(options);
    this.#authentications = new AuthenticationBook(options);
    this.#credentials = new CredentialBook(options);
  }

  /** Each list sorted by key. */
  state(): L7State {
    return {
      routes: sorted([
        ...this.#routes.requests(),
        ...this.#virtual.all('routes'),
        ...this.#splits.all('routes'),
      ]),
      tcpRoutes: sorted([
        ...this.#routes.connections(),
        ...this.#virtual.all('tcpRoutes'),
        ...this.#splits.all('tcpRoutes'),
      ]),
      traffic: this.#traffic.all(),
      limits: this.#limits.all(),
      telemetry: this.#telemetry.all(),
      policies: this.#policies.all(),
      authentications: this.#authentications.all(),
      credentials: this.#credentials.all(),
    };
  }

  /** Objects that are read by their names, as somebody names them. */
  wanted(): NamedObject[] {
    return [...this.#credentials.wanted(), ...this.#backendTls.wanted()];
  }

  /** Takes changes of objects in; objects, services and endpoints are what they are now already. */
  apply(changes: readonly ObjectChange[], { services, workloads }: L7Touched): L7Change[] {
    const routes = [
      ...this.#routes.apply(changes),
      ...this.#virtual.apply(changes, services, workloads),
      ...this.#splits.apply(changes, services),
    ];
    this.#conflicts.apply(routes, services);
    return [
      ...routes,
      ...this.#traffic.apply(changes, [...services, ...this.#backendTls.apply(changes)], workloads),
      ...this.#limits.apply(changes),
      ...this.#telemetry.apply(changes),
      ...this.#policies.apply(changes),
      ...this.#authentications.apply(changes),
      ...this.#credentials.apply(changes),
    ];
  }
}

function sorted<Route extends Named>(routes: readonly Route[]): Route[] {
  return routes.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

interface Named {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

function keyOf({ kind, namespace, name }: Named): string {
  return `${kind}/${namespace}/${name}`;
}
