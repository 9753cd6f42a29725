/** Settings of the mesh and pods of a node as Culvert's own messages, and back. */
import { canonicalIp } from '../model/address.ts';
import { isIdentitySegment, isTrustDomain } from '../model/identity.ts';
import type { MeshSettings, NodePod } from '../model/node-pod.ts';
import type { Sparse } from '../proto/load.ts';
import type { WireNodePod, WireSettings } from '../proto/messages.ts';
import { choice } from './codec-values.ts';
import { workloadDefaults } from './codec-workload.ts';

const failModes = choice<NodePod['failMode']>('culvert.mesh.v1.NodePod.FailMode', ['closed', 'open'], name =>
  name.toUpperCase(),
);
const defaultClusterDomain = 'cluster.local';
const defaultTtlMs = 86_400_000;

export function settingsToWire(settings: MeshSettings): Sparse<WireSettings> {
  return { ...settings, certificateTtlSeconds: Math.floor(settings.certificateTtlMs / 1_000) };
}

/** Throws when no identity could be made with them. */
export function settingsFromWire(wire: WireSettings): MeshSettings {
  const { certificateTtlSeconds } = wire;
  const trustDomain = wire.trustDomain || workloadDefaults.trustDomain;
  if (!isTrustDomain(trustDomain)) throw new Error(`${JSON.stringify(trustDomain)} is no trust domain`);
  return {
    trustDomain,
    network: wire.network,
    clusterId: wire.clusterId || workloadDefaults.clusterId,
    clusterDomain: wire.clusterDomain || defaultClusterDomain,
    accessLog: wire.accessLog,
    certificateTtlMs: certificateTtlSeconds > 0 ? certificateTtlSeconds * 1_000 : defaultTtlMs,
    enrolledNamespaces: wire.enrolledNamespaces,
    excludedNamespaces: wire.excludedNamespaces,
  };
}

export function nodePodToWire(pod: NodePod): Sparse<WireNodePod> {
  const runtimeUid = pod.runtimeUid === pod.podUid ? '' : pod.runtimeUid;
  return { ...pod, runtimeUid, failMode: failModes.toWire(pod.failMode) };
}

/** Throws when it does not say which pod it is about, or who that pod is. */
export function nodePodFromWire(wire: WireNodePod): NodePod {
  const { podUid, workloadUid, namespace, name } = wire;
  const serviceAccount = wire.serviceAccount || workloadDefaults.serviceAccount;
  if (podUid === '' || workloadUid === '' || name === '') throw new Error('it does not say which pod it is');
  if (!isIdentitySegment(namespace) || !isIdentitySegment(serviceAccount)) {
    throw new Error(`no identity can have the account ${JSON.stringify(`${namespace}/${serviceAccount}`)}`);
  }
  return {
    podUid,
    runtimeUid: wire.runtimeUid || podUid,
    workloadUid,
    namespace,
    name,
    serviceAccount,
    addresses: wire.addresses.map(canonical),
    wanted: wire.wanted,
    failMode: failModes.fromWire(wire.failMode) ?? 'closed',
    dnsCapture: wire.dnsCapture,
    probePorts: wire.probePorts.filter(port => port > 0 && port <= 65_535),
  };
}

function canonical(text: string): string {
  const ip = canonicalIp(text);
  if (ip === null) throw new Error(`${JSON.stringify(text)} is not an IP address`);
  return ip;
}
