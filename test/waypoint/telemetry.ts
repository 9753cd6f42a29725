/** What a waypoint tells about requests: metrics, access lines and spans, and how Telemetry changes them. */
import type http from 'node:http';
import { Registry } from 'prom-client';
import t from 'tap';
import { loadProtocol } from '../../proto/load.ts';
import { eventually } from '../lab/eventually.ts';
import { World } from './world.ts';
import { route } from './world-objects.ts';

const otlp = loadProtocol('trace.proto').message<Exported>('culvert.otlp.ExportTraceServiceRequest');

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue: string | null; readonly intValue: number | null };
}

interface Span {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parentSpanId: Buffer;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: number;
  readonly endTimeUnixNano: number;
  readonly attributes: readonly Attribute[];
  readonly status: { readonly code: number } | null;
}

interface Exported {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

const traceId = '0af7651916cd43dd8448eb211c80319c';
const parentId = 'b7ad6b7169203331';

function object(kind: string, name: string, spec: object): string {
  const metadata = kind === 'MeshConfig' ? { name } : { name, namespace: 'shop' };
  return `${JSON.stringify({ apiVersion: 'culvert.dev/v1', kind, metadata, spec })}\n---\n`;
}

function traced(samplingPercentage: number, more: object = {}): string {
  const collectors = [
    { name: 'main', service: 'otel.shop.svc.cluster.local', port: 80, headers: { 'x-key': 'k' } },
  ];
  const apart = route('- backendRefs: [{ name: app, port: 80 }]');
  return (
    apart +
    object('MeshConfig', 'default', {
      tracing: { collectors, collector: 'main', samplingPercentage },
      ...more,
    })
  );
}

class Collector {
  readonly spans: Span[] = [];
  readonly heads: http.IncomingHttpHeaders[] = [];
  readonly paths: (string | undefined)[] = [];
  /** Answers of the next requests; 200 after them. */
  readonly answers: number[] = [];
  resource: readonly Attribute[] = [];

  readonly handle: http.RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      this.heads.push(request.headers);
      this.paths.push(request.url);
      const status = this.answers.shift() ?? 200;
      response.statusCode = status;
      response.end();
      if (status !== 200) return;
      const [spans] = otlp.decode(Buffer.concat(chunks)).resourceSpans;
      this.resource = spans?.resource.attributes ?? [];
      this.spans.push(...(spans?.scopeSpans.flatMap(scope => scope.spans) ?? []));
    });
  };
}

function attributes(list: readonly Attribute[]): Record<string, string | number | null> {
  return Object.fromEntries(list.map(({ key, value }) => [key, value.stringValue ?? value.intValue]));
}

async function metricsOf(world: World): Promise<string> {
  const registry = new Registry();
  world.waypoint.context.metrics.register(registry);
  return registry.metrics();
}

t.test('a request of a sampled trace is a span of it', async t => {
  const tag = {
    tenant: { header: { name: 'X-Tenant' } },
    home: { environment: { name: 'NOT_SET', defaultValue: 'no' } },
  };
  await using world = await World.create({
    pods: ['app', 'otel'],
    objects: traced(0) + object('Telemetry', 't', { tracing: [{ customTags: tag }] }),
  });
  const collector = new Collector();
  await world.serveHttp('otel', collector.handle);
  let got: http.IncomingHttpHeaders = {};
  await world.serveHttp('app', (request, response) => {
    got = request.headers;
    response.statusCode = 503;
    response.end('sorry');
  });
  await world.request('/a?b=c', {
    headers: { traceparent: `00-${traceId}-${parentId}-01`, 'x-tenant': 'blue' },
  });
  const span = await eventually(() => collector.spans.find(({ name }) => name.includes('web')), {
    what: 'a span',
  });
  t.equal(span.traceId.toString('hex'), traceId);
  t.equal(span.parentSpanId.toString('hex'), parentId);
  t.equal(
    got['traceparent'],
    `00-${traceId}-${span.spanId.toString('hex')}-01`,
    'the span is the parent of what follows',
  );
  t.equal(span.kind, 2);
  t.equal(span.name, 'GET web.shop.svc.cluster.local');
  t.equal(span.status?.code, 2, 'an error');
  t.ok(span.endTimeUnixNano >= span.startTimeUnixNano && span.startTimeUnixNano > 1.7e18);
  t.match(attributes(span.attributes), {
    'http.request.method': 'GET',
    'url.path': '/a',
    'url.query': 'b=c',
    'http.response.status_code': 503,
    'http.response.body.size': 5,
    'source.principal': 'spiffe://cluster.local/ns/shop/sa/client',
    'destination.workload': 'app',
    tenant: 'blue',
    home: 'no',
  });
  t.match(attributes(collector.resource), { 'service.name': 'wp.shop', 'service.instance.id': 'wp' });
  t.equal(collector.paths[0], '/v1/traces');
  t.match(collector.heads[0], { 'content-type': 'application/x-protobuf', 'x-key': 'k' });
});

