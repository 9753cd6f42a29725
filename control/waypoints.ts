/**
 * What a control plane does for waypoints in its cluster, put together: which Gateways are waypoints of ours, their
 * deployer, and what status has to know of them.
 */
import { gatewayController, waypointClasses } from '../model/kinds/gateway.ts';
import type { Logger } from '../base/log.ts';
import type { IncrementalBuilder } from './build-incremental.ts';
import type { Api } from './cluster/api.ts';
import type { ClusterObjects } from './cluster/objects.ts';
import type { StatusKnowledge } from './cluster/status-decision.ts';
import { WaypointDeployer } from './cluster/waypoint-deployer.ts';
import type { ClusterWatch } from './cluster/watch.ts';
import type { ControlConfig } from './control-config.ts';
import type { Located } from './located.ts';

export interface WaypointParts {
  readonly config: ControlConfig;
  readonly api: Api;
  readonly objects: ClusterObjects;
  readonly builder: IncrementalBuilder;
  readonly watch: Pick<ClusterWatch, 'state'>;
  readonly log: Logger;
  /** PEM; null while the authority is not open. */
  readonly roots: () => string | null;
  readonly mayWrite: () => boolean;
  /** Status may have something new to say. */
  readonly onState: () => void;
}

export interface Waypoints {
  readonly deployer: WaypointDeployer;
  /** What status has to know of waypoints. */
  readonly knowledge: Omit<StatusKnowledge, 'findingsOf' | 'allocated'>;
}

export function waypoints(parts: WaypointParts): Waypoints {
  const { config, api, objects, builder, watch, log, roots, mayWrite, onState } = parts;
  const controllerOf = (gatewayClass: string): string | null =>
    objects.get('GatewayClass', '', gatewayClass)?.value.spec.controllerName ?? null;
  const isOurs = ({ value: { spec, metadata } }: Located<'Gateway'>): boolean =>
    waypointClasses.includes(spec.gatewayClassName) &&
    controllerOf(spec.gatewayClassName) === gatewayController &&
    metadata.deletionTimestamp === undefined;
  const deployer = new WaypointDeployer({
    api,
    log,
    pods: config.waypoints,
    gateways: () => objects.every('Gateway').filter(isOurs),
    service: (namespace, name) => objects.get('Service', namespace, name),
    lacksClass: () =>
      watch.state().some(({ kind, synced }) => kind === 'GatewayClass' && synced) &&
      waypointClasses[0] !== undefined &&
      objects.get('GatewayClass', '', waypointClasses[0]) === null,
    clusterDomain: () => builder.config.clusterDomain,
    roots,
    ownNamespace: config.namespace,
    mayWrite,
    onState,
  });
  return {
    deployer,
    knowledge: {
      hasWaypoint: (namespace, name) => (builder.service(namespace, name)?.waypoint ?? null) !== null,
      waypoint: (namespace, name) => {
        const object = objects.get('Gateway', namespace, name);
        return object === null || !isOurs(object) ? null : { object, state: deployer.state(object) };
      },
      controllerOf,
    },
  };
}
