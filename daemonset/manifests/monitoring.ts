/** How Prometheus and Grafana find what there is to see: monitors of the Prometheus operator, and dashboards. */
import { agentName, controlName, ports } from '../names.ts';
import { type Template, extended, namespace, value, when } from '../template.ts';
import { dashboards } from './dashboards.ts';
import { labels, selectorLabels } from './metadata.ts';

export function monitoringManifests(): readonly Template[] {
  return [
    when('monitoring.podMonitor', podMonitor),
    when('monitoring.serviceMonitor', serviceMonitor),
    ...dashboards().map(({ name, content }) =>
      when('monitoring.dashboards', {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: {
          name,
          namespace,
          labels: { ...labels('monitoring'), grafana_dashboard: '1' },
        },
        data: { [`${name}.json`]: content },
      }),
    ),
  ];
}

const apiVersion = 'monitoring.coreos.com/v1';

/** With the labels that the user's Prometheus looks for. */
function monitorMetadata(name: string): Template {
  return { name, namespace, labels: extended(labels('monitoring'), 'monitoring.labels') };
}

const podMonitor: Template = {
  apiVersion,
  kind: 'PodMonitor',
  metadata: monitorMetadata(agentName),
  spec: {
    selector: { matchLabels: selectorLabels('agent') },
    podMetricsEndpoints: [
      {
        path: '/metrics',
        interval: value('monitoring.interval'),
        relabelings: [
          { sourceLabels: ['__meta_kubernetes_pod_node_name'], targetLabel: 'node' },
          // The pod declares no port (manifests/agent.ts).
          {
            sourceLabels: ['__meta_kubernetes_pod_ip'],
            regex: '(.*:.*)',
            targetLabel: '__address__',
            replacement: `[$1]:${ports.agentMetrics}`,
          },
          {
            sourceLabels: ['__meta_kubernetes_pod_ip'],
            regex: '([^:]*)',
            targetLabel: '__address__',
            replacement: `$1:${ports.agentMetrics}`,
          },
        ],
      },
    ],
  },
};

const serviceMonitor: Template = {
  apiVersion,
  kind: 'ServiceMonitor',
  metadata: monitorMetadata(controlName),
  spec: {
    selector: { matchLabels: selectorLabels('control') },
    endpoints: [{ port: 'http-metrics', path: '/metrics', interval: value('monitoring.interval') }],
  },
};
