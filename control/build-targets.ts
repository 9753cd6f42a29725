/**
 * What a policy for waypoints is attached to: its targetRefs, as a waypoint compares them, and what is to be said where one
 * leads nowhere or to something that uses no waypoint.
 */
import type { PolicyTarget } from '../model/http-policy.ts';
import { waypointClasses } from '../model/kinds/gateway.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { GatewayAddress } from '../model/workload.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import type { WaypointUser } from './build-waypoints.ts';
import type { Located, Report } from './located.ts';

/** Kinds that may have targetRefs. */
export type Targeting = Located<'AuthorizationPolicy' | 'RequestAuthentication' | 'Telemetry'>;

export interface TargetContext {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly waypoints: { waypointOf(object: WaypointUser): GatewayAddress | null };
}

interface TargetRef {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string | undefined;
}

const gatewayGroup = 'gateway.networking.k8s.io';
const groups: Readonly<Record<string, readonly string[]>> = {
  Service: ['', 'core'],
  ServiceEntry: ['networking.istio.io', 'culvert.dev'],
  Gateway: [gatewayGroup],
  GatewayClass: [gatewayGroup],
};

/** Whether a change of an object may be about what the policies of a namespace are attached to; null: of all of them. */
export function touchedTargets({ kind, namespace, name }: ObjectChange): string | null | undefined {
  if (kind === 'Service' || kind === 'ServiceEntry') return namespace;
  if (kind === 'Namespace') return name;
  return kind === 'Gateway' ? null : undefined;
}

export function targetsOf(object: Targeting, context: TargetContext, report: Report): PolicyTarget[] {
  const { targetRef, targetRefs = [] } = object.value.spec;
  const refs =
    targetRef === undefined
      ? targetRefs.map((ref, at) => [ref, `spec.targetRefs[${at}]`] as const)
      : [[targetRef, 'spec.targetRef'] as const];
  return refs.flatMap(([ref, field]) => new Target(object, context, ref, field, report).resolve());
}

class Target {
  readonly #object: Targeting;
  readonly #context: TargetContext;
  readonly #ref: TargetRef;
  readonly #field: string;
  readonly #report: Report;

  constructor(object: Targeting, context: TargetContext, ref: TargetRef, field: string, report: Report) {
    this.#object = object;
    this.#context = context;
    this.#ref = ref;
    this.#field = field;
    this.#report = report;
  }

  resolve(): PolicyTarget[] {
    const { kind, group, namespace } = this.#ref;
    if (groups[kind]?.includes(group) !== true)
      return this.#invalid(`${group === '' ? '' : `${group} `}${kind} is nothing that a waypoint serves`);
    if (namespace !== undefined && namespace !== this.#object.namespace)
      return this.#invalid('a policy is attached to what is in its own namespace');
    if (kind === 'Service') return this.#service();
    if (kind === 'ServiceEntry') return this.#serviceEntry();
    return kind === 'Gateway' ? this.#gateway() : this.#gatewayClass();
  }

  #service(): PolicyTarget[] {
    const { objects, config } = this.#context;
    const { namespace } = this.#object;
    const { name } = this.#ref;
    const service = objects.get('Service', namespace, name);
    if (service === null) this.#nowhere(`there is no Service ${namespace}/${name}`);
    else this.#checkWaypoint(service);
    return [{ kind: 'Service', key: `${namespace}/${name}.${namespace}.svc.${config.clusterDomain}` }];
  }

  #serviceEntry(): PolicyTarget[] {
    const { namespace } = this.#object;
    const { name } = this.#ref;
    const entry = this.#context.objects.get('ServiceEntry', namespace, name);
    if (entry === null) return this.#nowhere(`there is no ServiceEntry ${namespace}/${name}`);
    this.#checkWaypoint(entry);
    return entry.value.spec.hosts.map(host => ({ kind: 'Service', key: `${namespace}/${host}` }));
  }

  #gateway(): PolicyTarget[] {
    const { namespace } = this.#object;
    const { name } = this.#ref;
    const gateway = this.#context.objects.get('Gateway', namespace, name);
    if (gateway === null || !waypointClasses.includes(gateway.value.spec.gatewayClassName))
      this.#nowhere(`there is no waypoint ${namespace}/${name}`);
    return [{ kind: 'Gateway', namespace, name }];
  }

  #gatewayClass(): PolicyTarget[] {
    const { rootNamespace } = this.#context.config;
    if (this.#object.namespace !== rootNamespace)
      return this.#invalid(`only policies of ${rootNamespace} are for all waypoints`);
    if (!waypointClasses.includes(this.#ref.name))
      return this.#nowhere(`${this.#ref.name} is no class of waypoints`);
    return [{ kind: 'GatewayClass' }];
  }

  #checkWaypoint(service: Located<'Service' | 'ServiceEntry'>): void {
    if (this.#context.waypoints.waypointOf(service) !== null) return;
    const { kind, namespace, name } = service;
    const message = `is not enforced: ${kind} ${namespace}/${name} uses no waypoint`;
    this.#report(this.#object, 'warning', 'policy-not-enforced', this.#field, message);
  }

  #nowhere(why: string): [] {
    this.#report(
      this.#object,
      'warning',
      'policy-without-workloads',
      this.#field,
      `is in force nowhere: ${why}`,
    );
    return [];
  }

  #invalid(why: string): [] {
    this.#report(this.#object, 'error', 'invalid-value', this.#field, `${why}: the target is left out`);
    return [];
  }
}
