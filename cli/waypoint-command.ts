/**
 * `culvert waypoint run`: options to configuration, one waypoint, and the signals that end it.
 *
 * SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reopens log files.
 */
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { CulvertError } from '../base/errors.ts';
import { logDestination, logLevels } from '../base/log.ts';
import { canonicalIp, parseHostPort } from '../model/address.ts';
import { defaultWaypointLimits, type SourceConfig, type WaypointConfig } from '../waypoint/config.ts';
import { WaypointSurface } from '../waypoint/surface.ts';
import { Waypoint } from '../waypoint/waypoint.ts';
import { changedLimits } from './limits.ts';

export interface WaypointOptions {
  readonly config?: string;
  readonly control?: string;
  readonly controlRoot: string;
  readonly controlName?: string;
  readonly token: string;
  readonly clusterId: string;
  readonly name: string;
  readonly authority?: string;
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
  await new Promise<void>(done => {
    let told = false;
    const stop = (): void => {
      if (told) done();
      else void waypoint.drain().then(done);
      told = true;
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    surface.onShutdownRequest = stop;
  });
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
  const problems: string[] = [];
  const port = (name: string, text: string): number => {
    const value = /^\d{1,5}$/.test(text) ? Number(text) : 0;
    if (value < 1 || value > 65_535) problems.push(`--${name} ${text}: a port from 1 to 65535 is needed`);
    return value;
  };
  const [, namespace = '', name = ''] = /^([a-z0-9-]+)\/([a-z0-9.-]+)$/.exec(options.name) ?? [];
  if (name === '') problems.push(`--name ${options.name}: namespace/name of a Gateway is needed`);
  if (canonicalIp(options.address) === null)
    problems.push(`--address ${options.address}: an IP address is needed`);
  for (const part of options.logLevel.split(',')) {
    if (!(logLevels as readonly string[]).includes(part.slice(part.indexOf('=') + 1)))
      problems.push(`--log-level ${part}: use one of ${logLevels.join(', ')}`);
  }
  const { accessLog } = options;
  const config: WaypointConfig = {
    source: source(options, namespace, environment, problems),
    gateway: { namespace, name },
    address: options.address,
    hbonePort: port('hbone-port', options.hbonePort),
    adminPort: port('admin-port', options.adminPort),
    metricsAddress: options.metricsAddress,
    metricsPort: port('metrics-port', options.metricsPort),
    readyAddress: options.readyAddress,
    readyPort: port('ready-port', options.readyPort),
    accessLog: accessLog === '-' || accessLog === '' ? accessLog : resolve(accessLog),
    logLevel: options.logLevel,
    limits: changedLimits(defaultWaypointLimits, options.limit ?? [], problems),
  };
  if (problems.length === 0) return config;
  throw new CulvertError('BAD_USAGE', problems.join('\n         '), { fix: 'culvert waypoint run --help' });
}

/** A directory or a control plane, and never both: nobody could say which of them is right. */
function source(
  options: WaypointOptions,
  namespace: string,
  environment: NodeJS.ProcessEnv,
  problems: string[],
): SourceConfig {
  const { config, control, authority } = options;
  if ((config === undefined) === (control === undefined))
    problems.push('give either --config with a directory, or --control with the address of a control plane');
  if (control === undefined) {
    const directory = resolve(config ?? '.');
    return {
      kind: 'directory',
      directory,
      authority: authority === undefined ? null : resolve(authority),
    };
  }
  if (parseHostPort(control) === null)
    problems.push(
      `--control ${control}: host and port are needed, such as culvert-control.culvert-system.svc:15012`,
    );
  return {
    kind: 'cluster',
    control: {
      address: control,
      root: resolve(options.controlRoot),
      token: resolve(options.token),
      serverName: options.controlName ?? null,
      clusterId: options.clusterId,
    },
    pod: {
      namespace: environment['POD_NAMESPACE'] ?? namespace,
      name: environment['POD_NAME'] ?? hostname(),
      address: environment['POD_IP'] ?? '127.0.0.1',
      serviceAccount: environment['SERVICE_ACCOUNT'] ?? 'default',
      node: environment['NODE_NAME'] ?? '',
    },
  };
}
