/**
 * What may reach the control plane: its own ports. Agents come from the addresses of nodes, which no selector can name, so
 * the ports are open to all and every caller shows a token. The agents are in the nodes' network, where no policy applies.
 */
import { controlName, ports } from '../names.ts';
import { type Template, when } from '../template.ts';
import { metadata, selectorLabels } from './metadata.ts';

export function networkPolicyManifests(): readonly Template[] {
  return [when('networkPolicy', policy)];
}

const policy: Template = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: metadata(controlName, 'control'),
  spec: {
    podSelector: { matchLabels: selectorLabels('control') },
    policyTypes: ['Ingress'],
    ingress: [
      {
        ports: [ports.control, ports.controlMetrics, ports.ready].map(port => ({ port, protocol: 'TCP' })),
      },
    ],
  },
};
