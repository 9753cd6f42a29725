/**
 * What the status of a Gateway says that is a waypoint, and of the class of such Gateways: accepted or why not, whether
 * there is a pod that traffic can pass, where, and each listener. Pure; status.ts writes it.
 */
import { type Gateway, gatewayController } from '../../model/kinds/gateway.ts';
import { type Verdict, renewed } from './conditions.ts';
import { type OwnObject, record } from './own-object.ts';

/** What there is of a waypoint in the cluster. */
export interface WaypointState {
  /** Why its Gateway can not be had as it is written; null where it can. */
  readonly refused: { readonly reason: string; readonly message: string } | null;
  /** What keeps its pods from being made as they should be; null where nothing does. */
  readonly problem: string | null;
  /** Of its Service. */
  readonly addresses: readonly { readonly type: 'Hostname' | 'IPAddress'; readonly value: string }[];
  readonly readyPods: number;
}

/** Gateway API takes no more. */
const maxAddresses = 16;
const hboneProtocol = 'HBONE';
const hbonePort = 15_008;

/** What status should have that it has not; null when it is as it should be. `gateway` is the version that is in force. */
export function gatewayStatus(
  object: OwnObject,
  gateway: Gateway,
  state: WaypointState,
  now: string,
): Readonly<Record<string, unknown>> | null {
  const { generation, status } = object;
  const renew = (holder: unknown, verdicts: readonly Verdict[]) => {
    const { conditions } = record(holder);
    const present: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
    const { conditions: ours, isNews } = renewed(present, verdicts, generation, now);
    return { conditions: ours, isNews: isNews || present.length !== ours.length };
  };
  const whole = renew(status, verdictsOf(gateway, state));
  const { listeners: listed, addresses: given } = status;
  const present = new Map(
    (Array.isArray(listed) ? (listed as unknown[]) : []).map(it => [record(it)['name'], it]),
  );
  let isNews = whole.isNews || present.size !== gateway.spec.listeners.length;
  const listeners = gateway.spec.listeners.map(listener => {
    const before = present.get(listener.name);
    const rival = rivalOf(listener, gateway);
    const { conditions, isNews: isOther } = renew(before, listenerVerdicts(listener, state, rival));
    isNews ||= isOther || before === undefined;
    // Routes are bound to Services, not to the listener that their requests come through.
    return { name: listener.name, supportedKinds: [], attachedRoutes: 0, conditions };
  });
  const addresses = state.addresses.slice(0, maxAddresses);
  isNews ||= JSON.stringify(given ?? []) !== JSON.stringify(addresses);
  return isNews ? { conditions: whole.conditions, listeners, addresses } : null;
}

/** The status of the class of waypoints: we are there. Null when it says so already. */
export function gatewayClassStatus(object: OwnObject, now: string): Readonly<Record<string, unknown>> | null {
  const { conditions } = object.status;
  const present: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
  const message = `Gateways of this class are waypoints, made by ${gatewayController}`;
  const accepted: Verdict = { type: 'Accepted', status: 'True', reason: 'Accepted', message };
  const { conditions: ours, isNews } = renewed(present, [accepted], object.generation, now);
  if (!isNews) return null;
  return { conditions: [...present.filter(condition => record(condition)['type'] !== 'Accepted'), ...ours] };
}

function verdictsOf(gateway: Gateway, state: WaypointState): Verdict[] {
  const odd = gateway.spec.listeners.filter(
    listener => listenerProblem(listener, rivalOf(listener, gateway)) !== null,
  );
  const { refused } = state;
  if (refused !== null) {
    const message = 'nothing is made for a Gateway that is not accepted';
    return [
      { type: 'Accepted', status: 'False', ...refused },
      { type: 'Programmed', status: 'False', reason: 'Invalid', message },
    ];
  }
  const accepted: Verdict =
    odd.length === 0
      ? { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'a waypoint' }
      : {
          type: 'Accepted',
          status: 'True',
          reason: 'ListenersNotValid',
          message: `not in force: ${odd.map(({ name }) => `listener ${name}`).join(', ')}`,
        };
  return [accepted, programmed(state)];
}

function programmed({ problem, readyPods, addresses }: WaypointState): Verdict {
  const wait = (message: string): Verdict => ({
    type: 'Programmed',
    status: 'False',
    reason: 'Pending',
    message,
  });
  if (problem !== null) return wait(problem);
  if (addresses.length === 0) return wait('its Service has no address yet');
  if (readyPods === 0) return wait('none of its pods is ready: connections are refused');
  const message = 'traffic of whoever uses it passes it';
  return { type: 'Programmed', status: 'True', reason: 'Programmed', message };
}

type Listener = Gateway['spec']['listeners'][number];

/** The listener before this one that has its port already: host names, which may tell two apart, mean nothing to tunnels. */
function rivalOf(listener: Listener, { spec }: Gateway): Listener | null {
  const { protocol = '', port = hbonePort } = listener;
  const before = spec.listeners.slice(0, spec.listeners.indexOf(listener));
  return (
    before.find(other => (other.protocol ?? '') === protocol && (other.port ?? hbonePort) === port) ?? null
  );
}

/** Why a listener is not what a waypoint has; null where it is. */
function listenerProblem(
  { protocol = '', port = hbonePort }: Listener,
  rival: Listener | null,
): Verdict | null {
  const refuse = (reason: string, message: string): Verdict => ({
    type: 'Accepted',
    status: 'False',
    reason,
    message,
  });
  if (protocol !== hboneProtocol)
    return refuse('UnsupportedProtocol', `a waypoint listens for ${hboneProtocol} only`);
  if (port !== hbonePort) return refuse('PortUnavailable', `tunnels come to port ${hbonePort}`);
  return rival === null ? null : refuse('PortUnavailable', `listener ${rival.name} has the port`);
}

function listenerVerdicts(listener: Listener, state: WaypointState, rival: Listener | null): Verdict[] {
  const problem = listenerProblem(listener, rival);
  const good = (type: string, message: string): Verdict => ({ type, status: 'True', reason: type, message });
  const conflicted: Verdict =
    rival === null
      ? { type: 'Conflicted', status: 'False', reason: 'NoConflicts', message: 'none' }
      : {
          type: 'Conflicted',
          status: 'True',
          reason: 'HostnameConflict',
          message: `with listener ${rival.name}: host names do not tell tunnels apart`,
        };
  const isIn = state.refused === null ? programmed(state) : null;
  const refused = {
    type: 'Programmed',
    status: 'False',
    reason: 'Invalid',
    message: 'not accepted',
  } as const;
  return [
    problem ?? good('Accepted', 'tunnels of the mesh'),
    problem === null && isIn !== null ? isIn : refused,
    good('ResolvedRefs', 'it refers to nothing'),
    conflicted,
  ];
}
