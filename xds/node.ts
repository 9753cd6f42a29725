/**
 * Who an agent or a waypoint says it is, in the form that Istio's control plane reads: four parts with tildes, and metadata.
 *
 * Words only: a control plane of ours takes the node from the token, which the agent cannot choose.
 */
import type { WireNode } from '../proto/messages.ts';
import { toStruct } from '../proto/struct.ts';
import type { JsonObject } from '../proto/struct.ts';
import { partsFeature } from './parts.ts';

export interface AgentNode {
  readonly nodeName: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly serviceAccount: string;
  /** The agent's own address. */
  readonly podIp: string;
  readonly clusterId: string;
  /** Of this program. */
  readonly version: string;
  /** Istio serves workloads to nodes of type `ztunnel`, which is the default. */
  readonly type?: 'ztunnel' | 'waypoint';
}

export function discoveryNode(agent: AgentNode): WireNode {
  const {
    nodeName,
    podName,
    podNamespace,
    serviceAccount,
    podIp,
    clusterId,
    version,
    type = 'ztunnel',
  } = agent;
  const metadata: JsonObject = {
    NAME: podName,
    NAMESPACE: podNamespace,
    SERVICE_ACCOUNT: serviceAccount,
    INSTANCE_IPS: podIp,
    NODE_NAME: nodeName,
    CLUSTER_ID: clusterId,
    CULVERT_VERSION: version,
  };
  const id = [type, podIp, `${podName}.${podNamespace}`, `${podNamespace}.svc.cluster.local`].join('~');
  return { id, cluster: '', metadata: toStruct(metadata), buildVersion: '', clientFeatures: [partsFeature] };
}
