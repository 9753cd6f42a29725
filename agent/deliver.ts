/**
 * The last step towards an application: policy, then a connection from inside the pod's namespace that shows the
 * application its real client's address. Tunnelled, plaintext and same-node connections all end here.
 */
import { CulvertError } from '../base/errors.ts';
import { isIpv6 } from '../model/address.ts';
import * as native from '../native/native.ts';
import { denied, judge } from './authorise.ts';
import type { Connection } from './connections.ts';
import { learnAdmission } from './learn-admission.ts';
import { joining } from './leg-join.ts';
import type { Leg } from './leg.ts';
import type { Pod } from './pod.ts';
import type { ShardContext } from './shard-context.ts';

/**
 * Decides about `connection` and dials the application in `pod`. `done` gets the leg to it, maybe before this returns, or POLICY_DENIED,
 * WAYPOINT_BYPASSED, RECURSIVE_CALL or a DIAL_ error; the connection may have been cut meanwhile, which is an error too.
 */
export function deliver(
  context: ShardContext,
  pod: Pod,
  connection: Connection,
  done: (error: CulvertError | null, leg: Leg | null) => void,
): void {
  let cutBy: CulvertError | null = null;
  let abort = (): void => {};
  connection.cut = reason => {
    if (cutBy !== null) return;
    cutBy = reason;
    abort();
    done(reason, null);
  };
  learnAdmission(context, pod.workloadUid, connection, unlearned => {
    if (cutBy !== null) return;
    const error = unlearned ?? refusal(context, pod, connection);
    if (error !== null) {
      done(error, null);
      return;
    }
    abort = dial(context, pod, connection, (dialError, leg) => {
      if (leg !== null) leg.joining = joining(context, pod, leg.fd, connection.destination);
      if (cutBy === null) done(dialError, leg);
      else leg?.reset();
    });
  });
}

/** Returns what gives up. */
function dial(
  context: ShardContext,
  pod: Pod,
  { source, destination }: Connection,
  done: (error: CulvertError | null, leg: Leg | null) => void,
): () => void {
  // Dialled by the destination's own address, never loopback: the application may be bound to it alone.
  const sameFamily = isIpv6(source.address) === isIpv6(destination.address);
  const shown = sameFamily && source.address !== destination.address;
  return pod.sockets.connect(
    destination.address,
    destination.port,
    {
      timeoutMs: context.config.limits.dialMs,
      ...(shown && {
        prepare: (fd: number) => native.setPeerName(context.peerNameMap, fd, source.address, source.port),
      }),
    },
    done,
  );
}

function refusal(context: ShardContext, pod: Pod, connection: Connection): CulvertError | null {
  const { destination } = connection;
  const own = context.config.podPorts;
  const port = destination.port;
  if (port === own.outbound || port === own.plaintext || port === own.hbone) {
    return new CulvertError('RECURSIVE_CALL', `port ${port} of a pod belongs to the mesh itself`, {
      side: 'client',
      fix: 'connect to a port of the application',
    });
  }
  if (pod.connections.size > context.config.limits.connectionsPerPod) {
    return new CulvertError(
      'POD_CONNECTION_LIMIT',
      `more than ${context.config.limits.connectionsPerPod} connections`,
      { side: 'client' },
    );
  }
  const decision = judge(context, pod.workloadUid, connection);
  return decision.allowed ? null : denied(decision);
}
