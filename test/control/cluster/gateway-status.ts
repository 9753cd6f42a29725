/** What the status of a Gateway says about listeners that want the same. */
import t from 'tap';
import type { OwnObject } from '../../../control/cluster/own-object.ts';
import { gatewayStatus } from '../../../control/cluster/gateway-status.ts';
import { gateway } from '../../../model/kinds/gateway.ts';

t.test('of two listeners of one port the first has it, whatever their host names', async t => {
  const object = { generation: 1, status: {} } as unknown as OwnObject;
  const mesh = { port: 15_008, protocol: 'HBONE' };
  const value = gateway.parse({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'wp', namespace: 'shop' },
    spec: {
      gatewayClassName: 'culvert-waypoint',
      listeners: [
        { name: 'a', ...mesh },
        { name: 'b', ...mesh, hostname: 'b.example' },
      ],
    },
  });
  const address = { type: 'IPAddress', value: '10.96.0.9' } as const;
  const state = { refused: null, problem: null, addresses: [address], readyPods: 1 };
  const status = gatewayStatus(object, value, state, '2026-01-02T03:04:05Z') as {
    conditions: { type: string; status: string; reason: string; message: string }[];
    listeners: { conditions: { type: string; status: string; reason: string }[] }[];
  };
  const said = status.listeners.map(({ conditions }) =>
    conditions.map(({ type, status: is, reason }) => `${type}=${is} ${reason}`),
  );
  t.match(said[0], [
    'Accepted=True Accepted',
    'Programmed=True Programmed',
    /./,
    'Conflicted=False NoConflicts',
  ]);
  t.match(said[1], [
    'Accepted=False PortUnavailable',
    'Programmed=False Invalid',
    /./,
    'Conflicted=True HostnameConflict',
  ]);
  t.match(status.conditions[0], {
    type: 'Accepted',
    status: 'True',
    reason: 'ListenersNotValid',
    message: /listener b/,
  });
});
