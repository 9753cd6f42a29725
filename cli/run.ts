/**
 * `culvert run`: options to configuration, one agent, and the signals that end it.
 *
 * SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reopens log files.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Agent } from '../agent/agent.ts';
import { enrolledNamespacesFile } from '../agent/cluster/enrolled-namespaces.ts';
import {
  defaultLimits,
  defaultShards,
  pathModes,
  type AgentConfig,
  type PathMode,
  type SourceConfig,
} from '../agent/config.ts';
import { serveReadiness, Surface } from '../agent/surface.ts';
import { CulvertError } from '../base/errors.ts';
import type { HttpServer } from '../base/http.ts';
import { logLevels } from '../base/log.ts';
import { parseHostPort } from '../model/address.ts';

import { changedLimits } from './limits.ts';
import { requireMachine } from './machine.ts';

export interface RunOptions {
  readonly config?: string;
  readonly control?: string;
  readonly controlRoot: string;
  readonly controlName?: string;
  readonly ca?: string;
  readonly caRoot?: string;
  readonly token: string;
  readonly clusterId: string;
  readonly criSocket?: string;
  readonly cniBinDir?: string;
  readonly cniConfDir?: string;
  readonly cniNodeConfDir?: string;
  readonly cniSocket?: string;
  readonly kubelet: string;
  readonly meshState: string;
  readonly node: string;
  readonly stateDir?: string;
  readonly cgroupRoot?: string;
  readonly bpffs: string;
  readonly authority?: string;
  readonly shards?: string;
  readonly adminPort: string;
  readonly metricsAddress: string;
  readonly metricsPort: string;
  readonly readyPort: string;
  readonly outboundPort: string;
  readonly plaintextPort: string;
  readonly hbonePort: string;
  readonly dnsPort: string;
  readonly accessLog: string;
  readonly logLevel: string;
  readonly limit?: readonly string[];
  readonly detachOnExit?: boolean;
  readonly kernelPath: string;
}

const stopSignals = ['SIGTERM', 'SIGINT'] as const;

export async function run(options: RunOptions): Promise<void> {
  const config = agentConfig(options);
  requireMachine();
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  const agent = new Agent(config);
  const early: HttpServer[] = [];
  agent.onAlone = async () => void early.push(await serveReadiness(agent));
  const leave = (): void => {
    agent.log.info('stopped before it has learnt the mesh');
    process.exit(0);
  };
  // The first process of a container is not ended by signals that it does not listen to.
  for (const signal of stopSignals) process.on(signal, leave);
  try {
    await agent.start();
  } catch (error) {
    await Promise.all(early.map(server => server.close()));
    throw error;
  }
  const surface = new Surface(agent, early[0]);
  agent.place.ports = surface;
  try {
    await surface.start();
  } catch (error) {
    await agent.stop();
    throw error;
  }
  agent.log.info(
    {
      node: config.node,
      shards: config.shards,
      admin: config.adminPort,
      metrics: config.metricsPort,
      ready: config.readyPort,
    },
    'agent runs',
  );
  for (const signal of stopSignals) process.off(signal, leave);
  await untilTold(agent);
  await surface.stop();
  await agent.stop();
  if (agent.place.left) agent.log.info('stopped; another agent serves');
  else if (!config.detachOnExit) {
    agent.log.info(
      `stopped; every pod stays in its declared mode until the agent is back, or: culvert detach --node ${config.node}`,
    );
  }
  process.exit(0);
}

/** Returns when the agent has drained: after a signal, a request on the admin port, or when another one took its place. */
async function untilTold(agent: Agent): Promise<void> {
  process.on('SIGHUP', () => agent.reopenLogs());
  await new Promise<void>(done => {
    let told = false;
    const stop = (): void => {
      if (told) {
        done();
        return;
      }
      told = true;
      void agent.drain().then(done);
    };
    for (const signal of stopSignals) process.on(signal, stop);
    agent.onShutdownRequest = stop;
    agent.onRetired = done;
  });
}

