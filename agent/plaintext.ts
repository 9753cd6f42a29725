/**
 * Plain TCP that arrives at an enrolled pod: sk_lookup has steered it here whatever its port, and the accepted
 * socket's local address is the one that was dialled. It carries no identity, so STRICT workloads refuse it by policy,
 * all but what the kernel knows to come from the node's kubelet (bpf/kubelet.h).
 */
import { CulvertError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import type { SocketAddress } from '../native/native.ts';
import { kubeletProbe } from './authorise.ts';
import type { Connection } from './connections.ts';
import { deliver } from './deliver.ts';
import { learnSource } from './learn-source.ts';
import type { Leg } from './leg.ts';
import type { Pod } from './pod.ts';
import { encodeIndex, isKubelet } from './redirect-abi.ts';
import { PairRelay } from './relay.ts';
import { workloadOf, type ShardContext } from './shard-context.ts';

export function acceptPlaintext(context: ShardContext, pod: Pod, client: Leg, from: SocketAddress): void {
  const to = native.socketAddress(client.fd);
  learnSource(context, pod, from.address, () => {
    if (pod.gone || client.closed) client.reset();
    else admit(context, pod, client, from, to);
  });
}

function admit(
  context: ShardContext,
  pod: Pod,
  client: Leg,
  { address, port }: SocketAddress,
  to: SocketAddress,
): void {
  const from = { address, port };
  const sourceWorkload = context.mesh.workloadByAddress(context.settings.network, from.address);
  const connection = context.connections.start(
    'inbound',
    pod,
    // Known by its address only: good for a log line, never for a decision.
    { ...from, workload: sourceWorkload, identity: null },
    { ...to, workload: workloadOf(context, pod), identity: pod.identity },
  );
  if (isFromKubelet(context, client)) {
    connection.exemption = kubeletProbe;
    context.count('KUBELET_PROBE');
  }
  deliver(context, pod, connection, (error, server) => {
    if (server === null || client.closed) {
      refuse(connection, client, error);
      server?.reset();
      return;
    }
    new PairRelay(client, server, connection).start();
  });
}

/** Asks the kernel who opened the connection; what it can't say any more is nobody's in particular. */
function isFromKubelet(context: ShardContext, client: Leg): boolean {
  return isKubelet(native.mapLookup(context.originalDestinationMap, encodeIndex(client.fd)));
}

/** Resets the client, as an application's own refusal would look one moment later. */
export function refuse(connection: Connection, client: Leg, error: CulvertError | null): void {
  client.reset();
  connection.closed(
    error ??
      new CulvertError('CLIENT_GONE', 'the client went away before the connection was open', {
        side: 'client',
      }),
  );
}
