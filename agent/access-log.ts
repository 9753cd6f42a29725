/**
 * The access log: one JSON line for each connection, written by the shard that carried it when the connection ends.
 *
 * Field names are those that log pipelines of ambient meshes already parse (`src.workload`, `dst.hbone_addr`, …), with
 * what they lack: policy, rule and reason, the error's code, whose fault it is and what to do. Lines are put together by
 * hand, a few hundred nanoseconds each, and a disk that is full or gone loses lines, never traffic.
 */
import type { Side } from '../base/errors.ts';
import { LineFile, type LineFileOptions } from '../base/line-file.ts';

/** One end of a connection; null where it isn't known. */
export interface AccessParty {
  /** `ip:port`. */
  readonly address: string;
  readonly workload: string | null;
  readonly namespace: string | null;
  /** SPIFFE URI, only when proven. */
  readonly identity: string | null;
}

export interface AccessDestination extends AccessParty {
  /** `ip:port` of the tunnel's other end (outbound) or of our listener (inbound). */
  readonly hboneAddress: string | null;
  /** Host name of the service that was dialled. */
  readonly service: string | null;
}

export interface AccessRecord {
  /** When it ended, ms epoch. */
  readonly time: number;
  /** `local`: between two pods of this node, without a tunnel. */
  readonly direction: 'inbound' | 'outbound' | 'local';
  readonly source: AccessParty;
  readonly destination: AccessDestination;
  /** As the workload on this node sees it: outbound and local client → server, inbound server → client. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly durationMs: number;
  /** `namespace/name` of the policy that decided, and which of its rules. */
  readonly policy: string | null;
  readonly rule: number | null;
  readonly reason: string | null;
  /** Code, message, side and fix of the error that ended it; all null for a connection that ended well. */
  readonly code: string | null;
  readonly error: string | null;
  readonly side: Side | null;
  readonly fix: string | null;
  /** `kernel`: between two pods of this node, set up and carried by the kernel alone. */
  readonly security: 'mutual_tls' | 'plaintext' | 'local' | 'kernel';
  /** Trace id. */
  readonly id: string | null;
  /** Address and identity of the client behind a waypoint, as that says. */
  readonly origin: { readonly address: string; readonly identity: string | null } | null;
}

/** How long a line may wait for others, milliseconds. */
const flushMs = 100;

export class AccessLog {
  readonly #file: LineFile;
  #lines = 0;

  /** @param path file, or null for standard output */
  constructor(path: string | null, onTrouble: NonNullable<LineFileOptions['onTrouble']>) {
    this.#file = new LineFile({ path, flushMs, onTrouble });
  }

  write(record: AccessRecord): void {
    this.writeLine(accessLine(record));
  }

  /** The same for a line that is whole. */
  writeLine(line: string): void {
    this.#lines += 1;
    this.#file.write(line);
  }

  get lines(): number {
    return this.#lines;
  }

  get dropped(): number {
    return this.#file.dropped;
  }

  reopen(): void {
    this.#file.reopen();
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }

  /** For the thread's 'exit' event. */
  flushSync(): void {
    this.#file.flushSync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** What connections of one kind have alike in their lines: all but time, client's port, bytes and duration. */
export interface AccessFrame {
  readonly level: string;
  /** From the client's address to the bytes. */
  readonly who: string;
  /** From the duration to the end. */
  readonly outcome: string;
}

export function accessFrame(
  r: Omit<AccessRecord, 'time' | 'bytesSent' | 'bytesReceived' | 'durationMs'>,
): AccessFrame {
  const { source, destination } = r;
  const failed = r.code !== null;
  const level = failed
    ? r.code === 'POLICY_DENIED' || r.code === 'WAYPOINT_BYPASSED'
      ? 'warn'
      : 'error'
    : 'info';
  const message = failed ? 'connection failed' : 'connection complete';
  const who =
    field(',"src.workload":', source.workload) +
    field(',"src.namespace":', source.namespace) +
    field(',"src.identity":', source.identity) +
    (r.origin === null ? '' : originFields(r.origin)) +
    `,"dst.addr":${quote(destination.address)}` +
    field(',"dst.hbone_addr":', destination.hboneAddress) +
    field(',"dst.service":', destination.service) +
    field(',"dst.workload":', destination.workload) +
    field(',"dst.namespace":', destination.namespace) +
    field(',"dst.identity":', destination.identity) +
    `,"direction":"${r.direction}","security":"${r.security}"`;
  const outcome =
    field(',"policy":', r.policy) +
    (r.rule === null ? '' : `,"rule":${r.rule}`) +
    field(',"reason":', r.reason) +
    field(',"error":', r.error) +
    field(',"code":', r.code) +
    field(',"side":', r.side) +
    field(',"fix":', r.fix) +
    field(',"id":', r.id) +
    `,"msg":"${message}"}\n`;
  return { level, who, outcome };
}

/** A line of JSON with its newline. @param source `ip:port` */
export function framedLine(
  { level, who, outcome }: AccessFrame,
  time: number,
  source: string,
  sent: number,
  received: number,
  durationMs: number,
): string {
  return (
    `{"level":"${level}","time":"${isoTime(time)}","component":"access","src.addr":${quote(source)}${who}` +
    `,"bytes_sent":${sent},"bytes_recv":${received},"duration":"${Math.round(durationMs * 1000) / 1000}ms"${outcome}`
  );
}

/** The record as a line; fields without a value are left out. */
export function accessLine(r: AccessRecord): string {
  return framedLine(accessFrame(r), r.time, r.source.address, r.bytesSent, r.bytesReceived, r.durationMs);
}

function originFields({ address, identity }: NonNullable<AccessRecord['origin']>): string {
  return `,"src.original_addr":${quote(address)}` + field(',"src.original_identity":', identity);
}

function field(name: string, value: string | null): string {
  return value === null ? '' : name + quote(value);
}

function quote(value: string): string {
  return JSON.stringify(value);
}

let second = 0;
let secondText = '';

/** RFC 3339 in UTC with milliseconds; the part up to the second is made once a second. */
function isoTime(ms: number): string {
  const whole = Math.floor(ms / 1000);
  if (whole !== second) {
    second = whole;
    secondText = new Date(whole * 1000).toISOString().slice(0, 20);
  }
  const fraction = Math.floor(ms - whole * 1000);
  return `${secondText}${fraction < 10 ? '00' : fraction < 100 ? '0' : ''}${fraction}Z`;
}
