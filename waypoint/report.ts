/**
 * What is told about a request that is over: metrics, an access line and a span, as the Telemetry in force wants them. The
 * last step of a request.
 */
import { setTimeout as setTimeoutPromise } from 'node:timers/promises';
import type { RequestRecord } from './access-log.ts';
import { attributesOf } from './attributes.ts';
import type { WaypointContext } from './context.ts';
import { spanOf, type SpanContext } from './span-of.ts';
import { Spans } from './spans.ts';
import type { Telling } from './telemetry.ts';

const lastSpansMs = 1_000;
const senders = new WeakMap<WaypointContext, Spans>();

export function report(
  context: WaypointContext,
  record: RequestRecord,
  telling: Telling,
  span: SpanContext | null,
): void {
  context.metrics.request(record, telling.metrics);
  if (context.access !== null && hasLine(context, record, telling)) context.access.request(record);
  if (span === null || telling.tracing === null) return;
  const { collector, tags } = telling.tracing;
  let sender = senders.get(context);
  if (sender === undefined) senders.set(context, (sender = new Spans(context)));
  sender.add(collector, spanOf(record, span, tags, Date.now()));
}

/** Sends what waits, as far as the collector is quick; for the end of the process. */
export async function flushSpans(context: WaypointContext): Promise<void> {
  const sender = senders.get(context);
  if (sender === undefined) return;
  const patience = new AbortController();
  const limit = setTimeoutPromise(lastSpansMs, undefined, { signal: patience.signal }).catch(() => {});
  await Promise.race([sender.flush(), limit]);
  patience.abort();
}

/** A filter that cannot say keeps no line back. */
function hasLine(
  context: WaypointContext,
  record: RequestRecord,
  { hasLine: wanted, lineFilter }: Telling,
): boolean {
  if (!wanted || lineFilter === null) return wanted;
  const outcome = lineFilter.evaluate(attributesOf(record));
  if ('error' in outcome) {
    context.metrics.lineFilterFailed();
    return true;
  }
  return outcome.value === true;
}