/** Checks everything the user wrote; throws one BAD_USAGE with a line per problem. */
export function agentConfig(options: RunOptions): AgentConfig {
  const problems: string[] = [];
  const number = (name: string, text: string, least: number, most: number): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    problems.push(`--${name} ${text}: a whole number from ${least} to ${most} is needed`);
    return least;
  };
  const port = (name: string, text: string): number => number(name, text, 1, 65_535);
  if (!/^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$/.test(options.node))
    problems.push(`--node ${options.node}: not a node name`);
  for (const part of options.logLevel.split(',')) {
    const level = part.includes('=') ? part.slice(part.indexOf('=') + 1) : part;
    if (!(logLevels as readonly string[]).includes(level))
      problems.push(`--log-level ${part}: use one of ${logLevels.join(', ')}`);
  }
  const podPorts = {
    outbound: port('outbound-port', options.outboundPort),
    plaintext: port('plaintext-port', options.plaintextPort),
    hbone: port('hbone-port', options.hbonePort),
    dns: port('dns-port', options.dnsPort),
  };
  if (new Set(Object.values(podPorts)).size !== 4) problems.push('the four ports inside pods must differ');
  const stateDir = resolve(options.stateDir ?? `/run/culvert/${options.node}`);
  const config: AgentConfig = {
    source: source(options, stateDir, problems),
    node: options.node,
    stateDir,
    cgroupRoot: options.cgroupRoot === undefined ? null : resolve(options.cgroupRoot),
    bpffs: resolve(options.bpffs),
    shards: options.shards === undefined ? defaultShards() : number('shards', options.shards, 1, 256),
    adminPort: port('admin-port', options.adminPort),
    metricsAddress: options.metricsAddress,
    metricsPort: port('metrics-port', options.metricsPort),
    readyPort: port('ready-port', options.readyPort),
    podPorts,
    accessLog:
      options.accessLog === '-' || options.accessLog === '' ? options.accessLog : resolve(options.accessLog),
    logLevel: options.logLevel,
    detachOnExit: options.detachOnExit === true,
    kernelPath: pathMode(options.kernelPath, problems),
    limits: changedLimits(defaultLimits, options.limit ?? [], problems),
  };
  if (problems.length > 0)
    throw new CulvertError('BAD_USAGE', problems.join('\n         '), { fix: 'culvert run --help' });
  return config;
}

/** A directory or a control plane, and never both: nobody could say which of them is right. */
function source(options: RunOptions, stateDir: string, problems: string[]): SourceConfig {
  const { config, control, cniBinDir, cniConfDir } = options;
  if ((config === undefined) === (control === undefined))
    problems.push('give either --config with a directory, or --control with the address of a control plane');
  if (control === undefined) {
    const authority = options.authority === undefined ? null : resolve(options.authority);
    return { kind: 'directory', directory: resolve(config ?? '.'), authority };
  }
  if (parseHostPort(control) === null)
    problems.push(
      `--control ${control}: host and port are needed, such as culvert-control.culvert-system.svc:15012`,
    );
  if (options.ca !== undefined && parseHostPort(options.ca) === null)
    problems.push(`--ca ${options.ca}: host and port are needed, such as istio-csr.cert-manager.svc:443`);
  if ((cniBinDir === undefined) !== (cniConfDir === undefined))
    problems.push('--cni-bin-dir and --cni-conf-dir go together');
  const install =
    cniBinDir === undefined || cniConfDir === undefined
      ? null
      : { binDir: resolve(cniBinDir), confDir: resolve(cniConfDir) };
  return {
    kind: 'cluster',
    control: {
      address: control,
      root: resolve(options.controlRoot),
      token: resolve(options.token),
      serverName: options.controlName ?? null,
      clusterId: options.clusterId,
    },
    certificates:
      options.ca === undefined
        ? null
        : { address: options.ca, root: resolve(options.caRoot ?? options.controlRoot) },
    criSocket: options.criSocket === undefined ? null : resolve(options.criSocket),
    cni: {
      socket: resolve(options.cniSocket ?? join(dirname(stateDir), 'cni.sock')),
      // With the CNI configuration, since it must outlive a reboot of the node as that does.
      enrolledNamespaces: join(install?.confDir ?? dirname(stateDir), enrolledNamespacesFile),
      enrolledNamespacesOnNode: join(
        options.cniNodeConfDir ?? install?.confDir ?? dirname(stateDir),
        enrolledNamespacesFile,
      ),
      install,
    },
    kubelet: options.kubelet,
    onDemand: options.meshState === 'on-demand',
  };
}

function pathMode(word: string, problems: string[]): PathMode {
  const found = pathModes.find(mode => mode === word);
  if (found === undefined) problems.push(`--kernel-path ${word}: use one of ${pathModes.join(', ')}`);
  return found ?? 'off';
}
