/** Panels about the agents of all nodes: what they carry, what they hold, and what they take. */
import type { Panel } from './dashboard-panel.ts';

export const agents: readonly Panel[] = [
  {
    title: 'Pods',
    description: 'Enrolled pods, and those that should be and are not.',
    unit: 'short',
    queries: [
      { expr: 'sum(workload_manager_active_proxy_count)', legend: 'enrolled' },
      { expr: 'sum(workload_manager_pending_proxy_count)', legend: 'pending' },
    ],
  },
  {
    title: 'Connections carried now',
    description: 'Of all shards of each agent.',
    unit: 'short',
    queries: [{ expr: 'sum by (instance) (culvert_shard_connections)', legend: '{{instance}}' }],
  },
  {
    title: 'Tunnels',
    description: 'To and from other agents.',
    unit: 'short',
    queries: [{ expr: 'sum by (direction) (culvert_tunnels)', legend: '{{direction}}' }],
  },
  {
    title: 'Tunnels that failed before their first request',
    description: 'By error code (docs/errors.md).',
    unit: 'ops',
    queries: [
      {
        expr: 'sum by (code) (rate(culvert_tunnel_handshake_failures_total[$__rate_interval]))',
        legend: '{{code}}',
      },
    ],
  },
  {
    title: 'Connections without mutual TLS',
    description: 'Carried as plain TCP, since the other end is not in the mesh.',
    unit: 'ops',
    queries: [
      {
        expr: 'sum by (direction) (rate(culvert_plaintext_connections_total[$__rate_interval]))',
        legend: '{{direction}}',
      },
    ],
  },
  {
    title: 'Certificate that ends first',
    description: 'Of each agent. Certificates are renewed between half and 70 % of their life.',
    unit: 's',
    queries: [
      {
        expr: 'min by (instance) (culvert_certificate_expiry_timestamp_seconds) - time()',
        legend: '{{instance}}',
      },
    ],
  },
  {
    title: 'Certificates',
    description: 'Issued, and attempts that failed.',
    unit: 'ops',
    queries: [
      { expr: 'sum(rate(culvert_certificate_renewals_total[$__rate_interval]))', legend: 'issued' },
      { expr: 'sum(rate(culvert_certificate_failures_total[$__rate_interval]))', legend: 'failed' },
    ],
  },
  {
    title: 'Age of the configuration',
    description: 'Time since the last change came into force on each node.',
    unit: 's',
    queries: [{ expr: 'time() - culvert_config_applied_timestamp_seconds', legend: '{{instance}}' }],
  },
  {
    title: 'Memory',
    description: 'Resident.',
    unit: 'bytes',
    queries: [
      {
        expr: 'process_resident_memory_bytes * on (instance) group_left istio_build',
        legend: '{{instance}}',
      },
    ],
  },
  {
    title: 'Processor time',
    description: 'Cores in use.',
    unit: 'short',
    queries: [
      {
        expr: 'rate(process_cpu_seconds_total[$__rate_interval]) * on (instance) group_left istio_build',
        legend: '{{instance}}',
      },
    ],
  },
  {
    title: 'Event loop delay',
    description: 'How late the slowest shard of each agent was, 99 of 100 times.',
    unit: 's',
    queries: [
      {
        expr: 'max by (instance) (culvert_shard_event_loop_delay_seconds{quantile="0.99"})',
        legend: '{{instance}}',
      },
    ],
  },
  {
    title: 'DNS',
    description: 'Queries of pods, those passed on, and those that got no answer.',
    unit: 'ops',
    queries: [
      { expr: 'sum(rate(istio_dns_requests_total[$__rate_interval]))', legend: 'asked' },
      { expr: 'sum(rate(istio_dns_upstream_requests_total[$__rate_interval]))', legend: 'passed on' },
      { expr: 'sum(rate(istio_dns_upstream_failures_total[$__rate_interval]))', legend: 'no answer' },
    ],
  },
];
