/**
 * From the spec of a DestinationRule to what waypoints do: settings of the whole, of ports and of subsets put together,
 * with every default. Pure.
 *
 * What can not be done and would weaken what was asked for, or send what the endpoint does not understand, refuses
 * everything that is sent to the service; what else can not be done is left out. Either is said.
 */
import { goDurationMs } from '../model/kinds/durations.ts';
import type { PolicyParts, TrafficPolicySpec } from '../model/kinds/destination-rule.ts';
import type {
  OutlierRule,
  RetryBudget,
  TrafficLimits,
  TrafficPolicy,
  TrafficSettings,
} from '../model/traffic-policy.ts';
import { endpointTlsOf, type TlsAuthor, tlsOtherwise } from './build-endpoint-tls.ts';
import { balancingOf, localityOf, warmupOf } from './build-traffic-balance.ts';
import type { Say } from './finding.ts';

/**
 * The settings of a service.
 * @param field where the policy stands
 */
export function settingsOf(
  policy: TrafficPolicySpec,
  author: TlsAuthor,
  field: string,
  say: Say,
): TrafficSettings {
  const { portLevelSettings = [], ...whole } = policy;
  return {
    policy: policyOf(whole, author, null, field, say),
    // What a port says is in place of everything that the whole says: nothing is inherited.
    ports: [
      ...portLevelSettings.map(({ port, ...parts }, index) => ({
        port: port.number,
        policy: policyOf(parts, author, port.number, `${field}.portLevelSettings[${index}]`, say),
      })),
      ...portsOtherwise(whole, portLevelSettings, author),
    ],
  };
}

/** The settings of a subset: each part that it has is in place of that of the whole. */
export function subsetSettings(
  whole: TrafficPolicySpec,
  own: TrafficPolicySpec | undefined,
  author: TlsAuthor,
  field: string,
  say: Say,
): TrafficSettings {
  const quiet: Say = () => {};
  if (own === undefined) return settingsOf(whole, author, field, quiet);
  const { portLevelSettings: ownPorts = [], ...ownParts } = own;
  const { portLevelSettings: ports = [], ...parts } = whole;
  // Said of the subset's own words only: the whole has had its turn.
  settingsOf(own, author, field, say);
  const merged = ports.filter(({ port }) => !ownPorts.some(other => other.port.number === port.number));
  return {
    policy: policyOf({ ...parts, ...ownParts }, author, null, field, quiet),
    ports: [
      ...merged.map(({ port, ...rest }) => ({
        port: port.number,
        policy: policyOf({ ...rest, ...ownParts }, author, port.number, field, quiet),
      })),
      ...ownPorts.map(({ port, ...rest }) => ({
        port: port.number,
        policy: policyOf(rest, author, port.number, field, quiet),
      })),
      ...portsOtherwise({ ...parts, ...ownParts }, [...ports, ...ownPorts], author),
    ],
  };
}

/** Ports that somebody else wants TLS for, and that the rule says nothing of: as the whole, but for that. */
function portsOtherwise(
  whole: PolicyParts,
  said: readonly { readonly port: { readonly number: number } }[],
  author: TlsAuthor,
): TrafficSettings['ports'] {
  if (whole.tls !== undefined) return [];
  return author.otherwise.flatMap(({ port }) =>
    port === null || said.some(each => each.port.number === port)
      ? []
      : [{ port, policy: policyOf(whole, author, port, '', () => {}) }],
  );
}

/** @param port null: of those that nobody names */
function policyOf(
  parts: PolicyParts,
  author: TlsAuthor,
  port: number | null,
  field: string,
  say: Say,
): TrafficPolicy {
  const { loadBalancer = {}, outlierDetection, retryBudget } = parts;
  const place = `${field}.loadBalancer`;
  const balancing = balancingOf(loadBalancer, place, say);
  const outliers = outlierDetection === undefined ? null : outliersOf(outlierDetection);
  const tls =
    parts.tls === undefined
      ? tlsOtherwise(author, port)
      : endpointTlsOf(parts.tls, author, `${field}.tls`, say);
  return {
    balancing,
    locality: localityOf(loadBalancer, outliers !== null, place, say),
    warmup: warmupOf(loadBalancer, balancing, place, say),
    limits: limitsOf(parts, `${field}.connectionPool`, say),
    outliers,
    retryBudget: retryBudget === undefined ? null : budgetOf(retryBudget, field, say),
    tunnelOnly: parts.tls?.mode === 'ISTIO_MUTUAL',
    ...(tls === null || typeof tls === 'string' ? {} : { tls }),
    refusal: typeof tls === 'string' ? tls : refusalOf(parts, field, say),
  };
}

