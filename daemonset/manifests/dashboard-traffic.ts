/** Panels about what workloads say to each other: how much, how safely, and what was refused. */
import type { Panel } from './dashboard-panel.ts';

/** Bytes and connections are counted by both ends; one of them is enough. */
const bySource = 'reporter="source"';
const byDestination = 'reporter="destination"';
const ofNamespace = 'destination_workload_namespace=~"$namespace"';

export const traffic: readonly Panel[] = [
  {
    title: 'Connections opened',
    description: 'By destination, as the destination counts them.',
    unit: 'ops',
    queries: [
      {
        expr: `sum by (destination_workload_namespace, destination_workload) (rate(istio_tcp_connections_opened_total{${byDestination}, ${ofNamespace}}[$__rate_interval]))`,
        legend: '{{destination_workload_namespace}}/{{destination_workload}}',
      },
    ],
  },
  {
    title: 'Share of connections with mutual TLS',
    description: 'Of all connections to the namespaces; the rest came without an identity.',
    unit: 'percentunit',
    queries: [
      {
        expr: `sum by (destination_workload_namespace) (rate(istio_tcp_connections_opened_total{${byDestination}, ${ofNamespace}, connection_security_policy="mutual_tls"}[$__rate_interval])) / sum by (destination_workload_namespace) (rate(istio_tcp_connections_opened_total{${byDestination}, ${ofNamespace}}[$__rate_interval]))`,
        legend: '{{destination_workload_namespace}}',
      },
    ],
  },
  {
    title: 'Bytes from clients to servers',
    description: 'By source, as the source counts them.',
    unit: 'Bps',
    queries: [
      {
        expr: `sum by (source_workload, destination_workload) (rate(istio_tcp_received_bytes_total{${bySource}, ${ofNamespace}}[$__rate_interval]))`,
        legend: '{{source_workload}} to {{destination_workload}}',
      },
    ],
  },
  {
    title: 'Bytes from servers to clients',
    description: 'By source, as the source counts them.',
    unit: 'Bps',
    queries: [
      {
        expr: `sum by (source_workload, destination_workload) (rate(istio_tcp_sent_bytes_total{${bySource}, ${ofNamespace}}[$__rate_interval]))`,
        legend: '{{source_workload}} from {{destination_workload}}',
      },
    ],
  },
  {
    title: 'Connections that failed',
    description: 'By reason: DENY is policy, CONNECT an endpoint that did not answer.',
    unit: 'ops',
    queries: [
      {
        expr: `sum by (response_flags, destination_workload) (rate(istio_tcp_connections_failed_total{${ofNamespace}}[$__rate_interval]))`,
        legend: '{{response_flags}} {{destination_workload}}',
      },
    ],
  },
  {
    title: 'Refused by policy',
    description: 'By the policy that decided; none: ALLOW policies exist and no rule matched.',
    unit: 'ops',
    queries: [
      {
        expr: 'sum by (policy, direction) (rate(culvert_denied_connections_total[$__rate_interval]))',
        legend: '{{policy}} {{direction}}',
      },
    ],
  },
];
