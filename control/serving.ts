/**
 * The serving half of a control plane put together: one port, the gate before it, the three services behind it, the
 * authority that they sign with and the certificate that clients see.
 */
import type { Logger } from '../base/log.ts';
import { protocols } from '../proto/load.ts';
import { AdsService } from './ads.ts';
import { Authenticator, type Caller } from './authenticate.ts';
import type { ClusterAuthority } from './authority-store.ts';
import type { IncrementalBuilder } from './build-incremental.ts';
import { serviceAccountOf } from './build-workloads.ts';
import { CertificateService } from './certificate-service.ts';
import type { Api } from './cluster/api.ts';
import type { Lease } from './cluster/lease.ts';
import { hasEnded, type PodIndex } from './cluster/pod-index.ts';
import type { RedirectionWriter } from './cluster/redirection.ts';
import { RootConfigMap } from './cluster/root-config-map.ts';
import { reviewToken } from './cluster/token-review.ts';
import { type ControlConfig, controlService } from './control-config.ts';
import type { ControlMetrics } from './control-metrics.ts';
import { describeError } from '../base/errors.ts';
import { GrpcServer } from './grpc-server.ts';
import { makeGuard } from './guard.ts';
import { NodeReports } from './node-reports.ts';
import type { ResourceStore } from './resources.ts';
import { ServingCertificate, serviceNames } from './serving-certificate.ts';

/** What of a control plane is needed for it. */
export interface ServingParts {
  readonly config: ControlConfig;
  readonly log: Logger;
  readonly metrics: ControlMetrics;
  readonly api: Api;
  readonly resources: ResourceStore;
  readonly builder: Pick<IncrementalBuilder, 'config' | 'gatewayOf'>;
  readonly pods: PodIndex;
  readonly redirection: RedirectionWriter;
  readonly lease: Pick<Lease, 'isLeader'>;
}

export interface Serving {
  readonly authority: ClusterAuthority;
  readonly certificate: ServingCertificate;
  readonly roots: RootConfigMap;
  readonly ads: AdsService;
  readonly reports: NodeReports;
  readonly server: GrpcServer;
}

const minuteMs = 60_000;
const maxTtlMs = 90 * 24 * 60 * minuteMs;
/** Anybody whom the API server knows may ask for a certificate of their own. */
const certificatePath = protocols.services.certificates.CreateCertificate.path;
/** What agents and waypoints may ask. */
const discoveryPath = protocols.services.discovery.DeltaAggregatedResources.path;

/** Makes what serves, from what is known of the cluster. Nothing is started. */
export function serving(control: ServingParts, authority: ClusterAuthority): Serving {
  const { log, metrics, api, pods, config, builder, resources, redirection, lease } = control;
  const authenticator = new Authenticator({
    review: (token, audiences) => reviewToken(api, token, audiences),
    nodeOf: (namespace, name, uid) => {
      const pod = pods.pod(uid);
      return pod?.namespace === namespace && pod.name === name ? (pod.value.spec.nodeName ?? null) : null;
    },
    audiences: config.audiences,
    metrics,
  });
  const isAgent = ({ serviceAccount }: Pick<Caller, 'serviceAccount'>): boolean =>
    config.agents.includes(serviceAccount);
  const waypointOf = (caller: Caller): string | null =>
    isAgent(caller) ? null : waypointOfPod(control, caller);
  const guard = makeGuard({
    authenticator,
    mayCall: (caller, path) =>
      path === certificatePath || isAgent(caller) || (path === discoveryPath && waypointOf(caller) !== null),
    log,
  });
  const { callerOf } = guard;
  const ads = new AdsService({
    store: resources,
    callerOf,
    waypointOf,
    cut: peer => server.cut(peer),
    log,
    metrics,
  });
  const reports = new NodeReports({
    callerOf,
    onReport: (agent, report) => redirection.report(agent, report),
    log,
    metrics,
  });
  const certificates = new CertificateService({
    authority,
    callerOf,
    isAgent,
    mayHave: ({ node }, { namespace, serviceAccount }) =>
      pods.runs(node, namespace, serviceAccount) ||
      `no pod with a network of its own runs there as ${namespace}/${serviceAccount}`,
    trustDomain: () => builder.config.trustDomain,
    log,
    metrics,
    ttlMs: {
      get default() {
        return builder.config.certificateTtlMs;
      },
      min: minuteMs,
      max: maxTtlMs,
    },
  });
  const server: GrpcServer = new GrpcServer({
    host: config.address,
    port: config.port,
    services: [ads, reports, certificates],
    interceptors: [guard.interceptor],
    log,
    metrics,
  });
  const certificate = new ServingCertificate({
    authority,
    dnsNames: [
      ...serviceNames(controlService, config.namespace, builder.config.clusterDomain),
      ...config.dnsNames,
    ],
    use: key => server.useCertificate(key),
    onFailure: error => log.error({ code: error.code }, describeError(error)),
    metrics,
  });
  const roots = new RootConfigMap({
    api,
    namespace: config.namespace,
    roots: () => authority.roots(),
    mayWrite: () => lease.isLeader,
    log,
  });
  const noteAuthority = (): void => metrics.authorityExpiry.set(authority.status().notAfter / 1_000);
  noteAuthority();
  authority.onRootsChanged(() => {
    noteAuthority();
    roots.touch();
  });
  return { authority, certificate, roots, ads, reports, server };
}

/** The waypoint that a token's pod runs for, `namespace/name`; null where it was made for no such pod. */
function waypointOfPod(
  { pods, builder }: Pick<ServingParts, 'pods' | 'builder'>,
  caller: Caller,
): string | null {
  const pod = caller.podUid === null ? null : pods.pod(caller.podUid);
  const isCaller =
    pod !== null &&
    pod.namespace === caller.namespace &&
    pod.name === caller.podName &&
    serviceAccountOf(pod.value) === caller.name &&
    !hasEnded(pod);
  const gateway = isCaller ? builder.gatewayOf(pod) : null;
  return gateway === null ? null : `${gateway.namespace}/${gateway.name}`;
}
