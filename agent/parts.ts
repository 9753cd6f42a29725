/**
 * The parts of an agent, put together in the order in which they depend on each other.
 *
 * Whatever was opened is noted in `undo`, so that a start that fails half-way leaves nothing behind.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cgroup2MountPoint, enterCgroup, leaveCgroup } from '../base/cgroup.ts';
import { versionString } from '../base/version.ts';
import * as native from '../native/native.ts';
import { Certificates } from '../tunnel/certificates.ts';
import type { Agent } from './agent.ts';
import { CaptureWatch } from './capture-watch.ts';
import { KernelPath } from './kernel-path.ts';
import { KubeletWatch } from './cluster/kubelet-watch.ts';
import type { AgentConfig } from './config.ts';
import { DirectorySource } from './directory-source.ts';
import { Keeper } from './handover/keeper.ts';
import { Predecessor } from './handover/predecessor.ts';
import { spoken, type Standing } from './handover/protocol.ts';
import type { MeshSource } from './mesh-source.ts';
import { dieAlone, ownCgroup, seeCgroupsOfNode } from './own-cgroup.ts';
import { Pods } from './pods.ts';
import { abi } from './redirect-abi.ts';
import { Redirect } from './redirect.ts';
import { Shards } from './shards.ts';

export type Undo = () => void | Promise<void>;

/** The running pieces, also for those who show them: metrics, admin, status. */
export interface Parts {
  readonly source: MeshSource;
  readonly certificates: Certificates;
  readonly redirect: Redirect;
  readonly kernelPath: KernelPath;
  readonly shards: Shards;
  readonly pods: Pods;
  readonly capture: CaptureWatch;
  readonly cgroupRoot: string;
  /** Null without a cluster. */
  readonly kubelet: KubeletWatch | null;
  /** The agent whose place this one takes; null where none runs. */
  readonly predecessor: Predecessor | null;
  /** Who keeps our sockets over a crash; null where nobody does. */
  readonly keeper: Keeper | null;
  /** Told when a shard is lost, so that its counters are kept. */
  lostShard: (index: number) => void;
}

/** What decides whether one agent may take the place of another. */
export function standingOf({ node, podPorts }: AgentConfig): Standing {
  return { protocols: spoken, build: versionString(), node, layout: abi, podPorts };
}

export async function openParts(agent: Agent, undo: Undo[]): Promise<Parts> {
  const { config } = agent;
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  // Noted first, so that the one before hears last that a start has failed: nothing is in its way any more then.
  const predecessor = await Predecessor.find(config.stateDir, standingOf(config));
  if (predecessor === null) await agent.place.claim();
  else undo.push(() => predecessor.close());
  undo.push(() => agent.place.leave());
  native.raiseFileLimit();
  const keeper = Keeper.open({ waitMs: config.limits.absenceMs, stateDir: config.stateDir, log: agent.log });
  undo.push(() => keeper?.close());
  const source = await openSource(agent);
  undo.push(() => source.close());
  const certificates = openCertificates(agent, source);
  undo.push(() => certificates.close());
  const { redirect, cgroupRoot, agentCgroup, kubelet } = openRedirect(agent, undo, predecessor !== null);
  if (keeper !== null && config.source.kind === 'cluster' && !dieAlone(agentCgroup))
    agent.log.warn(
      { code: 'KEEPER_FAILED', cgroup: agentCgroup },
      'the keeper dies with an agent without memory',
    );
  const kernelPath = await KernelPath.open({
    redirect,
    cgroupRoot,
    agentCgroup,
    wanted: config.kernelPath,
    limit: config.limits.joinBytes,
    graceMs: config.limits.verdictGraceMs,
    log: agent.log,
  });
  undo.push(() => kernelPath.close());
  const shards = openShards(agent, redirect, kernelPath);
  undo.push(() => shards.stop());
  const pods = openPods(agent, { source, redirect, shards, certificates, keeper });
  undo.push(() => pods.close());
  const capture = new CaptureWatch({ pods, redirect, log: agent.log, task: agent.tasks.capture });
  undo.push(() => capture.stop());
  return {
    source,
    certificates,
    redirect,
    kernelPath,
    shards,
    pods,
    capture,
    cgroupRoot,
    kubelet,
    predecessor,
    keeper,
    lostShard: () => {},
  };
}

async function openSource({ config, log }: Agent): Promise<MeshSource> {
  const { source, node } = config;
  if (source.kind === 'directory') {
    const { directory, authority } = source;
    return DirectorySource.open({ directory, authority, node, log });
  }
  // gRPC takes memory that an agent without a cluster has no use for.
  const { openClusterSource } = await import('./cluster/open.ts');
  return openClusterSource(config, source, log);
}

