/**
 * The books of a shard: what each connection adds to the metrics and to the access log.
 *
 * Opening and closing touch a few integers; bytes of connections that stay open are added every few seconds.
 */
import type { CulvertError } from '../base/errors.ts';
import { reportTrouble, type Logger } from '../base/log.ts';
import { formatHostPort } from '../model/address.ts';
import { AccessLog, accessFrame, framedLine, type AccessFrame } from './access-log.ts';
import type { Connection, ConnectionObserver, Party } from './connections.ts';
import type { ShardMetrics } from './shard-metrics.ts';
import type { Reporter, ResponseFlag, TrafficPeers } from '../model/traffic-labels.ts';
import type { TrafficHandle } from './traffic-metrics.ts';

/** A connection of one node alone is reported from both sides, as it would be from two nodes. */
type Handles = readonly TrafficHandle[];

export class Observer implements ConnectionObserver {
  accessLogEnabled = true;
  readonly #metrics: ShardMetrics;
  readonly #access: AccessLog | null;
  readonly #log: Logger;

  /** @param path file of the access log, '-' for standard output, '' for none */
  constructor(path: string, metrics: ShardMetrics, log: Logger) {
    this.#metrics = metrics;
    this.#access = path === '' ? null : new AccessLog(path === '-' ? null : path, reportTrouble);
    this.#log = log;
    process.on('exit', () => this.#access?.flushSync());
  }

  /** Access lines that were lost since the start. */
  get linesLost(): number {
    return this.#access?.dropped ?? 0;
  }

  opened(connection: Connection): void {
    if (connection.security === 'plaintext') this.#metrics.plaintext(connection.direction);
    connection.metrics = reporters(connection).map(reporter =>
      this.#metrics.traffic.open(peers(connection, reporter)),
    );
  }

  closed(connection: Connection, error: CulvertError | null): void {
    const handles = connection.metrics as Handles | null;
    if (handles !== null) {
      this.#countBytes(connection, handles);
      for (const handle of handles) this.#metrics.traffic.close(handle);
    }
    if (error !== null) {
      const flag = flagOf(error.code);
      if (handles === null || flag === 'DENY') {
        for (const reporter of reporters(connection))
          this.#metrics.traffic.fail(peers(connection, reporter), flag);
      }
      if (error.code === bypassed) this.#metrics.event(error.code);
      else if (isDenial(error))
        this.#metrics.denied(connection.direction, connection.decision?.policy ?? null);
      this.#log.debug(
        { code: error.code, side: error.side, err: error.message },
        'connection ended with an error',
      );
    }
    if (this.accessLogEnabled && this.#access !== null) this.#writeLine(this.#access, connection, error);
  }

  /** What connections like this one, which was well until its end, add to the books. */
  kindOf(connection: Connection): ConnectionKind {
    const access = this.accessLogEnabled ? this.#access : null;
    return new ConnectionKind(
      reporters(connection).map(reporter => this.#metrics.traffic.handle(peers(connection, reporter))),
      access,
      accessFrame(whatIsAlike(connection, null)),
    );
  }

  /** Adds what open connections have carried since the last time. */
  countOpen(connections: readonly Connection[]): void {
    for (const connection of connections) {
      const handles = connection.metrics as Handles | null;
      if (handles !== null) this.#countBytes(connection, handles);
    }
  }

  reopen(): void {
    this.#access?.reopen();
  }

  flush(): void {
    this.#access?.flushSync();
  }

  #countBytes(connection: Connection, handles: Handles): void {
    const up = connection.up - connection.countedUp;
    const down = connection.down - connection.countedDown;
    if (up === 0 && down === 0) return;
    connection.countedUp = connection.up;
    connection.countedDown = connection.down;
    for (const handle of handles) {
      handle.received += up;
      handle.sent += down;
    }
  }

  #writeLine(access: AccessLog, c: Connection, error: CulvertError | null): void {
    const inbound = c.direction === 'inbound';
    access.write({
      ...whatIsAlike(c, error),
      time: Date.now(),
      bytesSent: inbound ? c.down : c.up,
      bytesReceived: inbound ? c.up : c.down,
      durationMs: performance.now() - c.startedNs,
    });
  }
}

/**
 * Connections that differ in the client's port, bytes and times only, and that are over when they are heard of: their books
 * are kept without an object for each. Good for the turn of the event loop that it was made in.
 */
export class ConnectionKind {
  readonly #handles: Handles;
  readonly #access: AccessLog | null;
  readonly #frame: AccessFrame;

  constructor(handles: Handles, access: AccessLog | null, frame: AccessFrame) {
    this.#handles = handles;
    this.#access = access;
    this.#frame = frame;
  }

  /** One of them. @param source `ip:port` of the client */
  add(source: string, up: number, down: number, durationMs: number): void {
    for (const handle of this.#handles) {
      handle.opened += 1;
      handle.closed += 1;
      handle.received += up;
      handle.sent += down;
    }
    this.#access?.writeLine(framedLine(this.#frame, Date.now(), source, up, down, durationMs));
  }
}

function whatIsAlike(c: Connection, error: CulvertError | null): Parameters<typeof accessFrame>[0] {
  return {
    direction: c.direction,
    source: accessParty(c.source),
    destination: {
      ...accessParty(c.destination),
      hboneAddress: c.hboneAddress,
      service: c.service?.hostname ?? null,
    },
    policy: c.decision?.policy ?? null,
    rule: c.decision?.rule ?? null,
    reason: c.decision?.reason ?? null,
    code: error?.code ?? null,
    error: error?.message ?? null,
    side: error?.side ?? null,
    fix: error?.fix ?? null,
    security: c.security,
    id: c.traceId,
    origin: c.origin,
  };
}

function accessParty(party: Party): {
  address: string;
  workload: string | null;
  namespace: string | null;
  identity: string | null;
} {
  return {
    address: formatHostPort(party.address, party.port),
    workload: party.workload?.name ?? null,
    namespace: party.workload?.namespace ?? null,
    identity: party.identity,
  };
}

const bySource: readonly Reporter[] = ['source'];
const byDestination: readonly Reporter[] = ['destination'];
const byBoth: readonly Reporter[] = ['source', 'destination'];

function reporters(connection: Connection): readonly Reporter[] {
  if (connection.direction === 'local') return byBoth;
  return connection.direction === 'inbound' ? byDestination : bySource;
}

function peers(c: Connection, reporter: Reporter): TrafficPeers {
  return {
    reporter,
    source: c.source.workload,
    destination: c.destination.workload,
    service: c.service,
    sourceIdentity: c.source.identity,
    destinationIdentity: c.destination.identity,
    mutualTls: c.security === 'mutual_tls',
  };
}

/** No policy has said so. */
const bypassed = 'WAYPOINT_BYPASSED';
const denials: ReadonlySet<string> = new Set(['POLICY_DENIED', 'POLICY_CHANGED', bypassed]);

function isDenial(error: CulvertError): boolean {
  return denials.has(error.code);
}

/** The word of existing dashboards for one of our codes. */
function flagOf(code: string): ResponseFlag {
  if (denials.has(code) || code === 'PEER_DENIED') return 'DENY';
  if (code.startsWith('TLS_PEER_WRONG')) return 'IDENTITY_ERROR';
  if (code.startsWith('TLS_')) return 'TLS_FAILURE';
  if (code.startsWith('H2_')) return 'H2_HANDSHAKE_FAILURE';
  return 'CONNECT';
}
