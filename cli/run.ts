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
  mayBeZero,
  pathModes,
  type AgentConfig,
  type PathMode,
  type SourceConfig,
} from '../agent/config.ts';
import { serveReadiness, Surface } from '../agent/surface.ts';
import type { HttpServer } from '../base/http.ts';
import { changedLimits } from './limits.ts';
import { requireMachine } from './machine.ts';
import { logFile, OptionChecks, type SourceOptions } from './option-checks.ts';
import { listenForEnd, stopSignals } from './until-told.ts';

export interface RunOptions extends SourceOptions {
  readonly ca?: string;
  readonly caRoot?: string;
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
  const ending = listenForEnd(() => agent.drain());
  agent.onShutdownRequest = ending.stop;
  agent.onRetired = ending.end;
  await ending.ended;
}

/** Checks everything the user wrote; throws one BAD_USAGE with a line per problem. */
export function agentConfig(options: RunOptions): AgentConfig {
  const checks = new OptionChecks();
  const { problems } = checks;
  if (!/^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$/.test(options.node))
    problems.push(`--node ${options.node}: not a node name`);
  const podPorts = {
    outbound: checks.port('outbound-port', options.outboundPort),
    plaintext: checks.port('plaintext-port', options.plaintextPort),
    hbone: checks.port('hbone-port', options.hbonePort),
    dns: checks.port('dns-port', options.dnsPort),
  };
  if (new Set(Object.values(podPorts)).size !== 4) problems.push('the four ports inside pods must differ');
  const stateDir = resolve(options.stateDir ?? `/run/culvert/${options.node}`);
  const config: AgentConfig = {
    source: source(options, stateDir, checks),
    node: options.node,
    stateDir,
    cgroupRoot: options.cgroupRoot === undefined ? null : resolve(options.cgroupRoot),
    bpffs: resolve(options.bpffs),
    shards: options.shards === undefined ? defaultShards() : checks.whole('shards', options.shards, 1, 256),
    adminPort: checks.port('admin-port', options.adminPort),
    metricsAddress: options.metricsAddress,
    metricsPort: checks.port('metrics-port', options.metricsPort),
    readyPort: checks.port('ready-port', options.readyPort),
    podPorts,
    accessLog: logFile(options.accessLog),
    logLevel: checks.logLevel(options.logLevel),
    detachOnExit: options.detachOnExit === true,
    kernelPath: pathMode(options.kernelPath, problems),
    limits: changedLimits(defaultLimits, mayBeZero, options.limit ?? [], problems),
  };
  checks.end('culvert run');
  return config;
}

function source(options: RunOptions, stateDir: string, checks: OptionChecks): SourceConfig {
  const found = checks.source(options);
  if (found.kind === 'directory') return found;
  const { ca, cniBinDir, cniConfDir } = options;
  if (ca !== undefined) checks.hostPort('ca', ca, 'istio-csr.cert-manager.svc:443');
  if ((cniBinDir === undefined) !== (cniConfDir === undefined))
    checks.problems.push('--cni-bin-dir and --cni-conf-dir go together');
  const install =
    cniBinDir === undefined || cniConfDir === undefined
      ? null
      : { binDir: resolve(cniBinDir), confDir: resolve(cniConfDir) };
  return {
    ...found,
    certificates:
      ca === undefined ? null : { address: ca, root: resolve(options.caRoot ?? options.controlRoot) },
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