function openCertificates(agent: Agent, source: MeshSource): Certificates {
  return new Certificates({
    source: source.signer,
    onCertificate: (identity, certificate) => agent.certificateIssued(identity, certificate),
    onFailure: (identity, error, retryMs) => {
      agent.certificateEvents.failures += 1;
      agent.log.warn(
        { identity, code: error.code, err: error.message, fix: error.fix, retryMs },
        'no certificate',
      );
    },
  });
}

function openRedirect(
  agent: Agent,
  undo: Undo[],
  shared: boolean,
): Pick<Parts, 'redirect' | 'cgroupRoot' | 'kubelet'> & { readonly agentCgroup: string } {
  const { config, log } = agent;
  if (config.source.kind === 'cluster') seeCgroupsOfNode();
  const mount = config.cgroupRoot === null ? mountedCgroup2(config.stateDir) : null;
  const cgroupRoot = config.cgroupRoot ?? mount ?? '';
  const agentCgroup = cgroupOf(agent, cgroupRoot, undo);
  const redirect = Redirect.open({
    cgroupRoot,
    agentCgroup,
    bpffs: config.bpffs,
    instance: config.node,
    shared,
    ports: config.podPorts,
    heartbeatTimeoutMs: config.limits.heartbeatTimeoutMs,
  });
  undo.push(() => (config.detachOnExit && agent.place.held ? redirect.detach() : redirect.close()));
  if (config.source.kind === 'directory') return { redirect, cgroupRoot, agentCgroup, kubelet: null };
  const kubelet = new KubeletWatch({
    redirect,
    expected: true,
    netns: null,
    cgroupRoot,
    name: config.source.kubelet,
    cgroup: null,
    log,
  });
  undo.push(() => kubelet.stop());
  return { redirect, cgroupRoot, agentCgroup, kubelet };
}

/** In a container the agent has one already. */
function cgroupOf({ config }: Agent, cgroupRoot: string, undo: Undo[]): string {
  if (config.source.kind === 'cluster') return ownCgroup(cgroupRoot);
  const path = enterCgroup(cgroupRoot, `culvert-agent-${config.node}`);
  undo.push(() => leaveCgroup(path, cgroup2MountPoint() ?? cgroupRoot));
  return path;
}

function openShards(
  agent: Agent,
  redirect: Redirect,
  { mode, legProgram, unreadProgram }: KernelPath,
): Shards {
  const { config, log, ledger } = agent;
  return new Shards({
    count: config.shards,
    start: {
      config,
      originalDestinationMap: redirect.originalDestinationMap,
      peerNameMap: redirect.peerNameMap,
      dnsServersMap: redirect.dnsServersMap,
      passageMaps: redirect.maps,
      kernelPath: mode !== 'off',
      legProgram,
      unreadProgram,
    },
    hangMs: config.limits.shardHangMs,
    log,
    introduce: index => agent.introduce(index),
    onMessage: (index, message) => agent.fromShard(index, message),
    onLost: index => {
      agent.parts.lostShard(index);
      agent.parts.pods.shardLost(index);
      ledger.lost(index);
    },
  });
}

function openPods(
  agent: Agent,
  {
    source,
    redirect,
    shards,
    certificates,
    keeper,
  }: Pick<Parts, 'source' | 'redirect' | 'shards' | 'certificates' | 'keeper'>,
): Pods {
  const { config, log, ledger } = agent;
  return new Pods({
    shards: config.shards,
    ports: config.podPorts,
    redirect,
    keeper,
    podsKnown: () => source.podsKnown,
    log,
    addToShard: (index, pod) => {
      ledger.lend(index, pod.netnsFd);
      const answer = ledger.answer(index, pod.podUid);
      if (!shards.send(index, { type: 'podAdd', pod })) ledger.answered(index, pod.podUid, null);
      return answer;
    },
    removeFromShards: (podUid, reason) => shards.broadcast({ type: 'podRemove', podUid, reason }),
    leaveShards: podUid => shards.broadcast({ type: 'podLeave', podUid }),
    leaveMs: config.limits.drainMs,
    holdIdentity: identity => certificates.hold(identity),
    releaseIdentity: identity => {
      if (certificates.release(identity)) agent.identityGone(identity);
    },
  });
}

/** The cgroup v2 mount of this machine, or one of our own below the state directory. */
function mountedCgroup2(stateDir: string): string {
  const found = cgroup2MountPoint();
  if (found !== null) return found;
  const path = join(stateDir, 'cgroup2');
  mkdirSync(path, { recursive: true });
  native.mountCgroup2(path);
  return path;
}
