/**
 * Tells the control plane which pods of this node are enrolled: a stream that begins with everything and goes on with what
 * changes. Nothing is kept on the other side, so a new stream begins with everything again.
 */
import { type ClientWritableStream, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { asCulvertError, type CulvertError, describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { versionString } from '../../base/version.ts';
import { protocols } from '../../proto/load.ts';
import type { WireNodeReport, WireReportReply } from '../../proto/messages.ts';
import { maxPauseMs, reconnectPauseMs } from '../../xds/backoff.ts';
import { callError } from '../../xds/channel-errors.ts';
import { ControlChannel, type ControlEndpoint } from '../../xds/channel.ts';
import type { PodReport } from './node-pods.ts';

export interface ReportsOptions {
  readonly endpoint: ControlEndpoint;
  /** The connection of the discovery stream, which is that stream's to end. Without one reports have their own. */
  readonly channel?: ControlChannel;
  readonly log: Logger;
}

/** A refusal comes sooner. */
const provenMs = 5_000;

const method = protocols.services.nodeReports.Report;

type ReportStream = ClientWritableStream<WireNodeReport>;

export class Reports {
  readonly #options: ReportsOptions;
  readonly #channel: ControlChannel;
  /** Null until the first is known: nothing is not the same as no pods, which would take them out of the mesh for others. */
  #current: ReadonlyMap<string, PodReport> | null = null;
  /** What the other end of this stream knows; null before the first message. */
  #told: ReadonlyMap<string, PodReport> | null = null;
  #stream: ReportStream | null = null;
  #openedAt = 0;
  #blocked = false;
  #failures = 0;
  #timer: NodeJS.Timeout | null = null;
  #lastError: CulvertError | null = null;
  #closed = false;

  constructor(options: ReportsOptions) {
    this.#options = options;
    this.#channel = options.channel ?? new ControlChannel(options.endpoint);
  }

  /** Why there is no stream; null while there is one. Nobody answers on it, so that it must have lasted a while. */
  get trouble(): CulvertError | null {
    const holds = this.#stream !== null && Date.now() - this.#openedAt > provenMs;
    return holds ? null : this.#lastError;
  }

  start(): void {
    if (this.#stream === null && !this.#closed) this.#connect();
  }

  /** The state as it is now; only what is new in it is sent. */
  set(reports: readonly PodReport[]): void {
    this.#current = new Map(reports.map(report => [report.podUid, report]));
    this.#send();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#stream?.end();
    this.#stream = null;
    this.#disconnect();
  }

  #connect(): void {
    this.#openedAt = Date.now();
    this.#told = null;
    this.#blocked = false;
    try {
      const stream: ReportStream = this.#channel
        .client()
        .makeClientStreamRequest<WireNodeReport, WireReportReply>(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          new Metadata(),
          error => this.#ended(stream, error),
        );
      // The callback says why.
      stream.on('error', () => {});
      stream.on('drain', () => {
        this.#blocked = false;
        this.#send();
      });
      this.#stream = stream;
      this.#send();
    } catch (thrown) {
      this.#retry(asCulvertError(thrown, 'CONTROL_FAILED'));
    }
  }

  /** While the other end does not read, changes pile up in `#current` and nowhere else. */
  #send(): void {
    const stream = this.#stream;
    if (stream === null || this.#current === null || this.#blocked) return;
    const report = difference(this.#told, this.#current);
    if (report === null) return;
    this.#told = this.#current;
    this.#blocked = !stream.write(protocols.nodeReport.create({ ...report, agentVersion: versionString() }));
  }

  #ended(stream: ReportStream, error: ServiceError | null): void {
    if (this.#closed || this.#stream !== stream) return;
    this.#stream = null;
    const { endpoint } = this.#options;
    if (error !== null && error.code !== status.UNIMPLEMENTED) this.#disconnect();
    this.#retry(
      error === null
        ? callError({ code: status.CANCELLED, details: 'it ended the stream of reports' }, endpoint)
        : callError(error, endpoint),
    );
  }

  #disconnect(): void {
    if (this.#options.channel === undefined) this.#channel.disconnect();
  }

  #retry(error: CulvertError): void {
    if (Date.now() - this.#openedAt >= maxPauseMs) this.#failures = 0;
    const pauseMs = reconnectPauseMs(this.#failures, Math.random());
    this.#failures += 1;
    const isNews = this.#lastError?.code !== error.code;
    this.#lastError = error;
    this.#options.log[isNews ? 'warn' : 'debug'](
      { code: error.code, ms: pauseMs },
      `the control plane does not hear which pods are enrolled: ${describeError(error)}`,
    );
    this.#timer = setTimeout(() => this.#connect(), pauseMs).unref();
  }
}

/** What has to be said to someone who knows `told`; null where that is nothing. */
export function difference(
  told: ReadonlyMap<string, PodReport> | null,
  current: ReadonlyMap<string, PodReport>,
): { readonly full: boolean; readonly pods: PodReport[]; readonly gone: string[] } | null {
  if (told === null) return { full: true, pods: [...current.values()], gone: [] };
  const pods = [...current.values()].filter(report => !same(report, told.get(report.podUid)));
  const gone = [...told.keys()].filter(uid => !current.has(uid));
  return pods.length + gone.length === 0 ? null : { full: false, pods, gone };
}

function same(a: PodReport, b: PodReport | undefined): boolean {
  return b !== undefined && a.enrolled === b.enrolled && a.code === b.code && a.message === b.message;
}
