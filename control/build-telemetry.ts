/**
 * From Telemetry and MeshConfig to what waypoints tell about requests. Pure; what is not in force is said.
 */
import { parseExpression } from '../model/expression.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { TelemetrySpec } from '../model/kinds/telemetry.ts';
import type {
  AccessLogRule,
  MetricRule,
  RequestMetric,
  SpanTag,
  Telemetry,
  TracingRule,
} from '../model/telemetry.ts';
import { type TargetContext, targetsOf } from './build-targets.ts';
import type { Severity } from './finding.ts';
import type { Located, Report } from './located.ts';

type Section<Name extends 'tracing' | 'metrics' | 'accessLogging'> = NonNullable<TelemetrySpec[Name]>[number];

const nothing = {
  services: [],
  gateways: [],
  collectors: [],
  lineFormat: null,
  tracing: null,
  accessLog: null,
  metrics: [],
};

/** What MeshConfig says. */
export function configTelemetry({ tracing, requestLog, clusterDomain }: MeshConfig): Telemetry {
  const { collectors, collector = null, samplingPercentage } = tracing;
  return {
    ...nothing,
    namespace: '',
    name: 'MeshConfig',
    createdAt: 0,
    level: 'config',
    collectors: collectors.map(({ name, service, namespace, port, path, headers }) => ({
      name,
      service: `${namespace ?? namespaceOf(service, clusterDomain)}/${service}`,
      port,
      path,
      headers: Object.entries(headers),
    })),
    lineFormat: requestLog,
    tracing: { collector, share: samplingPercentage / 100, disabled: null, tags: [] },
  };
}

/** What an object says; null where none of it is for waypoints. */
export function telemetryOf(
  object: Located<'Telemetry'>,
  context: TargetContext,
  report: Report,
): Telemetry | null {
  const { config } = context;
  const { spec, metadata } = object.value;
  const scope = new Scope(object, config, report);
  if (Object.keys(spec.selector?.matchLabels ?? {}).length > 0) {
    const message = 'not in force: waypoints have no labels of workloads; use targetRefs';
    scope.say('warning', 'telemetry-selector', 'spec.selector', message);
    return null;
  }
  const place = placeOf(object, context, report);
  if (place === null) return null;
  const created = Date.parse(metadata.creationTimestamp ?? '');
  return {
    ...nothing,
    namespace: object.namespace,
    name: object.name,
    createdAt: Number.isNaN(created) ? 0 : created,
    ...place,
    tracing: scope.tracing(),
    accessLog: scope.accessLog(),
    metrics: scope.metrics(),
  };
}

/** Where it is in force; null: nowhere. What is attached to the class of waypoints is for all of them. */
function placeOf(
  object: Located<'Telemetry'>,
  context: TargetContext,
  report: Report,
): Pick<Telemetry, 'level' | 'services' | 'gateways'> | null {
  const { targetRef, targetRefs = [] } = object.value.spec;
  const { rootNamespace } = context.config;
  const everywhere = { services: [], gateways: [] };
  if (targetRef === undefined && targetRefs.length === 0)
    return { level: object.namespace === rootNamespace ? 'mesh' : 'namespace', ...everywhere };
  const targets = targetsOf(object, context, report);
  if (targets.some(({ kind }) => kind === 'GatewayClass')) return { level: 'mesh', ...everywhere };
  const services = targets.flatMap(target => (target.kind === 'Service' ? [target.key] : []));
  const gateways = targets.flatMap(target =>
    target.kind === 'Gateway' ? [`${target.namespace}/${target.name}`] : [],
  );
  return services.length + gateways.length === 0 ? null : { level: 'target', services, gateways };
}

class Scope {
  readonly #object: Located<'Telemetry'>;
  readonly #config: MeshConfig;
  readonly #report: Report;

  constructor(object: Located<'Telemetry'>, config: MeshConfig, report: Report) {
    this.#object = object;
    this.#config = config;
    this.#report = report;
  }

  say(severity: Severity, code: string, field: string, message: string): void {
    this.#report(this.#object, severity, code, field, message);
  }

