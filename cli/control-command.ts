/**
 * `culvert control`: options to configuration, one control plane, and the signals that end it.
 *
 * SIGTERM and SIGINT drain, a second one ends at once.
 */
import { hostname } from 'node:os';
import { isIP } from 'node:net';
import { randomBytes } from 'node:crypto';
import { describeError } from '../base/errors.ts';
import { settle } from '../base/settle.ts';
import { keepHeapTight } from '../base/tight-heap.ts';
import {
  type ControlConfig,
  agentAccount,
  controlService,
  defaultAudiences,
  defaultControlLimits,
} from '../control/control-config.ts';
import { Control } from '../control/control.ts';
import { Surface } from '../control/surface.ts';
import { keepBlocksApart, releaseMemory } from '../native/native.ts';
import { OptionChecks } from './option-checks.ts';
import { listenForEnd } from './until-told.ts';

/** Between two times that memory is given back. */
const releaseMs = 30_000;
/**
 * What each connection has of large buffers (TLS 64 kB to read into, HTTP/2 16 kB for a frame)
 * is used by the first page for most of its life, and responses under way would leave holes of their size.
 */
const largeBytes = 14 << 10;

export interface ControlOptions {
  readonly kubeconfig?: string;
  readonly namespace: string;
  readonly identity?: string;
  readonly address: string;
  readonly port: string;
  readonly metricsPort: string;
  readonly readyPort: string;
  readonly adminPort: string;
  readonly agent?: readonly string[];
  readonly audience?: readonly string[];
  readonly dnsName?: readonly string[];
  readonly waypointImage?: string;
  readonly waypointPullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  readonly waypointPullSecret?: readonly string[];
  readonly logLevel: string;
}

export async function control(options: ControlOptions): Promise<void> {
  const config = controlConfig(options);
  keepHeapTight();
  keepBlocksApart(largeBytes);
  const plane = new Control(config);
  const surface = new Surface(plane);
  await surface.start();
  const ending = listenForEnd(() => plane.drain().catch(() => {}));
  plane.onShutdownRequest = ending.stop;
  const failed = plane.start().then(
    () => {
      plane.log.info({ port: plane.port, namespace: config.namespace }, 'control plane runs');
      settle();
      // A thousand clients leave holes between what their connections keep.
      setInterval(releaseMemory, releaseMs).unref();
      return null;
    },
    (error: unknown) => error,
  );
  // Only what can not be mended by waiting ends a start, or whoever ends it.
  const problem = await Promise.race([ending.ended, failed.then(error => error ?? ending.ended)]);
  await surface.stop();
  await plane.stop();
  if (problem !== undefined && problem !== null) {
    plane.log.error({ err: describeError(problem) }, 'the control plane could not start');
    throw problem;
  }
  plane.log.info('stopped; agents go on with what they know');
  process.exit(0);
}

const nameRule = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Checks everything the user wrote; throws one BAD_USAGE with a line per problem. */
export function controlConfig(options: ControlOptions): ControlConfig {
  const checks = new OptionChecks();
  const { problems } = checks;
  const name = (option: string, text: string): string => {
    if (!nameRule.test(text)) problems.push(`--${option} ${text}: lower-case letters, digits, - and . only`);
    return text;
  };
  const logLevel = checks.logLevel(options.logLevel);
  if (isIP(options.address) === 0) problems.push(`--address ${options.address}: an IP address is needed`);
  const namespace = name('namespace', options.namespace);
  const agents = options.agent ?? [`${namespace}/${agentAccount}`];
  for (const agent of agents) {
    const [space = '', account = '', more] = agent.split('/');
    if (more !== undefined || !nameRule.test(space) || !nameRule.test(account))
      problems.push(`--agent ${agent}: a service account is <namespace>/<name>`);
  }
  const audiences = options.audience ?? defaultAudiences;
  if (audiences.includes('')) problems.push('--audience: an empty one would be that of any token');
  const config: ControlConfig = {
    kubeconfig: options.kubeconfig ?? null,
    namespace,
    // A process that starts anew in the same pod is another: the one before may still be writing.
    identity: `${options.identity ?? process.env.POD_NAME ?? hostname()}_${randomBytes(4).toString('hex')}`,
    address: options.address,
    port: checks.port('port', options.port),
    metricsPort: checks.port('metrics-port', options.metricsPort),
    readyPort: checks.port('ready-port', options.readyPort),
    adminPort: checks.port('admin-port', options.adminPort),
    agents,
    audiences,
    dnsNames: (options.dnsName ?? []).map(text => name('dns-name', text)),
    waypoints: waypointPods(options, namespace),
    logLevel,
    limits: defaultControlLimits,
  };
  const ports = [config.port, config.metricsPort, config.readyPort, config.adminPort];
  if (new Set(ports).size !== ports.length) problems.push('the four ports must differ');
  checks.end('culvert control');
  return config;
}

/** How waypoints run here: the same program, which finds us by our Service. */
function waypointPods(options: ControlOptions, namespace: string): ControlConfig['waypoints'] {
  const { waypointImage: image, waypointPullPolicy: pullPolicy = 'IfNotPresent', logLevel } = options;
  if (image === undefined || image === '') return null;
  const control = `${controlService}.${namespace}.svc:${options.port}`;
  return { image, pullPolicy, pullSecrets: options.waypointPullSecret ?? [], control, logLevel };
}
