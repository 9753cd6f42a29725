/** `culvert status`: what a running agent has enrolled, and what is wrong. Exits 1 when something is. */
import type { ClusterState } from '../agent/cluster/cluster-state.ts';
import type { AgentStatus } from '../agent/status.ts';
import { formatFinding } from '../control/finding.ts';
import { askAgent } from './admin-client.ts';
import { table } from './table.ts';

export async function status(options: { readonly admin: string; readonly output: string }): Promise<void> {
  const state = await askAgent<AgentStatus>(options.admin, '/status');
  process.stdout.write(options.output === 'json' ? `${JSON.stringify(state, null, 2)}\n` : describe(state));
  if (!isWell(state)) process.exitCode = 1;
}

function isWell(state: AgentStatus): boolean {
  const broken = state.configuration.findings.some(finding => finding.severity === 'error');
  return (
    state.ready &&
    !broken &&
    state.configuration.refused.length === 0 &&
    state.pods.every(pod => pod.problem === null)
  );
}

function describe(state: AgentStatus): string {
  const { configuration, mesh, shards } = state;
  const condition = state.draining
    ? 'draining'
    : state.ready
      ? 'ready'
      : `not ready: ${state.pending.join(', ')}`;
  const facts = [
    ['agent', `culvert ${state.version} on node ${state.node}, ${condition}, up ${state.uptimeSeconds} s`],
    ['shards', `${shards.running} of ${shards.configured} running, ${shards.restarts} restarted`],
    [
      'mesh',
      `trust domain ${mesh.trustDomain}, ${mesh.workloads} workloads, ${mesh.services} services, ${mesh.policies} policies`,
    ],
    [
      'configuration',
      `${configuration.source}, generation ${configuration.generation} since ${configuration.appliedAt}`,
    ],
  ];
  if (state.cluster !== null) facts.push(...dependencies(state.cluster));
  const width = Math.max(...facts.map(([name = '']) => name.length));
  const pods = state.pods.map(pod => [
    `${pod.namespace}/${pod.name}`,
    pod.enrolled ? 'enrolled' : 'FAILED',
    pod.addresses.join(','),
    pod.failMode,
    pod.identity,
    pod.certificateUntil ?? '-',
    pod.problem ?? '',
  ]);
  const parts = [facts.map(([name = '', text = '']) => `${name.padEnd(width)}  ${text}\n`).join('')];
  parts.push(
    table(['POD', 'STATE', 'ADDRESSES', 'FAIL-MODE', 'IDENTITY', 'CERTIFICATE UNTIL', 'PROBLEM'], pods),
  );
  if (configuration.refused.length > 0) {
    parts.push(`refused, last good content in force: ${configuration.refused.join(', ')}\n`);
  }
  if (configuration.findings.length > 0)
    parts.push(configuration.findings.map(it => `${formatFinding(it)}\n`).join(''));
  return parts.join('\n');
}

/** What an agent in a cluster depends on, a line each. */
function dependencies({ xds, reportsTrouble, runtime, cni, pods }: ClusterState): string[][] {
  const since = new Date(xds.since).toISOString();
  const heard = xds.connected ? `heard since ${since}` : `NOT heard since ${since}, the last state holds`;
  const why = xds.trouble === null ? '' : `: ${xds.trouble}`;
  return [
    ['control plane', `${heard}${xds.connected ? '' : why}`],
    ['reports', reportsTrouble ?? 'arrive'],
    [
      'runtime',
      runtime.trouble ?? `${runtime.runtime ?? ''} at ${runtime.socket ?? ''}, ${pods.sandboxes} pods`,
    ],
    ['CNI plugin', cni === null ? 'not installed by this agent' : (cni.file ?? cni.trouble)],
  ];
}
