/**
 * Every connection that a shard carries, from accept to close: for policy changes, drain, the admin list and the books.
 *
 * A Connection knows who talks to whom and how many bytes went each way; it never touches a socket. Whoever opened the
 * sockets sets `cut`, which ends them.
 */
import type { CulvertError } from '../base/errors.ts';
import type { Decision } from '../model/policy.ts';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import type { Pod } from './pod.ts';

/** `local` is a connection between two pods of this node that this agent carries without a tunnel. */
export type Direction = 'inbound' | 'outbound' | 'local';
/** `kernel`: as `local`, and the kernel carries it. */
export type Security = 'mutual_tls' | 'plaintext' | 'local' | 'kernel';

/** One end as far as it is known. */
export interface Party {
  address: string;
  port: number;
  workload: Workload | null;
  /** SPIFFE ID, only when it is proven: by certificate, or by the namespace that the connection came out of. */
  identity: string | null;
}

export interface Origin {
  /** `ip:port` */
  readonly address: string;
  readonly identity: string | null;
}

/** Told about each connection that opened, failed or closed. */
export interface ConnectionObserver {
  opened(connection: Connection): void;
  closed(connection: Connection, error: CulvertError | null): void;
}

export class Connection {
  readonly id: number;
  readonly direction: Direction;
  readonly pod: Pod;
  startedAt = Date.now();
  startedNs = performance.now();
  readonly source: Party;
  readonly destination: Party;
  service: Service | null = null;
  /** Other agent's or waypoint's `address:port` when a tunnel is used. */
  hboneAddress: string | null = null;
  security: Security = 'plaintext';
  decision: Decision | null = null;
  /** A decision that no policy can change: the node's kubelet looks whether the application lives. */
  exemption: Decision | null = null;
  traceId: string | null = null;
  /** Whom a waypoint says that it connects for: word of a peer that is to be believed, and no proof. */
  origin: Origin | null = null;
  /** Bytes client → server and server → client. */
  up = 0;
  down = 0;
  /** What the metrics have counted of `up` and `down` already. */
  countedUp = 0;
  countedDown = 0;
  /** Where the observer keeps its handle. */
  metrics: unknown = null;
  state: 'opening' | 'open' | 'closed' = 'opening';
  /** Ends the sockets at once, with a reset; set by whoever opened them. */
  cut: (error: CulvertError) => void = () => {};
  /** The destination, where that is a pod of this node as well. */
  neighbour: Pod | null = null;
  readonly #registry: Connections;

  constructor(
    registry: Connections,
    id: number,
    direction: Direction,
    pod: Pod,
    source: Party,
    destination: Party,
  ) {
    this.#registry = registry;
    this.id = id;
    this.direction = direction;
    this.pod = pod;
    this.source = source;
    this.destination = destination;
  }

  /** Listed with the destination as well, so that it ends when either pod goes. */
  goesTo(neighbour: Pod): void {
    this.neighbour = neighbour;
    neighbour.connections.add(this);
  }

  /** Both ends are connected and policy allowed it. */
  opened(): void {
    if (this.state !== 'opening') return;
    this.state = 'open';
    this.#registry.observer.opened(this);
  }

  /** It began that many milliseconds ago: the kernel has set it up, and told later. */
  began(msAgo: number): void {
    this.startedAt = Date.now() - msAgo;
    this.startedNs = performance.now() - msAgo;
  }

  /** Ends the record; only the first call counts. */
  closed(error: CulvertError | null): void {
    if (this.state === 'closed') return;
    this.#registry.forget(this);
    this.#registry.observer.closed(this, error);
    this.state = 'closed';
  }
}

/** One row of `GET /connections` on the admin port. */
export interface ConnectionView {
  readonly id: string;
  readonly direction: Direction;
  readonly pod: string;
  readonly source: string;
  readonly sourceIdentity: string | null;
  readonly destination: string;
  readonly service: string | null;
  readonly security: Security;
  readonly state: string;
  readonly policy: string | null;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly ageMs: number;
}

export class Connections {
  readonly observer: ConnectionObserver;
  readonly #open = new Set<Connection>();
  #next = 1;

  constructor(observer: ConnectionObserver) {
    this.observer = observer;
  }

  get size(): number {
    return this.#open.size;
  }

  start(direction: Direction, pod: Pod, source: Party, destination: Party): Connection {
    const connection = new Connection(this, this.#next++, direction, pod, source, destination);
    this.#open.add(connection);
    pod.connections.add(connection);
    return connection;
  }

  forget(connection: Connection): void {
    this.#open.delete(connection);
    connection.pod.connections.delete(connection);
    connection.neighbour?.connections.delete(connection);
  }

  /** A copy, so that connections may be cut while walking over it. */
  all(): Connection[] {
    return [...this.#open];
  }

  views(shard: number): ConnectionView[] {
    const now = Date.now();
    return this.all().map(c => ({
      id: `${shard}-${c.id}`,
      direction: c.direction,
      pod: `${c.pod.namespace}/${c.pod.name}`,
      source: `${c.source.address}:${c.source.port}`,
      sourceIdentity: c.source.identity,
      destination: `${c.destination.address}:${c.destination.port}`,
      service: c.service === null ? null : `${c.service.namespace}/${c.service.hostname}`,
      security: c.security,
      state: c.state,
      policy: c.decision?.policy ?? null,
      bytesUp: c.up,
      bytesDown: c.down,
      ageMs: now - c.startedAt,
    }));
  }
}
