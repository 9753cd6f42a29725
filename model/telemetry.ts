/**
 * What is told about requests that pass a waypoint: which spans, access lines and metric labels, by service. Pure.
 *
 * Made from MeshConfig and Telemetry objects by control/build-telemetry.ts. What is nearer to a request wins, field by
 * field: MeshConfig, then the root namespace, then the namespace of the waypoint, then what names the service or the
 * waypoint itself; of two that are equally near, the older.
 */
export interface Telemetry {
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since the epoch; 0 where the object does not say. */
  readonly createdAt: number;
  readonly level: TelemetryLevel;
  /** Of level `target`: service keys, `namespace/hostname`. */
  readonly services: readonly string[];
  /** Of level `target`: waypoints, `namespace/name`. */
  readonly gateways: readonly string[];
  /** Where spans can be sent; only MeshConfig says so. */
  readonly collectors: readonly Collector[];
  /** How access lines are written; only MeshConfig says so. */
  readonly lineFormat: LineFormat | null;
  readonly tracing: TracingRule | null;
  readonly accessLog: AccessLogRule | null;
  readonly metrics: readonly MetricRule[];
}

/** From the widest to the nearest. */
const telemetryLevels = ['config', 'mesh', 'namespace', 'target'] as const;
export type TelemetryLevel = (typeof telemetryLevels)[number];

/** A server that takes spans by OTLP over HTTP. */
export interface Collector {
  readonly name: string;
  /** Key of its service, `namespace/hostname`. */
  readonly service: string;
  readonly port: number;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export interface LineFormat {
  readonly encoding: 'json' | 'text';
  /** Names of the fields that are written, in this order; empty: all there are. */
  readonly fields: readonly string[];
}

/** Null inherits what is wider. */
export interface TracingRule {
  /** Name of a collector. */
  readonly collector: string | null;
  /** 0 to 1, of requests that belong to no trace yet. */
  readonly share: number | null;
  readonly disabled: boolean | null;
  readonly tags: readonly SpanTag[];
}

/** A tag without a value is left out. */
export interface SpanTag {
  readonly name: string;
  readonly from: 'literal' | 'header' | 'environment';
  /** The text itself, or the name of a header (lower-case) or variable. */
  readonly value: string;
  readonly fallback: string | null;
}

export interface AccessLogRule {
  readonly disabled: boolean | null;
  /** A CEL expression over a request's attributes; a request it is false for has no line. */
  readonly filter: string | null;
}

/** What is done to one metric; `metric` null means all of them. */
export interface MetricRule {
  readonly metric: RequestMetric | null;
  readonly disabled: boolean;
  /** Labels: null removes one, a text is a CEL expression for its value. */
  readonly labels: readonly (readonly [name: string, expression: string | null])[];
}

export const requestMetrics = ['requests', 'duration', 'request-size', 'response-size', 'messages'] as const;
export type RequestMetric = (typeof requestMetrics)[number];

/** What is in force for the requests to one service. */
export interface TelemetrySettings {
  /** Null: no spans. */
  readonly tracing: {
    readonly collector: Collector;
    readonly share: number;
    readonly tags: readonly SpanTag[];
  } | null;
  readonly accessLog: { readonly enabled: boolean; readonly filter: string | null };
  readonly metrics: readonly MetricRule[];
}

/** Of the requests that belong to no trace, without a word about it. */
const defaultShare = 0.01;

export function telemetryKey({ namespace, name }: Telemetry): string {
  return `${namespace}/${name}`;
}

/**
 * What is in force at a waypoint for one of its services.
 * @param service its key; null for traffic to a workload
 * @param gateway `namespace/name`
 */
export function telemetryFor(
  all: readonly Telemetry[],
  service: string | null,
  gateway: string,
): TelemetrySettings {
  const collectors = new Map(
    all.flatMap(({ collectors: list }) => list.map(item => [item.name, item] as const)),
  );
  let tracing: TracingRule = { collector: null, share: null, disabled: null, tags: [] };
  let accessLog: AccessLogRule = { disabled: null, filter: null };
  const metrics: MetricRule[] = [];
  for (const level of telemetryLevels) {
    const here = nearest(all, level, service, gateway);
    if (here === null) continue;
    if (here.tracing !== null) tracing = narrowed(tracing, here.tracing);
    if (here.accessLog !== null) accessLog = narrowed(accessLog, here.accessLog);
    metrics.push(...here.metrics);
  }
  const collector = tracing.collector === null ? undefined : collectors.get(tracing.collector);
  return {
    tracing:
      collector === undefined || tracing.disabled === true
        ? null
        : { collector, share: tracing.share ?? defaultShare, tags: tracing.tags },
    accessLog: { enabled: accessLog.disabled !== true, filter: accessLog.filter },
    metrics,
  };
}

/** The one that speaks at a level: that of the service before that of the waypoint, then the oldest. */
function nearest(
  all: readonly Telemetry[],
  level: TelemetryLevel,
  service: string | null,
  gateway: string,
): Telemetry | null {
  const here = all.filter(item => item.level === level);
  const byAge = (list: readonly Telemetry[]): Telemetry | null => list.toSorted(compareAge)[0] ?? null;
  if (level === 'namespace') {
    const namespace = gateway.slice(0, gateway.indexOf('/'));
    return byAge(here.filter(item => item.namespace === namespace));
  }
  if (level !== 'target') return byAge(here);
  const named = service === null ? [] : here.filter(({ services }) => services.includes(service));
  return byAge(named) ?? byAge(here.filter(({ gateways }) => gateways.includes(gateway)));
}

/** Where another one speaks in the place of this one. */
export interface Displaced {
  /** Services and Gateways of its targets; empty where it has no targets. */
  readonly from: readonly string[];
  readonly by: readonly Telemetry[];
  /** Nothing is left that it would be in force for. */
  readonly everywhere: boolean;
}

/** Of several that are equally near, the oldest is in force. */
export function displacedBy(telemetry: Telemetry, all: readonly Telemetry[]): Displaced {
  const { level, namespace, services, gateways } = telemetry;
  const rivals = all.filter(other => other.level === level && compareAge(other, telemetry) < 0);
  if (level !== 'target') {
    const by = level === 'namespace' ? rivals.filter(other => other.namespace === namespace) : rivals;
    return { from: [], by, everywhere: by.length > 0 };
  }
  const by: Telemetry[] = [];
  const from: string[] = [];
  for (const [list, targets] of Object.entries({ services, gateways })) {
    for (const target of targets) {
      const older = rivals.find(other => other[list as 'services' | 'gateways'].includes(target));
      if (older === undefined) continue;
      by.push(older);
      from.push(target);
    }
  }
  return { from, by, everywhere: from.length > 0 && from.length === services.length + gateways.length };
}

function compareAge(a: Telemetry, b: Telemetry): number {
  return a.createdAt - b.createdAt || (telemetryKey(a) < telemetryKey(b) ? -1 : 1);
}

/** What the nearer one says, and what it leaves open from the wider. An empty list says nothing. */
function narrowed<T extends TracingRule | AccessLogRule>(wide: T, near: T): T {
  const said = Object.entries(near).filter(
    ([, value]) => value !== null && !(Array.isArray(value) && value.length === 0),
  );
  return { ...wide, ...Object.fromEntries(said) };
}
