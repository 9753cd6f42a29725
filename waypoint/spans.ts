/**
 * Spans on their way to collectors: OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/), binary, in batches.
 *
 * They go like the requests of clients, by a tunnel where the collector is in the mesh. Requests never wait for them: what
 * does not fit is dropped, and everything that is dropped or refused is counted with its reason.
 */
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { versionString } from '../base/version.ts';
import type { Collector } from '../model/telemetry.ts';
import { loadProtocol, type Codec } from '../proto/load.ts';
import type { WaypointContext } from './context.ts';
import { callHttp } from './http-call.ts';
import { attribute, type WireAttribute, type WireSpan } from './span-of.ts';

interface WireExport {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly WireAttribute[] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string; readonly version: string };
      readonly spans: readonly WireSpan[];
    }[];
  }[];
}

interface Waiting {
  readonly collector: Collector;
  readonly spans: WireSpan[];
}

const batchSpans = 512;
/** Held for one collector; what comes beyond is dropped. */
const maxWaiting = 4_096;
const flushMs = 1_000;
const exportMs = 10_000;
/** Statuses after which the same may be sent again (OTLP/HTTP, "Retryable Response Codes"). */
const retryable = new Set([429, 502, 503, 504]);
const maxTries = 3;

let codec: Codec<WireExport> | null = null;

export class Spans {
  readonly #context: WaypointContext;
  readonly #waiting = new Map<string, Waiting>();
  readonly #running = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | null = null;
  #inTrouble = false;

  constructor(context: WaypointContext) {
    this.#context = context;
  }

  add(collector: Collector, span: WireSpan): void {
    const key = JSON.stringify(collector);
    let waiting = this.#waiting.get(key);
    if (waiting === undefined) this.#waiting.set(key, (waiting = { collector, spans: [] }));
    if (waiting.spans.length >= maxWaiting) this.#context.metrics.spans('queue-full', 1);
    else waiting.spans.push(span);
    this.#timer ??= setTimeout(() => void this.flush(), flushMs).unref();
  }

  /** Sends all that wait; ends when they are sent, or given up. Never rejects. */
  async flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    // One batch after the other: a slow collector makes the queue full, not the waypoint.
    if (this.#running.size === 0) {
      for (const { collector, spans } of this.#waiting.values()) {
        const run = this.#drain(collector, spans);
        this.#running.add(run);
        void run.finally(() => this.#running.delete(run));
      }
    }
    await Promise.all(this.#running);
    for (const [key, { spans }] of this.#waiting) if (spans.length === 0) this.#waiting.delete(key);
    if (this.#waiting.size > 0) this.#timer ??= setTimeout(() => void this.flush(), flushMs).unref();
  }

  async #drain(collector: Collector, spans: WireSpan[]): Promise<void> {
    while (spans.length > 0) {
      const batch = spans.splice(0, batchSpans);
      try {
        await this.#export(collector, this.#encode(batch));
        this.#context.metrics.spans('exported', batch.length);
        this.#inTrouble = false;
      } catch (thrown) {
        const { code, message: err } = asCulvertError(thrown, 'SPANS_LOST');
        this.#context.metrics.spans(code, batch.length);
        const { name: collectorName } = collector;
        if (!this.#inTrouble)
          this.#context.log.warn(
            { code, collector: collectorName, err, spans: batch.length },
            'spans could not be sent',
          );
        this.#inTrouble = true;
        return;
      }
    }
  }

  #encode(spans: readonly WireSpan[]): Buffer {
    codec ??= loadProtocol('trace.proto').message<WireExport>('culvert.otlp.ExportTraceServiceRequest');
    const { config, self } = this.#context;
    const { namespace, name } = config.gateway;
    const attributes = [
      ...attribute('service.name', `${name}.${namespace}`),
      ...attribute('service.namespace', namespace),
      ...attribute('service.instance.id', self?.name),
      ...attribute('k8s.cluster.name', self?.clusterId),
      ...attribute('k8s.node.name', self?.node),
    ];
    const scope = { name: 'culvert', version: versionString() };
    return codec.encode({ resourceSpans: [{ resource: { attributes }, scopeSpans: [{ scope, spans }] }] });
  }

  /** What is not taken is sent again for a while: a collector that is replaced loses nothing. */
  async #export(collector: Collector, body: Buffer): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const status = await this.#post(collector, body).catch((error: unknown) => {
        if (tries >= maxTries) throw error;
        return null;
      });
      if (status !== null && status >= 200 && status < 300) return;
      if (tries < maxTries && (status === null || retryable.has(status))) {
        await new Promise(resolve => setTimeout(resolve, 250 * tries * (1 + Math.random())).unref());
        continue;
      }
      throw new CulvertError('SPANS_REFUSED', `collector ${collector.name} answers ${status}`, {
        side: 'server',
      });
    }
  }

  async #post({ service, port, path, headers, name }: Collector, body: Buffer): Promise<number> {
    const known = this.#context.mesh.service(service);
    if (known === null) {
      throw new CulvertError('SPANS_LOST', `there is no service ${service} for collector ${name}`, {
        fix: 'see tracing.collectors of the MeshConfig',
      });
    }
    const { status } = await callHttp(this.#context, {
      service,
      port,
      method: 'POST',
      authority: `${known.hostname}:${port}`,
      path,
      headers: [
        'content-type',
        'application/x-protobuf',
        'content-length',
        String(body.length),
        'user-agent',
        `culvert/${versionString()}`,
        ...headers.flat(),
      ],
      body,
      timeoutMs: exportMs,
    });
    return status;
  }
}
