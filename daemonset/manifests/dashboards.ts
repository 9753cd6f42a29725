/**
 * Dashboards for Grafana, as JSON texts. Queries name only metrics that docs/metrics.md lists; a test holds that.
 */

export interface Dashboard {
  /** Of its ConfigMap and file. */
  readonly name: string;
  readonly content: string;
}

interface Panel {
  readonly title: string;
  /** Sentence for whoever wonders what it shows. */
  readonly description: string;
  readonly unit: 'short' | 'Bps' | 's' | 'ops' | 'bytes' | 'percentunit';
  readonly queries: readonly { readonly expr: string; readonly legend: string }[];
}

/** Bytes and connections are counted by both ends; one of them is enough. */
const bySource = 'reporter="source"';
const byDestination = 'reporter="destination"';
const ofNamespace = 'destination_workload_namespace=~"$namespace"';

const traffic: readonly Panel[] = [
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

const agents: readonly Panel[] = [
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

const control: readonly Panel[] = [
  {
    title: 'Streams',
    description: 'Of agents and other clients, by service.',
    unit: 'short',
    queries: [
      { expr: 'sum by (service) (culvert_control_streams)', legend: '{{service}}' },
      { expr: 'sum(culvert_control_connections)', legend: 'connections' },
    ],
  },
  {
    title: 'From a change until it is sent',
    description: '99 of 100 times, by type of resource.',
    unit: 's',
    queries: [
      {
        expr: 'histogram_quantile(0.99, sum by (le, type) (rate(culvert_control_push_seconds_bucket[$__rate_interval])))',
        legend: '{{type}}',
      },
    ],
  },
  {
    title: 'From a response until it is accepted',
    description: '99 of 100 times, by type of resource.',
    unit: 's',
    queries: [
      {
        expr: 'histogram_quantile(0.99, sum by (le, type) (rate(culvert_control_ack_seconds_bucket[$__rate_interval])))',
        legend: '{{type}}',
      },
    ],
  },
  {
    title: 'Bytes sent',
    description: 'Of responses, by type of resource.',
    unit: 'Bps',
    queries: [
      {
        expr: 'sum by (type) (rate(culvert_control_pushed_bytes_total[$__rate_interval]))',
        legend: '{{type}}',
      },
    ],
  },
  {
    title: 'Resources',
    description: 'What clients can be told of.',
    unit: 'short',
    queries: [{ expr: 'max by (type) (culvert_control_resources)', legend: '{{type}}' }],
  },
  {
    title: 'Refused by clients',
    description: 'Responses that were not accepted; an agent then keeps what it had.',
    unit: 'ops',
    queries: [
      { expr: 'sum by (type) (rate(culvert_control_nacks_total[$__rate_interval]))', legend: '{{type}}' },
    ],
  },
  {
    title: 'Certificates',
    description: 'Signed, and refused by reason.',
    unit: 'ops',
    queries: [
      {
        expr: 'sum by (kind) (rate(culvert_control_certificates_issued_total[$__rate_interval]))',
        legend: 'signed {{kind}}',
      },
      {
        expr: 'sum by (reason) (rate(culvert_control_certificates_refused_total[$__rate_interval]))',
        legend: 'refused {{reason}}',
      },
    ],
  },
  {
    title: 'Until the authority ends',
    description: 'Nothing can be signed after that.',
    unit: 's',
    queries: [
      { expr: 'min(culvert_control_authority_expiry_timestamp_seconds) - time()', legend: 'authority' },
    ],
  },
  {
    title: 'Tokens',
    description: 'How callers were judged.',
    unit: 'ops',
    queries: [
      {
        expr: 'sum by (result) (rate(culvert_control_authentications_total[$__rate_interval]))',
        legend: '{{result}}',
      },
    ],
  },
];

export function dashboards(): readonly Dashboard[] {
  return [
    dashboard('culvert-traffic', 'Culvert: traffic', traffic, [
      {
        name: 'namespace',
        query: 'label_values(istio_tcp_connections_opened_total, destination_workload_namespace)',
      },
    ]),
    dashboard('culvert-agents', 'Culvert: agents', agents, []),
    dashboard('culvert-control', 'Culvert: control plane', control, []),
  ];
}

interface Variable {
  readonly name: string;
  readonly query: string;
}

const dataSource = { type: 'prometheus', uid: '${datasource}' };

function dashboard(
  name: string,
  title: string,
  panels: readonly Panel[],
  variables: readonly Variable[],
): Dashboard {
  const content = {
    uid: name,
    title,
    tags: ['culvert'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
        ...variables.map(choice),
      ],
    },
    panels: panels.map(timeSeries),
  };
  return { name, content: `${JSON.stringify(content, null, 1)}\n` };
}

function choice({ name, query }: Variable): object {
  return {
    name,
    type: 'query',
    datasource: dataSource,
    query: { query, refId: name },
    refresh: 2,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { selected: true, text: 'All', value: '$__all' },
  };
}

/** Two beside each other, in the order given. */
function timeSeries({ title, description, unit, queries }: Panel, at: number): object {
  const [width, height] = [12, 8];
  return {
    id: at + 1,
    type: 'timeseries',
    title,
    description,
    datasource: dataSource,
    gridPos: { x: (at % 2) * width, y: Math.floor(at / 2) * height, w: width, h: height },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: queries.map(({ expr, legend }, index) => ({
      refId: 'ABC'.charAt(index),
      datasource: dataSource,
      expr,
      legendFormat: legend,
    })),
  };
}
