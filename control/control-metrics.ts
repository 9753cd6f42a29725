/**
 * What the serving side of the control plane counts. docs/metrics.md lists every metric.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const seconds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export type ControlMetrics = ReturnType<typeof controlMetrics>;

/** Registers the metrics in `registry`. */
export function controlMetrics(registry: Registry) {
  const registers = [registry];
  const counter = <Label extends string>(
    name: string,
    help: string,
    ...labelNames: Label[]
  ): Counter<Label> => new Counter({ name: `culvert_control_${name}`, help, labelNames, registers });
  const gauge = <Label extends string>(name: string, help: string, ...labelNames: Label[]): Gauge<Label> =>
    new Gauge({ name: `culvert_control_${name}`, help, labelNames, registers });
  const histogram = <Label extends string>(
    name: string,
    help: string,
    ...labelNames: Label[]
  ): Histogram<Label> =>
    new Histogram({ name: `culvert_control_${name}`, help, labelNames, buckets: seconds, registers });
  return {
    connections: gauge('connections', 'Connections of clients that are open now'),
    connectionsRefused: counter('connections_refused_total', 'Connections beyond the limit that were closed'),
    authentications: counter('authentications_total', 'Calls by how their token was judged', 'result'),
    reviewSeconds: histogram('token_review_seconds', 'How long the API server took to judge a token'),
    streams: gauge('streams', 'Streams of clients that are open now', 'service'),
    streamsEnded: counter('streams_ended_total', 'Streams that ended, by why', 'service', 'reason'),
    subscriptions: gauge('subscriptions', 'What clients are subscribed to now', 'type', 'mode'),
    resources: gauge('resources', 'Resources that clients can be told of', 'type'),
    requests: counter('requests_total', 'Requests of clients, answers to responses included', 'type'),
    requestsDelayed: counter('requests_delayed_total', 'Requests that were read later, as too many came'),
    pushes: counter('pushes_total', 'Responses sent', 'type'),
    pushedResources: counter('pushed_resources_total', 'Resources in responses, removals included', 'type'),
    pushedBytes: counter('pushed_bytes_total', 'Bytes of responses', 'type'),
    pushSeconds: histogram('push_seconds', 'From a change until it was sent to a client', 'type'),
    ackSeconds: histogram('ack_seconds', 'From a response until the client has accepted it', 'type'),
    nacks: counter('nacks_total', 'Responses that clients refused', 'type'),
    certificatesIssued: counter('certificates_issued_total', 'Certificates signed, by for whom', 'kind'),
    certificatesRefused: counter('certificates_refused_total', 'Certificate requests refused', 'reason'),
    authorityExpiry: gauge('authority_expiry_timestamp_seconds', 'When nothing can be signed any more'),
    servingExpiry: gauge(
      'serving_certificate_expiry_timestamp_seconds',
      'End of the certificate that clients are shown',
    ),
    reports: counter('node_reports_total', 'Reports of agents about the pods of their nodes', 'result'),
  };
}
