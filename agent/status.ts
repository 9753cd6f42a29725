/**
 * The state of one agent in a form that people and scripts read: `GET /status`, shown by `culvert status` and
 * `culvert check`. Field names stay as they are.
 */
import { versionString } from '../base/version.ts';
import type { Finding } from '../control/finding.ts';
import type { Agent } from './agent.ts';
import type { PathState } from './kernel-path.ts';
import type { ClusterState } from './cluster/cluster-state.ts';

export interface AgentStatus {
  readonly version: string;
  readonly node: string;
  readonly pid: number;
  readonly ready: boolean;
  readonly pending: readonly string[];
  readonly draining: boolean;
  readonly uptimeSeconds: number;
  readonly shards: { readonly configured: number; readonly running: number; readonly restarts: number };
  readonly configuration: {
    /** The directory, or the control plane. */
    readonly source: string;
    readonly generation: number;
    readonly appliedAt: string;
    readonly refused: readonly string[];
    readonly findings: readonly Finding[];
  };
  readonly mesh: {
    readonly trustDomain: string;
    readonly workloads: number;
    readonly services: number;
    readonly policies: number;
  };
  readonly pods: readonly PodStatus[];
  /** What the kernel carries alone between pods of this node. */
  readonly kernelPath: PathState;
  /** What an agent in a cluster depends on; null for one without. */
  readonly cluster: ClusterState | null;
}

export interface PodStatus {
  readonly namespace: string;
  readonly name: string;
  readonly enrolled: boolean;
  readonly identity: string;
  readonly addresses: readonly string[];
  readonly failMode: 'open' | 'closed';
  /** ISO 8601; null while there is none. */
  readonly certificateUntil: string | null;
  readonly problem: string | null;
}

export function statusOf(agent: Agent): AgentStatus {
  const { parts, config } = agent;
  const { name, generation, appliedAt, refused } = parts.source.state();
  return {
    version: versionString(),
    node: config.node,
    pid: process.pid,
    ready: agent.ready.ready && !agent.draining,
    pending: agent.ready.pending(),
    draining: agent.draining,
    uptimeSeconds: Math.round(process.uptime()),
    shards: {
      configured: parts.shards.count,
      running: parts.shards.running,
      restarts: parts.shards.restarts,
    },
    configuration: {
      source: name,
      generation,
      appliedAt: new Date(appliedAt).toISOString(),
      refused,
      findings: parts.source.findings(),
    },
    mesh: {
      trustDomain: agent.settings?.trustDomain ?? '',
      ...agent.mesh.counts(),
    },
    pods: pods(agent),
    kernelPath: parts.kernelPath.state(),
    cluster: parts.source.clusterState(),
  };
}

function pods(agent: Agent): PodStatus[] {
  const { parts } = agent;
  const failures = parts.pods.failures();
  const enrolled = new Map(parts.pods.list().map(({ wanted, cookie }) => [wanted.podUid, cookie]));
  return agent.wanted.map(pod => {
    const certificate = parts.certificates.current(pod.identity);
    const failure = failures.get(pod.podUid);
    const cookie = enrolled.get(pod.podUid);
    const escaped = cookie === undefined ? null : parts.capture.problem(cookie);
    return {
      namespace: pod.namespace,
      name: pod.name,
      enrolled: enrolled.has(pod.podUid),
      identity: pod.identity,
      addresses: pod.addresses,
      failMode: pod.failMode,
      certificateUntil: certificate === null ? null : new Date(certificate.notAfter).toISOString(),
      problem: failure === undefined ? escaped : `${failure.code}: ${failure.message}`,
    };
  });
}
