/** What translating one route needs to know, and how it says what it finds. */
import { isAbout } from '../model/bound-routes.ts';
import type { BackendRef, ParentRef } from '../model/kinds/route-parts.ts';
import type { HttpParent } from '../model/http-route.ts';
import type { TcpBackend } from '../model/tcp-route.ts';
import { protocolOf } from './build-services.ts';
import type { Severity } from './finding.ts';
import { type Located, objectName, type Report } from './located.ts';

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

/** Kinds of Gateway API that are bound to Services. */
export type RouteKind = 'HTTPRoute' | 'GRPCRoute' | 'TLSRoute' | 'TCPRoute';

export class RouteScope {
  readonly object: Located<RouteKind>;
  readonly context: RouteContext;
  readonly #report: Report;

  constructor(object: Located<RouteKind>, context: RouteContext, report: Report) {
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

  /** Milliseconds since the epoch; 0 where the object does not say. */
  get createdAt(): number {
    const created = Date.parse(this.object.value.metadata.creationTimestamp ?? '');
    return Number.isNaN(created) ? 0 : created;
  }

  /** The Services that it is bound to; what is bound to other kinds is none of our business. */
  parents(): HttpParent[] {
    return this.object.value.spec.parentRefs.flatMap(
      (ref, index) => this.#parent(ref, `spec.parentRefs[${index}]`) ?? [],
    );
  }

  #parent(ref: ParentRef, field: string): HttpParent | null {
    if (!isService(ref)) return null;
    const namespace = ref.namespace ?? this.object.namespace;
    const service = this.context.service(namespace, ref.name);
    const unknown = (place: string, why: string): null => {
      this.say('warning', 'unknown-parent', place, `not bound: ${why}`);
      return null;
    };
    if (service === null) return unknown(`${field}.name`, `there is no Service ${namespace}/${ref.name}`);
    const { ports } = service.value.spec;
    const named = ref.sectionName === undefined ? null : ports.find(({ name }) => name === ref.sectionName);
    if (named === undefined)
      return unknown(`${field}.sectionName`, `${objectName(service)} has no port ${ref.sectionName}`);
    const port = named?.port ?? ref.port ?? null;
    if (port !== (ref.port ?? port) || (port !== null && !ports.some(candidate => candidate.port === port)))
      return unknown(`${field}.port`, `${objectName(service)} has no such port ${ref.port}`);
    const isFit = ports.some(({ port: number, name = '', appProtocol }) =>
      isAbout(this.object.kind, { port }, { port: number, protocol: protocolOf(appProtocol, name, number) }),
    );
    if (!isFit) {
      const which = port === null ? 'no port' : `port ${port}`;
      const why = port === null ? 'may speak what it is about' : 'is said to speak something else';
      return unknown(
        `${field}.${port === null ? 'name' : 'port'}`,
        `${which} of ${objectName(service)} ${why}`,
      );
    }
    return { service: this.key(namespace, ref.name), port };
  }

  /** What becomes of a backend's share where it can not be reached. */
  get #loss(): string {
    return this.object.kind === 'HTTPRoute' || this.object.kind === 'GRPCRoute'
      ? 'its share of the requests is answered with 500'
      : 'its share of the connections is refused';
  }

  /** A backend of weight 1. Whether it exists now is for the waypoint to see; here it is only said. */
  backend(ref: BackendRef, field: string): TcpBackend {
    const namespace = ref.namespace ?? this.object.namespace;
    const service = this.key(namespace, ref.name);
    const base = { service, port: ref.port ?? 0, subset: null, weight: 1 };
    const warn = (code: string, why: string): void =>
      this.say('warning', code, field, `${why}: ${this.#loss}`);
    const invalid = (why: string): TcpBackend => {
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
function isService({ group, kind }: { readonly group: string; readonly kind: string }): boolean {
  return kind === 'Service' && (group === '' || group === 'core');
}