t.test('what is sampled: its trace decides, else the share', async t => {
  await using world = await World.create({ pods: ['app', 'otel'], objects: traced(100) });
  const collector = new Collector();
  await world.serveHttp('otel', collector.handle);
  const parents: (string | string[] | undefined)[] = [];
  await world.serveHttp('app', (request, response) => {
    parents.push(request.headers['traceparent']);
    response.end();
  });
  const unsampled = `00-${traceId}-${parentId}-00`;
  await world.request('/not', { headers: { traceparent: unsampled } });
  await world.request('/b3-not', { headers: { b3: `${traceId}-${parentId}-0` } });
  await world.request('/b3', { headers: { 'x-b3-traceid': traceId, 'x-b3-spanid': parentId } });
  await world.request('/new');
  const find = (path: string) =>
    collector.spans.find(span => attributes(span.attributes)['url.path'] === path);
  const last = await eventually(() => find('/new'), { what: 'the last span' });
  t.equal(last.parentSpanId.length, 0, 'a trace begins');
  t.equal(find('/not'), undefined);
  t.equal(find('/b3-not'), undefined);
  t.equal(find('/b3')?.traceId.toString('hex'), traceId);
  t.same(parents.slice(0, 2), [unsampled, unsampled], 'passed on as they came');
  // Counted once the collector's answer has come, after it has told us of them.
  const exported = /culvert_waypoint_spans_total\{result="exported"\} 2/;
  await eventually(async () => exported.test(await metricsOf(world)), { what: 'a count of two' });
});

t.test('a collector that refuses for a while, and one that refuses for good', async () => {
  await using world = await World.create({ pods: ['app', 'otel'], objects: traced(100) });
  const collector = new Collector();
  collector.answers.push(503, 429);
  await world.serveHttp('otel', collector.handle);
  await world.serveHttp('app');
  await world.request('/');
  await eventually(() => collector.spans.length === 1, { what: 'the third try' });
  collector.answers.push(400);
  await world.request('/');
  await eventually(async () => (await metricsOf(world)).includes('spans_total{result="SPANS_REFUSED"} 1'), {
    what: 'a count',
  });
});

t.test('lines: fields, text, filter, none', async t => {
  const text = { requestLog: { encoding: 'text', fields: ['method', 'path', 'status', 'src.identity'] } };
  const filter = object('Telemetry', 't', {
    accessLogging: [{ filter: { expression: "response.code >= 400 || request.headers['x-log'] == 'yes'" } }],
  });
  await using world = await World.create({ objects: object('MeshConfig', 'default', text) + filter });
  await world.serveHttp('web', (request, response) => {
    response.statusCode = request.url === '/bad' ? 500 : 200;
    response.end();
  });
  // The header is missing in the first two: || does without it where it can.
  await world.request('/bad');
  await world.request('/silent', { headers: { 'x-log': 'no' } });
  await world.request('/said', { headers: { 'x-log': 'yes' } });
  await world.request('/error');
  const lines = await eventually(() => (world.text().split('\n').length > 3 ? world.text() : null), {
    what: 'lines',
  });
  t.same(lines.trim().split('\n'), [
    'method=GET path=/bad status=500 src.identity=spiffe://cluster.local/ns/shop/sa/client',
    'method=GET path=/said status=200 src.identity=spiffe://cluster.local/ns/shop/sa/client',
    'method=GET path=/error status=200 src.identity=spiffe://cluster.local/ns/shop/sa/client',
  ]);
  t.match(
    await metricsOf(world),
    /culvert_waypoint_expression_errors_total\{of="access-log-filter"\} 1/,
    'a filter that can not say keeps no line back',
  );
});

t.test('metrics: sizes, labels that are changed, and one that is not wanted', async t => {
  await using world = await World.create();
  await world.serveHttp('web', (request, response) => {
    request.resume().on('end', () => response.end('x'.repeat(700)));
  });
  await world.request('/', { method: 'POST', body: 'x'.repeat(30) });
  const usual = await eventually(
    async () => {
      const text = await metricsOf(world);
      return text.includes('istio_requests_total{') ? text : null;
    },
    { what: 'a count' },
  );
  const rows = (text: string, name: string) => text.split('\n').filter(line => line.startsWith(name));
  t.match(rows(usual, 'istio_request_bytes_sum')[0], / 30$/);
  t.match(rows(usual, 'istio_response_bytes_sum')[0], / 700$/);
  t.match(
    rows(usual, 'istio_response_bytes_bucket').find(line => line.includes('le="500"')),
    / 0$/,
  );
  t.match(
    rows(usual, 'istio_response_bytes_bucket').find(line => line.includes('le="1000"')),
    / 1$/,
  );

  await world.routes(
    object('Telemetry', 't', {
      metrics: [
        {
          overrides: [
            { match: { metric: 'REQUEST_DURATION' }, disabled: true },
            {
              match: { metric: 'REQUEST_COUNT' },
              tagOverrides: {
                tenant: { value: "request.headers['x-tenant']" },
                source_app: { operation: 'REMOVE' },
              },
            },
          ],
        },
      ],
    }),
  );
  await world.request('/', { headers: { 'x-tenant': 'blue' } });
  const changed = await eventually(
    async () => {
      const text = await metricsOf(world);
      return text.includes('tenant="blue"') ? text : null;
    },
    { what: 'a label' },
  );
  const blue = rows(changed, 'istio_requests_total').find(line => line.includes('tenant="blue"')) ?? '';
  t.match(blue, / 1$/);
  t.notMatch(blue, /source_app=/);
  const durations = rows(changed, 'istio_request_duration_milliseconds_count');
  t.equal(durations.length, 1, 'only of the request before');
  t.match(durations[0], / 1$/);
});

t.test('connections that are no HTTP are counted as agents count theirs', async t => {
  await using world = await World.create({ appProtocol: 'tcp' });
  await world.serve('web', socket => socket.once('data', () => socket.end('bye')));
  await world.raw('hello');
  const text = await eventually(
    async () => {
      const all = await metricsOf(world);
      return /istio_tcp_connections_closed_total\{.*\} 1/.test(all) ? all : null;
    },
    { what: 'a connection' },
  );
  t.match(text, /istio_tcp_connections_opened_total\{.*reporter="waypoint".*\} 1/);
  t.match(text, /istio_tcp_received_bytes_total\{.*\} 5/);
  t.match(text, /istio_tcp_sent_bytes_total\{.*\} 3/);
});
