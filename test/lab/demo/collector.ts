/**
 * A small collector of traces: takes spans by OTLP over HTTP and prints each as a line of JSON.
 *
 *   node test/lab/demo/collector.ts PORT
 */
import { createServer } from 'node:http';
import { loadProtocol } from '../../../proto/load.ts';

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue: string | null; readonly intValue: number | null };
}

interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly {
      readonly spans: readonly {
        readonly traceId: Buffer;
        readonly spanId: Buffer;
        readonly parentSpanId: Buffer;
        readonly name: string;
        readonly startTimeUnixNano: number;
        readonly endTimeUnixNano: number;
        readonly attributes: readonly Attribute[];
      }[];
    }[];
  }[];
}

/** What is printed of a span. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  /** `service.name` of whoever sent it. */
  readonly from: string;
  readonly name: string;
  readonly ms: number;
  readonly attributes: Readonly<Record<string, string | number>>;
}

if (import.meta.main) {
  const exported = loadProtocol('trace.proto').message<Export>('culvert.otlp.ExportTraceServiceRequest');
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const spans = spansOf(exported.decode(Buffer.concat(chunks)));
      for (const span of spans) process.stdout.write(`${JSON.stringify(span)}\n`);
      response.end();
    });
  });
  server.listen(Number(process.argv[2]));
}

function spansOf({ resourceSpans }: Export): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const from = String(valuesOf(resource.attributes)['service.name']);
    const spans = scopeSpans.flatMap(scope => scope.spans);
    return spans.map(
      ({ traceId, spanId, parentSpanId, name, startTimeUnixNano, endTimeUnixNano, attributes }) => ({
        traceId: traceId.toString('hex'),
        spanId: spanId.toString('hex'),
        parentId: parentSpanId.toString('hex'),
        from,
        name,
        ms: (endTimeUnixNano - startTimeUnixNano) / 1e6,
        attributes: valuesOf(attributes),
      }),
    );
  });
}

function valuesOf(attributes: readonly Attribute[]): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue ?? '']),
  );
}
