/**
 * What is to be told about requests, compiled: a waypoint asks once per request, by the service it is for.
 */
import { type Expression, parseExpression } from '../model/expression.ts';
import { serviceKey } from '../model/service.ts';
import {
  type LineFormat,
  type RequestMetric,
  type Telemetry,
  type TelemetrySettings,
  requestMetrics,
  telemetryFor,
} from '../model/telemetry.ts';
import type { Destination } from './context.ts';

export interface Telling {
  readonly tracing: TelemetrySettings['tracing'];
  readonly hasLine: boolean;
  /** Null: every request has a line. */
  readonly lineFilter: Expression | null;
  /** What is changed about metrics; null where nothing is. */
  readonly metrics: ReadonlyMap<RequestMetric, MetricChange> | null;
}

/** Null: the metric is not counted. */
export type MetricChange = { readonly labels: readonly LabelChange[] } | null;

/** Null removes the label. */
export type LabelChange = readonly [name: string, value: Expression | null];

export class TelemetryStore {
  readonly #gateway: string;
  #all: readonly Telemetry[] = [];
  readonly #known = new Map<string, Telling>();

  /** @param gateway `namespace/name` of this waypoint */
  constructor(gateway: string) {
    this.#gateway = gateway;
  }

  replace(all: readonly Telemetry[]): void {
    this.#all = all;
    this.#known.clear();
  }

  for(destination: Destination): Telling {
    const service = destination.kind === 'service' ? serviceKey(destination.service) : null;
    let telling = this.#known.get(service ?? '');
    if (telling === undefined) {
      telling = compile(telemetryFor(this.#all, service, this.#gateway));
      this.#known.set(service ?? '', telling);
    }
    return telling;
  }

  /** How access lines are written. */
  lineFormat(): LineFormat | null {
    return this.#all.find(({ lineFormat }) => lineFormat !== null)?.lineFormat ?? null;
  }
}

function compile({ tracing, accessLog, metrics }: TelemetrySettings): Telling {
  return {
    tracing,
    hasLine: accessLog.enabled,
    lineFilter: accessLog.filter === null ? null : compiled(accessLog.filter),
    metrics: metrics.length === 0 ? null : changesOf(metrics),
  };
}

/** Later rules win, label by label. */
function changesOf(rules: TelemetrySettings['metrics']): Map<RequestMetric, MetricChange> {
  const changes = new Map<RequestMetric, MetricChange>();
  for (const name of requestMetrics) {
    const labels = new Map<string, Expression | null>();
    let isDisabled = false;
    for (const rule of rules.filter(({ metric }) => (metric ?? name) === name)) {
      isDisabled = rule.disabled;
      for (const [label, text] of rule.labels) labels.set(label, text === null ? null : compiled(text));
    }
    changes.set(name, isDisabled ? null : { labels: [...labels] });
  }
  return changes;
}

/** One that cannot be read stands for an error at each request: the control plane has said so already. */
function compiled(text: string): Expression {
  const parsed = parseExpression(text);
  return typeof parsed === 'string' ? { evaluate: () => ({ error: parsed }) } : parsed;
}
