/**
 * Which waypoint the traffic to a service or workload passes: its own label, else that of its namespace, names a Gateway of
 * the class of waypoints.
 *
 * A Gateway that does not exist or does not take it is an error that is named, and traffic goes directly. One that exists
 * and has no pod yet is the waypoint all the same: connections are refused until it has, since nothing else would apply its
 * policies and routes.
 */
import { waypointClasses, type Gateway } from '../model/kinds/gateway.ts';
import { firstMark, useWaypoint, useWaypointNamespace, waypointFor } from '../model/kinds/marks.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { GatewayAddress } from '../model/workload.ts';
import { marksField } from './build-enrolment.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import type { Located, Report } from './located.ts';

/** What may ask for a waypoint. */
export type WaypointUser = Located<'Service' | 'ServiceEntry' | 'Pod' | 'WorkloadEntry'>;

/** Where pods of waypoints listen for tunnels. */
const hbonePort = 15_008;

interface Wish {
  readonly namespace: string;
  readonly name: string;
  /** Who says so: the object, or its namespace. */
  readonly by: Located<'Namespace'> | WaypointUser;
  readonly mark: string;
}

export class WaypointBook {
  readonly #objects: Objects;
  readonly #config: MeshConfig;

  constructor({ objects, config }: { readonly objects: Objects; readonly config: MeshConfig }) {
    this.#objects = objects;
    this.#config = config;
  }

  /** The waypoint of an object, null where it has none. */
  waypointOf(object: WaypointUser): GatewayAddress | null {
    const wish = this.#wishOf(object);
    if (wish === null || this.#obstacle(wish) !== null) return null;
    const gateway = this.#gateway(wish.namespace, wish.name);
    if (gateway === null || !serves(gateway.value, trafficOf(object)) || this.#isWaypoint(object))
      return null;
    const hostname = `${wish.name}.${wish.namespace}.svc.${this.#config.clusterDomain}`;
    return {
      destination: { kind: 'hostname', namespace: wish.namespace, hostname },
      hboneMtlsPort: hbonePort,
    };
  }

  /** Says why an object does not get the waypoint that its own labels ask for. */
  report(object: Located<'Namespace'> | WaypointUser, report: Report): void {
    const wish = ownWish(object);
    if (wish === null) return;
    const field = marksField('labels', wish.mark);
    const directly = 'traffic goes directly, with L4 policy only';
    const obstacle = object.kind === 'WorkloadEntry' ? outside : this.#obstacle(wish);
    if (obstacle !== null) {
      report(object, 'error', obstacle.code, field, `${obstacle.why}: ${directly}`);
      return;
    }
    const gateway = this.#gateway(wish.namespace, wish.name);
    if (object.kind !== 'Namespace' && gateway !== null && !serves(gateway.value, trafficOf(object))) {
      const message = `the waypoint ${wish.name} is not for traffic to a ${trafficOf(object)}: ${directly}`;
      report(object, 'error', 'waypoint-refused', field, message);
    }
    if (this.#objects.get('Service', wish.namespace, wish.name) === null) {
      const message = `the waypoint ${wish.name} has no Service of its name, by which it is found: connections are refused`;
      report(object, 'error', 'waypoint-without-service', field, message);
    }
  }

  /** The Gateway whose waypoint a pod is: the one whose Service, of the same name, selects it. */
  gatewayOf({ namespace, value }: Located<'Pod'>): Located<'Gateway'> | null {
    const { labels } = value.metadata;
    for (const service of this.#objects.in('Service', namespace)) {
      const gateway = this.#gateway(namespace, service.name);
      if (gateway === null) continue;
      const selector = Object.entries(service.value.spec.selector);
      if (selector.length > 0 && selector.every(([key, value]) => labels[key] === value)) return gateway;
    }
    return null;
  }

  /** The waypoints, as `namespace/name`, that a change of objects may be about. */
  touchedBy({ kind, namespace, name }: ObjectChange): string | null {
    const isGateway = kind === 'Gateway' || (kind === 'Service' && this.#gateway(namespace, name) !== null);
    return isGateway ? `${namespace}/${name}` : null;
  }

  /** The waypoint an object's labels or those of its namespace name, as `namespace/name`, whether it can be had or not. */
  nameFor(object: Located<'Namespace'> | WaypointUser): string | null {
    const wish = object.kind === 'Namespace' ? ownWish(object) : this.#wishOf(object);
    return wish === null ? null : `${wish.namespace}/${wish.name}`;
  }

  #wishOf(object: WaypointUser): Wish | null {
    if (firstMark(object.value.metadata.labels, useWaypoint) !== null) return ownWish(object);
    const namespace = this.#objects.get('Namespace', '', object.namespace);
    return namespace === null ? null : ownWish(namespace);
  }

  #gateway(namespace: string, name: string): Located<'Gateway'> | null {
    const gateway = this.#objects.get('Gateway', namespace, name);
    return gateway !== null && waypointClasses.includes(gateway.value.spec.gatewayClassName) ? gateway : null;
  }

  #obstacle({ namespace, name, by }: Wish): { readonly code: string; readonly why: string } | null {
    const gateway = this.#gateway(namespace, name);
    if (gateway === null) {
      const why = `there is no Gateway ${namespace}/${name} of class ${waypointClasses[0]}`;
      return { code: 'unknown-waypoint', why };
    }
    const from = by.kind === 'Namespace' ? by.name : by.namespace;
    const { listeners } = gateway.value.spec;
    const isOpen = listeners.some(({ allowedRoutes }) => allowedRoutes?.namespaces?.from === 'All');
    if (from === namespace || isOpen) return null;
    const why = `the waypoint ${namespace}/${name} does not take other namespaces (allowedRoutes.namespaces.from: All)`;
    return { code: 'waypoint-refused', why };
  }

  /** What leads to waypoints itself has none. */
  #isWaypoint(object: WaypointUser): boolean {
    if (object.kind === 'Service') return this.#gateway(object.namespace, object.name) !== null;
    return object.kind === 'Pod' && this.gatewayOf(object) !== null;
  }
}

const outside = {
  code: 'waypoint-refused',
  why: 'what is outside the cluster has no waypoint by its own address',
};

function ownWish(object: Located<'Namespace'> | WaypointUser): Wish | null {
  const { labels } = object.value.metadata;
  const mark = firstMark(labels, useWaypoint);
  if (mark === null || mark.value === 'none' || mark.value === '') return null;
  const own = object.kind === 'Namespace' ? object.name : object.namespace;
  const namespace = firstMark(labels, useWaypointNamespace)?.value ?? own;
  return { namespace, name: mark.value, by: object, mark: mark.name };
}

function trafficOf(object: WaypointUser): 'service' | 'workload' {
  return object.kind === 'Service' || object.kind === 'ServiceEntry' ? 'service' : 'workload';
}

function serves(gateway: Gateway, traffic: 'service' | 'workload'): boolean {
  const wanted = firstMark(gateway.metadata.labels, waypointFor)?.value ?? 'service';
  return wanted === 'all' || wanted === traffic;
}