  tracing(): TracingRule | null {
    const found = this.#ours('tracing', this.#object.value.spec.tracing);
    if (found === null) return null;
    const { section, field } = found;
    const name = section.providers?.[0]?.name ?? null;
    if ((section.providers?.length ?? 0) > 1)
      this.say('warning', 'telemetry-unsupported', `${field}.providers`, 'spans go to the first only');
    if (name !== null && !this.#config.tracing.collectors.some(collector => collector.name === name))
      this.say(
        'error',
        'unknown-collector',
        `${field}.providers[0].name`,
        `no spans: MeshConfig has no collector ${name}`,
      );
    if (section.disableContextPropagation === true)
      this.say(
        'warning',
        'telemetry-unsupported',
        `${field}.disableContextPropagation`,
        'a trace is always passed on',
      );
    if (section.useRequestIdForTraceSampling === true) {
      const message = 'requests are sampled by their trace context only';
      this.say('warning', 'telemetry-unsupported', `${field}.useRequestIdForTraceSampling`, message);
    }
    const percentage = section.randomSamplingPercentage;
    return {
      collector: name,
      share: percentage === undefined ? null : percentage / 100,
      disabled: section.disableSpanReporting ?? null,
      tags: Object.entries(section.customTags ?? {}).flatMap(
        ([tag, value]) => this.#tag(tag, value, `${field}.customTags.${tag}`) ?? [],
      ),
    };
  }

  accessLog(): AccessLogRule | null {
    const found = this.#ours('accessLogging', this.#object.value.spec.accessLogging);
    if (found === null) return null;
    const { disabled = null, filter } = found.section;
    const text = filter?.expression;
    if (text === undefined) return { disabled, filter: null };
    const isFit = this.#checked(text, `${found.field}.filter.expression`, 'every request has a line');
    return { disabled, filter: isFit ? text : null };
  }

  metrics(): MetricRule[] {
    return (this.#object.value.spec.metrics ?? []).flatMap(({ overrides = [] }, index) =>
      overrides.flatMap((override, at): MetricRule[] => {
        const field = `spec.metrics[${index}].overrides[${at}]`;
        const { match, disabled = false, tagOverrides = {} } = override;
        if (match?.mode === 'CLIENT') return [];
        if (match?.customMetric !== undefined) {
          this.say(
            'warning',
            'telemetry-unsupported',
            `${field}.match.customMetric`,
            'there is no such metric',
          );
          return [];
        }
        const metric = metricOf(match?.metric ?? 'ALL_METRICS');
        if (metric === undefined) {
          this.say('info', 'telemetry-unsupported', `${field}.match.metric`, 'TCP metrics are as they are');
          return [];
        }
        const labels = Object.entries(tagOverrides).flatMap(
          ([name, { operation, value }]): MetricRule['labels'] => {
            const place = `${field}.tagOverrides.${name}`;
            if (operation === 'REMOVE') return [[name, null]];
            const isFit = this.#checked(value ?? '', `${place}.value`, 'the label stays as it is');
            return isFit ? [[name, value ?? '']] : [];
          },
        );
        return [{ metric, disabled, labels }];
      }),
    );
  }

  /** The first section that is for the side of the server; further ones are said not to be in force. */
  #ours<Name extends 'tracing' | 'accessLogging'>(
    name: Name,
    sections: readonly Section<Name>[] | undefined,
  ): { section: Section<Name>; field: string } | null {
    let found: { section: Section<Name>; field: string } | null = null;
    for (const [index, section] of (sections ?? []).entries()) {
      const field = `spec.${name}[${index}]`;
      if (section.match?.mode === 'CLIENT') continue;
      if (found === null) found = { section, field };
      else this.say('warning', 'telemetry-unsupported', field, 'not in force: there is one before it');
    }
    return found;
  }

  #tag(
    name: string,
    { literal, header, environment, formatter }: NonNullable<Section<'tracing'>['customTags']>[string],
    field: string,
  ): SpanTag | null {
    if (literal !== undefined) return { name, from: 'literal', value: literal.value, fallback: null };
    if (header !== undefined) {
      const { name: value, defaultValue: fallback = null } = header;
      return { name, from: 'header', value: value.toLowerCase(), fallback };
    }
    if (environment !== undefined) {
      const { name: value, defaultValue: fallback = null } = environment;
      return { name, from: 'environment', value, fallback };
    }
    const why = formatter === undefined ? 'it says nothing' : 'formats are not supported';
    this.say('warning', 'telemetry-unsupported', field, `spans do not have this tag: ${why}`);
    return null;
  }

  #checked(text: string, field: string, otherwise: string): boolean {
    const parsed = parseExpression(text);
    if (typeof parsed !== 'string') return true;
    this.say('error', 'telemetry-expression', field, `${otherwise}: ${parsed}`);
    return false;
  }
}

type MetricName = NonNullable<
  NonNullable<NonNullable<Section<'metrics'>['overrides']>[number]['match']>['metric']
>;

/** Null: all of them. Undefined: none of a waypoint's. */
function metricOf(name: MetricName): RequestMetric | null | undefined {
  switch (name) {
    case 'ALL_METRICS':
      return null;
    case 'REQUEST_COUNT':
      return 'requests';
    case 'REQUEST_DURATION':
      return 'duration';
    case 'REQUEST_SIZE':
      return 'request-size';
    case 'RESPONSE_SIZE':
      return 'response-size';
    case 'GRPC_REQUEST_MESSAGES':
    case 'GRPC_RESPONSE_MESSAGES':
      return 'messages';
    default:
      return undefined;
  }
}

/** Of `name.namespace.svc.domain`; others are of no namespace. */
function namespaceOf(host: string, clusterDomain: string): string {
  const [, namespace = ''] = host.split('.');
  return host.endsWith(`.svc.${clusterDomain}`) ? namespace : '';
}
