/** From the options of `culvert run --control` to the source of a cluster's mesh. */
import { hostname } from 'node:os';
import type { Logger } from '../../base/log.ts';
import { versionString } from '../../base/version.ts';
import { discoveryNode } from '../../xds/node.ts';
import type { AgentConfig, ClusterConfig } from '../config.ts';
import { defaultAdmissionLimits } from './admission.ts';
import { ClusterSource } from './cluster-source.ts';

/** @param environment what the pod's manifest says of the pod, as DaemonSets give it by the downward API */
export function openClusterSource(
  config: AgentConfig,
  cluster: ClusterConfig,
  log: Logger,
  environment: NodeJS.ProcessEnv = process.env,
): ClusterSource {
  const { control, certificates, cni } = cluster;
  const endpoint = {
    address: control.address,
    rootPath: control.root,
    tokenPath: control.token,
    serverName: control.serverName,
    headers: { clusterid: control.clusterId },
  };
  return new ClusterSource({
    endpoint,
    certificates:
      certificates === null
        ? endpoint
        : { ...endpoint, address: certificates.address, rootPath: certificates.root, serverName: null },
    node: discoveryNode({
      nodeName: config.node,
      podName: environment['POD_NAME'] ?? hostname(),
      podNamespace: environment['POD_NAMESPACE'] ?? 'culvert-system',
      serviceAccount: environment['SERVICE_ACCOUNT'] ?? 'culvert-agent',
      podIp: environment['POD_IP'] ?? '127.0.0.1',
      clusterId: control.clusterId,
      version: versionString(),
    }),
    criSocket: cluster.criSocket,
    cni,
    admission: defaultAdmissionLimits,
    onDemand: cluster.onDemand,
    log,
  });
}