/** What would be wrong if it were left out. */
function refusalOf({ tls, tunnel, proxyProtocol }: PolicyParts, field: string, say: Say): string | null {
  const refuse = (place: string, what: string): string => {
    const message = `${what} is not supported: what is sent there is answered with 503`;
    say('error', 'unsupported-value', `${field}.${place}`, message);
    return `${what} is not supported`;
  };
  if (tls?.mode === 'DISABLE') {
    const message = 'pods of the mesh are reached by tunnels all the same';
    say('info', 'unsupported-value', `${field}.tls.mode`, message);
  }
  if (tunnel !== undefined) return refuse('tunnel', 'a tunnel by CONNECT or POST');
  return proxyProtocol === undefined ? null : refuse('proxyProtocol', 'the PROXY protocol');
}

/** The largest number of Istio's stands for no limit. */
function limited(value: number | undefined): number | null {
  return value === undefined || value >= 2 ** 31 - 1 ? null : value;
}

function ms(text: string | undefined): number | null {
  return text === undefined ? null : goDurationMs(text);
}

function limitsOf({ connectionPool = {} }: PolicyParts, field: string, say: Say): TrafficLimits {
  const { tcp = {}, http = {} } = connectionPool;
  const { tcpKeepalive, idleTimeout: tcpIdle } = tcp;
  const { http2KeepAlive: ping, useClientProtocol = false, h2UpgradePolicy = 'DEFAULT' } = http;
  for (const name of ['probes', 'interval'] as const) {
    if (tcpKeepalive?.[name] === undefined) continue;
    const message = 'not set: the kernel of the waypoint decides';
    say('info', 'unsupported-value', `${field}.tcp.tcpKeepalive.${name}`, message);
  }
  const perConnection = limited(http.maxRequestsPerConnection);
  return {
    connections: limited(tcp.maxConnections),
    pending: limited(http.http1MaxPendingRequests),
    requests: limited(http.http2MaxRequests),
    retries: limited(http.maxRetries),
    requestsPerConnection: perConnection === 0 ? null : perConnection,
    streamsPerConnection: limited(http.maxConcurrentStreams),
    connectMs: ms(tcp.connectTimeout),
    idleMs: ms(http.idleTimeout ?? tcpIdle),
    tcpIdleMs: ms(tcpIdle),
    connectionAgeMs: ms(tcp.maxConnectionDuration),
    keepAliveMs: ms(tcpKeepalive?.time),
    ping:
      ping?.interval === undefined
        ? null
        : { intervalMs: goDurationMs(ping.interval), timeoutMs: goDurationMs(ping.timeout ?? '20s') },
    version: useClientProtocol ? 'same' : h2UpgradePolicy === 'UPGRADE' ? 'upgrade' : 'port',
  };
}

function outliersOf(spec: NonNullable<PolicyParts['outlierDetection']>): OutlierRule {
  const { consecutive5xxErrors = 5, consecutiveLocalOriginFailures = 5 } = spec;
  const { outlierDetectionHttpErrorCodes: codes = [{ start: 500, end: 599 }] } = spec;
  return {
    serverErrors: consecutive5xxErrors,
    gatewayErrors: spec.consecutiveGatewayErrors ?? spec.consecutiveErrors ?? 0,
    localErrors: spec.splitExternalLocalOriginErrors === true ? consecutiveLocalOriginFailures : null,
    statuses: codes.map(({ start, end }) => [start, end] as const),
    intervalMs: ms(spec.interval) ?? 10_000,
    ejectionMs: ms(spec.baseEjectionTime) ?? 30_000,
    maxEjectionPercent: spec.maxEjectionPercent ?? 10,
    minHealthPercent: spec.minHealthPercent ?? 0,
  };
}

function budgetOf(
  { percent, minRetryConcurrency, budgetInterval = '0s' }: NonNullable<PolicyParts['retryBudget']>,
  field: string,
  say: Say,
): RetryBudget {
  if (goDurationMs(budgetInterval) > 0) {
    const message = 'not looked at: what is under way counts, as with 0s';
    say('info', 'unsupported-value', `${field}.retryBudget.budgetInterval`, message);
  }
  return { percent, minimum: minRetryConcurrency };
}
