/** The metrics of an agent in a cluster: what it hears from the control plane, and how pods reach it. */
import type { ResourceType } from '../xds/codec.ts';
import type { ClusterState } from './cluster/cluster-state.ts';
import type { Family, Sample } from '../base/metrics-family.ts';

/** How streams end, in the words that dashboards of ambient meshes know. */
const terminations = { unconnected: 'ConnectionError', ended: 'Reconnect', failed: 'Error' } as const;

const addSeconds = 'culvert_cni_add_seconds';

/** @param state asked at each scrape */
export function clusterFamilies(state: () => ClusterState): Family[] {
  const counter = (name: string, help: string, samples: () => readonly Sample[]): Family => {
    return { name, type: 'counter', help, samples };
  };
  const gauge = (name: string, help: string, value: () => number): Family => {
    return { name, type: 'gauge', help, samples: () => [{ labels: {}, value: value() }] };
  };
  const byType = (counts: () => Readonly<Record<ResourceType, number>>) => (): Sample[] =>
    Object.entries(counts()).map(([type, value]) => {
      return { labels: { url: state().typeUrls[type as ResourceType] }, value };
    });
  const counters = (): ClusterState['xdsCounters'] => state().xdsCounters;
  return [
    counter('istio_xds_connection_terminations_total', 'Streams to the control plane that ended', () =>
      Object.entries(terminations).map(([key, reason]) => {
        return { labels: { reason }, value: counters().terminations[key as keyof typeof terminations] };
      }),
    ),
    counter(
      'istio_xds_message_total',
      'Responses of the control plane',
      byType(() => counters().messages),
    ),
    counter(
      'istio_xds_message_bytes_total',
      'Bytes of resources in them',
      byType(() => counters().bytes),
    ),
    counter(
      'culvert_xds_refused_total',
      'Responses that were refused in part or whole',
      byType(() => counters().nacks),
    ),
    {
      name: 'culvert_xds_names',
      type: 'gauge',
      help: 'On demand: names that were asked for, by what there is',
      samples: () =>
        Object.entries(state().names ?? {}).map(([answer, value]) => ({ labels: { answer }, value })),
    },
    gauge('culvert_xds_connected', 'Whether the control plane is heard', () => Number(state().xds.connected)),
    gauge('culvert_reports_connected', 'Whether the control plane hears which pods are enrolled', () =>
      Number(state().reportsTrouble === null),
    ),
    gauge('culvert_runtime_connected', 'Whether the container runtime answers', () =>
      Number(state().runtime.trouble === null),
    ),
    gauge('culvert_cni_installed', 'Whether the CNI plugin is in the chain', () =>
      Number(state().cni?.trouble === null),
    ),
    counter('culvert_cni_insertions_total', 'Times that the plugin was put into the chain', () => [
      { labels: {}, value: state().cniInserted },
    ]),
    gauge('culvert_cni_waiting', 'New pods that wait to be enrolled', () => state().cniWaiting),
    counter('culvert_cni_requests_total', 'Questions of the CNI plugin', () => [
      { labels: {}, value: state().cniAsked },
    ]),
    {
      name: addSeconds,
      type: 'histogram',
      help: 'How long new pods waited for the agent, by what came of it',
      samples: () => state().cniTimes.samples(addSeconds),
    },
  ];
}
