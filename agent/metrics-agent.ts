/**
 * The metrics of the main thread's own state: pods, configuration, certificates, redirection, shards.
 */
import type { ClusterState } from './cluster/cluster-state.ts';
import type { Family, Sample } from '../base/metrics-family.ts';
import type { Labels } from '../base/series.ts';

/** The main thread's own state, asked for at each scrape. */
export interface MetricSources {
  readonly version: string;
  readonly config: () => {
    /** Counts configurations that came into force. */
    readonly generation: number;
    /** Of the one in force, ms epoch. */
    readonly appliedAt: number;
    /** Files or resources whose newest version was refused; their last good one is in force. */
    readonly refused: readonly string[];
    readonly findings: Readonly<Record<'error' | 'warning' | 'info', number>>;
  };
  /** Certificates held now; `notAfter` is ms epoch. */
  readonly certificates: () => readonly { readonly identity: string; readonly notAfter: number }[];
  readonly certificateEvents: () => { readonly renewals: number; readonly failures: number };
  /** `pending` should be enrolled and are not; `started` and `stopped` count since the start of the process. */
  readonly pods: () => {
    readonly active: number;
    readonly pending: number;
    readonly started: number;
    readonly stopped: number;
  };
  readonly shards: () => { readonly configured: number; readonly running: number; readonly restarts: number };
  /** Decisions of the BPF programs by name; survive restarts of the agent. */
  readonly redirect: () => Readonly<Record<string, bigint>>;
  /** Times that this process gave its place to another agent, or took one's, by what came of it. */
  readonly handovers: () => Readonly<Record<string, number>>;
  /** Times that the keeper of this process had to start an agent again. */
  readonly crashes: () => number;
  readonly kernelPath: () => {
    readonly mode: string;
    readonly verdicts: number;
    readonly services: number;
    /** Times that a Service did not fit, by why. */
    readonly servicesLeftOut: Readonly<Record<string, number>>;
  };
  readonly logLinesLost: () => number;
  /** Null without a cluster. */
  readonly cluster: (() => ClusterState) | null;
}

export function agentFamilies(sources: MetricSources): Family[] {
  return [
    several('istio_build', 'gauge', 'Version of this agent', () => [
      sample({ component: 'culvert-agent', tag: sources.version }, 1),
    ]),
    ...podFamilies(sources),
    ...configFamilies(sources),
    ...certificateFamilies(sources),
    several('culvert_shards', 'gauge', 'Worker threads that carry connections', () => [
      sample({ state: 'configured' }, sources.shards().configured),
      sample({ state: 'running' }, sources.shards().running),
    ]),
    single(
      'culvert_shard_restarts_total',
      'counter',
      'Worker threads that died or hung and were replaced',
      () => {
        return sources.shards().restarts;
      },
    ),
    several(
      'culvert_handovers_total',
      'counter',
      'Agents that took the place of another, by what came of it',
      () => Object.entries(sources.handovers()).map(([outcome, count]) => sample({ outcome }, count)),
    ),
    single(
      'culvert_agent_crashes_total',
      'counter',
      'Agents of this container that crashed and were followed by another one',
      sources.crashes,
    ),
    several('culvert_redirect_decisions_total', 'counter', 'Decisions of the BPF programs', () =>
      Object.entries(sources.redirect()).map(([decision, count]) => sample({ decision }, Number(count))),
    ),
    several('culvert_kernel_path', 'gauge', 'What the kernel carries alone between pods of this node', () => [
      sample({ mode: sources.kernelPath().mode }, 1),
    ]),
    single('culvert_kernel_path_verdicts', 'gauge', 'Decisions that the kernel has', () => {
      return sources.kernelPath().verdicts;
    }),
    single(
      'culvert_kernel_path_services',
      'gauge',
      'Pairs of a pod and a Service whose endpoints the kernel draws',
      () => sources.kernelPath().services,
    ),
    several(
      'culvert_kernel_path_services_left_out_total',
      'counter',
      'Times that such a pair did not fit into the kernel, by why',
      () =>
        Object.entries(sources.kernelPath().servicesLeftOut).map(([reason, count]) =>
          sample({ reason }, count),
        ),
    ),
    single(
      'culvert_log_lines_lost_total',
      'counter',
      'Log lines of the main thread that could not be written',
      () => {
        return sources.logLinesLost();
      },
    ),
  ];
}

function podFamilies(sources: MetricSources): Family[] {
  const name = (what: string): string => `workload_manager_${what}`;
  return [
    single(
      name('active_proxy_count'),
      'gauge',
      'Pods of this node that are enrolled',
      () => sources.pods().active,
    ),
    single(
      name('pending_proxy_count'),
      'gauge',
      'Pods that should be enrolled and are not',
      () => sources.pods().pending,
    ),
    single(name('proxies_started_total'), 'counter', 'Pods that were enrolled', () => sources.pods().started),
    single(name('proxies_stopped_total'), 'counter', 'Pods that were retired', () => sources.pods().stopped),
  ];
}

function configFamilies({ config }: MetricSources): Family[] {
  return [
    single(
      'culvert_config_generation',
      'gauge',
      'Number of the configuration in force',
      () => config().generation,
    ),
    single(
      'culvert_config_applied_timestamp_seconds',
      'gauge',
      'When the configuration in force was applied',
      () => {
        return config().appliedAt / 1000;
      },
    ),
    single(
      'culvert_config_refused',
      'gauge',
      'Files or resources whose newest version was refused',
      () => config().refused.length,
    ),
    several('culvert_config_findings', 'gauge', 'Remarks on the configuration in force', () =>
      Object.entries(config().findings).map(([severity, count]) => sample({ severity }, count)),
    ),
  ];
}

function certificateFamilies({ certificates, certificateEvents }: MetricSources): Family[] {
  return [
    several(
      'culvert_certificate_expiry_timestamp_seconds',
      'gauge',
      'End of the certificate of each identity',
      () => certificates().map(({ identity, notAfter }) => sample({ identity }, notAfter / 1000)),
    ),
    single(
      'culvert_certificate_renewals_total',
      'counter',
      'Certificates that were issued to this agent',
      () => {
        return certificateEvents().renewals;
      },
    ),
    single('culvert_certificate_failures_total', 'counter', 'Certificates that could not be had', () => {
      return certificateEvents().failures;
    }),
  ];
}

function single(name: string, type: Family['type'], help: string, read: () => number): Family {
  return several(name, type, help, () => [sample({}, read())]);
}

function several(name: string, type: Family['type'], help: string, samples: () => readonly Sample[]): Family {
  return { name, type, help, samples };
}

function sample(labels: Labels, value: number): Sample {
  return { labels, value };
}
