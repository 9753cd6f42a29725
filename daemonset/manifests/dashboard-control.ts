/** Panels about the control plane: whom it tells, how fast, and what it signs. */
import type { Panel } from './dashboard-panel.ts';

export const control: readonly Panel[] = [
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
