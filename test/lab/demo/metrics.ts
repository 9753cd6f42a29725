/**
 * A few of the metrics that Prometheus would find, as the agent of node-b gives them on port 15020.
 */
import type { MetricSample } from '../agent-process.ts';
import type { Report } from './report.ts';
import type { Stage } from './stage.ts';

interface Choice {
  readonly name: string;
  /** What its labels must be. */
  readonly where?: Readonly<Record<string, string>>;
  /** Labels worth a look here; samples that agree in them are added up. */
  readonly by?: readonly string[];
}

const between = ['source_workload', 'destination_workload'] as const;
const choices: readonly Choice[] = [
  {
    name: 'istio_tcp_connections_opened_total',
    where: { reporter: 'destination', source_workload: 'front', connection_security_policy: 'mutual_tls' },
    by: [...between, 'connection_security_policy'],
  },
  {
    name: 'istio_tcp_connections_failed_total',
    where: { reporter: 'destination' },
    by: [...between, 'response_flags'],
  },
  { name: 'culvert_denied_connections_total', by: ['direction', 'policy'] },
  { name: 'culvert_tunnel_handshake_failures_total', by: ['direction', 'code'] },
  { name: 'workload_manager_active_proxy_count' },
  { name: 'culvert_config_generation' },
  { name: 'culvert_config_refused' },
  { name: 'process_resident_memory_bytes' },
];

export async function metrics(stage: Stage, report: Report): Promise<void> {
  report.section(
    'Some of what Prometheus scrapes on node-b, http://127.0.0.1:15020/metrics (with few of the labels)',
  );
  const samples = await stage.agent('node-b').metrics();
  for (const { name, where = {}, by = [] } of choices) {
    const sums = new Map<string, number>();
    for (const sample of samples) {
      if (
        sample.name !== name ||
        !Object.entries(where).every(([key, value]) => sample.labels[key] === value)
      )
        continue;
      const text = identify(sample, by);
      sums.set(text, (sums.get(text) ?? 0) + sample.value);
    }
    for (const [text, sum] of sums) report.line(`  ${text} ${sum}`);
  }
}

function identify({ name, labels }: MetricSample, by: readonly string[]): string {
  const text = by.map(key => `${key}="${labels[key] ?? ''}"`).join(',');
  return text === '' ? name : `${name}{${text}}`;
}
