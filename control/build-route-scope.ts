/** What translating one route needs to know, and how it says what it finds. */
import type { BackendRef } from '../model/kinds/route-parts.ts';
import type { HttpBackend } from '../model/http-route.ts';
import type { Report } from './build-objects.ts';
import type { Severity } from './finding.ts';
import { type Located, objectName } from './located.ts';

export interface RouteContext {
  readonly clusterDomain: string;
  /** The Service of a name, null when there is none; for the ports of parents and what is said about backends. */
  readonly service: (namespace: string, name: string) => Located<'Service'> | null;
  /** What a filter of type ExtensionRef names in the namespace of the route. */
  readonly extension: (kind: ExtensionKind, name: string) => Located<ExtensionKind> | null;
}

/** Kinds of culvert.dev that are filters of rules. */
export const extensionKinds = ['FaultInjection', 'RateLimit'] as const;
export type ExtensionKind = (typeof extensionKinds)[number];

export class RouteScope {
  readonly object: Located<'HTTPRoute' | 'GRPCRoute'>;
  readonly context: RouteContext;
  readonly #report: Report;

  constructor(object: Located<'HTTPRoute' | 'GRPCRoute'>, context: RouteContext, report: Report) {
    this.object = object;
    this.context = context;
    this.#report = report;
  }

  say(severity: Severity, code: string, field: string, message: string): void {
    this.#report(this.object, severity, code, field, message);
  }

  /** `namespace/hostname` of a Service. */
  key(namespace: string, name: string): string {
    return `${namespace}/${name}.${namespace}.svc.${this.context.clusterDomain}`;
  }

  /** A backend of weight 1. Whether it exists now is for the waypoint to see; here it is only said. */
  backend(ref: BackendRef, field: string): HttpBackend {
    const namespace = ref.namespace ?? this.object.namespace;
    const service = this.key(namespace, ref.name);
    const base = { service, port: ref.port ?? 0, subset: null, weight: 1, filters: [] };
    const warn = (code: string, why: string): void =>
      this.say('warning', code, field, `${why}: its share of the requests is answered with 500`);
    const invalid = (why: string): HttpBackend => {
      warn('invalid-backend', why);
      return { ...base, invalid: why };
    };
    if (!isService(ref)) return invalid(`a backend is a Service, not ${ref.kind}`);
    if (ref.port === undefined) return invalid('a Service as backend needs a port');
    const object = this.context.service(namespace, ref.name);
    if (object?.value.spec.type === 'ExternalName')
      return invalid(`${objectName(object)} is only another name: it has no endpoints`);
    if (object === null) warn('unknown-backend', `there is no Service ${namespace}/${ref.name}`);
    else if (!object.value.spec.ports.some(({ port }) => port === ref.port))
      warn('unknown-backend', `${objectName(object)} has no port ${ref.port}`);
    return { ...base, invalid: null };
  }
}

/** Whether a reference is to a Service of Kubernetes. */
export function isService({ group, kind }: { readonly group: string; readonly kind: string }): boolean {
  return kind === 'Service' && (group === '' || group === 'core');
}
