/**
 * Dashboards for Grafana, as JSON texts. Queries name only metrics that docs/metrics.md lists; a test holds that.
 */
import { agents } from './dashboard-agents.ts';
import { control } from './dashboard-control.ts';
import { dataSource, timeSeries } from './dashboard-panel.ts';
import type { Panel } from './dashboard-panel.ts';
import { traffic } from './dashboard-traffic.ts';

export interface Dashboard {
  /** Of its ConfigMap and file. */
  readonly name: string;
  readonly content: string;
}

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
