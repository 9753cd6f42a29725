/**
 * One request as a trace: its client names the trace, the waypoint adds its span and tells a collector, and the server is
 * told who its parent is.
 */
import { randomBytes } from 'node:crypto';
import { eventually } from '../eventually.ts';
import type { ReceivedSpan } from './collector.ts';
import type { Report } from './report.ts';
import { inline, tracing } from './waypoint-cast.ts';
import type { WaypointStage } from './waypoint-stage.ts';

/** A request that has been made, and what its server says that it was told. */
export interface Traced {
  readonly traceId: string;
  /** Of the client. */
  readonly spanId: string;
  readonly command: string;
  readonly told: string;
}

/** Asks first and looks later: spans are sent on in batches, up to a second after their requests. */
export async function askTraced({ stage }: WaypointStage): Promise<Traced> {
  const [traceId, spanId] = [16, 8].map(bytes => randomBytes(bytes).toString('hex')) as [string, string];
  const url = 'http://web.shop/trace';
  const header = `traceparent: 00-${traceId}-${spanId}-01`;
  const { text } = await stage.curl('front', url, '-H', header);
  return { traceId, spanId, command: `curl -H '${header}' ${url}`, told: text };
}

export async function showTrace(act: WaypointStage, traced: Traced, report: Report): Promise<void> {
  const { traceId, spanId, command, told } = traced;
  const find = (): ReceivedSpan | undefined =>
    act
      .spans()
      .map(line => JSON.parse(line) as ReceivedSpan)
      .find(span => span.traceId === traceId);
  const span = await eventually(find, { what: `a span of trace ${traceId}` });
  const { attributes } = span;
  report.row('waypoint.yaml', 'MeshConfig, tracing:');
  report.below(inline(tracing));
  report.row('front$', command);
  const parent = report.expect(span.parentId === spanId, '', `, of another parent, ${span.parentId}`);
  const status = `${attributes['http.request.method']} ${attributes['url.path']} ${attributes['http.response.status_code']}`;
  const isKept = told === `00-${traceId}-${span.spanId}-01`;
  report.below(
    `front  span ${spanId}, its own`,
    `└─ ${span.from}  span ${span.spanId}${parent}: ${status}, ${span.ms.toFixed(1)} ms, ${attributes['http.route']}`,
    `   └─ ${attributes['destination.workload']}  ${report.expect(isKept, `told ${told}`, `told ${told || 'nothing'}`)}`,
  );
}
