/**
 * `culvert waypoint run`: options to configuration, one waypoint, and the signals that end it.
 *
 * SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reopens log files.
 */
import { hostname } from 'node:os';
import { logDestination } from '../base/log.ts';
import { canonicalIp } from '../model/address.ts';
import {
  type ClusterConfig,
  defaultWaypointLimits,
  mayBeZero,
  type WaypointConfig,
} from '../waypoint/config.ts';
import { WaypointSurface } from '../waypoint/surface.ts';
import { Waypoint } from '../waypoint/waypoint.ts';
import { changedLimits } from './limits.ts';
import { logFile, OptionChecks, type SourceOptions } from './option-checks.ts';
import { listenForEnd } from './until-told.ts';

export interface WaypointOptions extends SourceOptions {
  readonly name: string;
  readonly address: string;
  readonly hbonePort: string;
  readonly adminPort: string;
  readonly metricsAddress: string;
  readonly metricsPort: string;
  readonly readyAddress: string;
  readonly readyPort: string;
  readonly accessLog: string;
  readonly logLevel: string;
  readonly limit?: readonly string[];
}

export async function runWaypoint(options: WaypointOptions): Promise<void> {
  const config = waypointConfig(options);
  const waypoint = new Waypoint(config);
  const surface = new WaypointSurface(waypoint);
  // First of all, so that a kubelet and people hear what it waits for, however long a control plane takes.
  await surface.start();
  try {
    await waypoint.start();
  } catch (error) {
    await surface.stop();
    throw error;
  }
  const { gateway, address, hbonePort, adminPort: admin, metricsPort: metrics, readyPort: ready } = config;
  waypoint.log.info({ gateway, address, hbonePort, admin, metrics, ready }, 'waypoint runs');
  process.on('SIGHUP', () => {
    logDestination().reopen();
    waypoint.context.access?.reopen();
  });
  const ending = listenForEnd(() => waypoint.drain());
  surface.onShutdownRequest = ending.stop;
  await ending.ended;
  await surface.stop();
  await waypoint.stop();
  process.exit(0);
}

/**
 * Checks everything the user wrote; throws one BAD_USAGE with a line per problem.
 * @param environment what the pod's manifest says of the pod, by the downward API
 */
export function waypointConfig(
  options: WaypointOptions,
  environment: NodeJS.ProcessEnv = process.env,
): WaypointConfig {
  const checks = new OptionChecks();
  const { problems } = checks;
  const [, namespace = '', name = ''] = /^([a-z0-9-]+)\/([a-z0-9.-]+)$/.exec(options.name) ?? [];
  if (name === '') problems.push(`--name ${options.name}: namespace/name of a Gateway is needed`);
  if (canonicalIp(options.address) === null)
    problems.push(`--address ${options.address}: an IP address is needed`);
  const found = checks.source(options);
  const config: WaypointConfig = {
    source: found.kind === 'directory' ? found : { ...found, pod: podOf(namespace, environment) },
    gateway: { namespace, name },
    address: options.address,
    hbonePort: checks.port('hbone-port', options.hbonePort),
    adminPort: checks.port('admin-port', options.adminPort),
    metricsAddress: options.metricsAddress,
    metricsPort: checks.port('metrics-port', options.metricsPort),
    readyAddress: options.readyAddress,
    readyPort: checks.port('ready-port', options.readyPort),
    accessLog: logFile(options.accessLog),
    logLevel: checks.logLevel(options.logLevel),
    limits: changedLimits(defaultWaypointLimits, mayBeZero, options.limit ?? [], problems),
  };
  checks.end('culvert waypoint run');
  return config;
}

function podOf(namespace: string, environment: NodeJS.ProcessEnv): ClusterConfig['pod'] {
  return {
    namespace: environment['POD_NAMESPACE'] ?? namespace,
    name: environment['POD_NAME'] ?? hostname(),
    address: environment['POD_IP'] ?? '127.0.0.1',
    serviceAccount: environment['SERVICE_ACCOUNT'] ?? 'default',
    node: environment['NODE_NAME'] ?? '',
  };
}
