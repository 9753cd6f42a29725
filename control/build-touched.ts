/**
 * What a change of objects makes the parts of the builder look at again, and what is said of the marks that people put on
 * objects: who is in the mesh, and by which waypoint they are reached.
 */
import { modeOf } from './build-enrolment.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import type { PolicyRef } from './build-policies.ts';
import type { ServiceRef } from './build-service-book.ts';
import { annotatedDistribution } from './build-services.ts';
import type { WaypointBook, WaypointUser } from './build-waypoints.ts';
import { type Located, objectName } from './located.ts';

export interface Touched {
  readonly pods: ReadonlyMap<string, { readonly namespace: string; readonly name: string }>;
  readonly services: ReadonlyMap<string, ServiceRef>;
  readonly policies: readonly PolicyRef[];
  readonly nodes: ReadonlySet<string>;
}

export interface TouchOptions {
  readonly objects: Objects;
  readonly findings: FindingStore;
  readonly waypoints: WaypointBook;
}

export class Touch {
  readonly #options: TouchOptions;

  constructor(options: TouchOptions) {
    this.#options = options;
  }

  /** Which parts have to look again, by the kind of what changed. */
  of(changes: readonly ObjectChange[]): Touched {
    const { objects } = this.#options;
    const pods = new Map<string, { namespace: string; name: string }>();
    const services = new Map<string, ServiceRef>();
    const policies: PolicyRef[] = [];
    const nodes = new Set<string>();
    const waypoints = new Set<string>();
    for (const change of changes) {
      const { kind, namespace, name } = change;
      this.#reportMarks(change);
      const waypoint = this.#options.waypoints.touchedBy(change);
      if (waypoint !== null) waypoints.add(waypoint);
      if (kind === 'Pod') pods.set(`${namespace}/${name}`, { namespace, name });
      else if (kind === 'Service' || kind === 'ServiceEntry')
        services.set(`${kind} ${namespace}/${name}`, { kind, namespace, name });
      else if (kind === 'AuthorizationPolicy' || kind === 'PeerAuthentication')
        policies.push({ kind, namespace, name });
      else if (kind === 'Node') nodes.add(name);
      else if (kind === 'Namespace') {
        for (const pod of objects.in('Pod', name))
          pods.set(`${name}/${pod.name}`, { namespace: name, name: pod.name });
        for (const service of objects.in('Service', name))
          services.set(`Service ${name}/${service.name}`, {
            kind: 'Service',
            namespace: name,
            name: service.name,
          });
      }
    }
    for (const object of this.#usersOf(waypoints)) {
      const { kind, namespace, name } = object;
      if (kind === 'Pod') pods.set(`${namespace}/${name}`, { namespace, name });
      else if (kind === 'Service' || kind === 'ServiceEntry')
        services.set(`${kind} ${namespace}/${name}`, { kind, namespace, name });
      this.#reportWaypoint(object);
    }
    return { pods, services, policies, nodes };
  }

  #reportMarks(change: ObjectChange): void {
    const { findings } = this.#options;
    const { after } = change;
    if (after === null) {
      findings.put('namespace', objectName(change), []);
      findings.put('waypoint', objectName(change), []);
      return;
    }
    const { kind } = after;
    if (kind === 'Namespace') {
      findings.about('namespace', after, report => {
        modeOf(after, report);
        annotatedDistribution(after, report);
      });
    }
    if (
      kind === 'Pod' ||
      kind === 'Namespace' ||
      kind === 'Service' ||
      kind === 'ServiceEntry' ||
      kind === 'WorkloadEntry'
    )
      this.#reportWaypoint(after);
  }

  #reportWaypoint(object: Located<'Namespace'> | WaypointUser): void {
    this.#options.findings.about('waypoint', object, report =>
      this.#options.waypoints.report(object, report),
    );
  }

  /** What asks for one of these waypoints: all is looked through, as a waypoint seldom comes or goes. */
  *#usersOf(waypoints: ReadonlySet<string>): Iterable<Located<'Namespace'> | WaypointUser> {
    if (waypoints.size === 0) return;
    const { objects } = this.#options;
    for (const kind of ['Namespace', 'Service', 'ServiceEntry', 'Pod', 'WorkloadEntry'] as const) {
      for (const object of objects.all(kind) as Iterable<Located<'Namespace'> | WaypointUser>) {
        const name = this.#options.waypoints.nameFor(object);
        if (name !== null && waypoints.has(name)) yield object;
      }
    }
  }
}
