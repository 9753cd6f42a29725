/**
 * Plain TCP that arrives at an enrolled pod: sk_lookup has steered it here whatever its port, and the accepted
 * socket's local address is the one that was dialled. It carries no identity, so STRICT workloads refuse it by policy,
 * all but what the kernel knows to come from the node's kubelet (bpf/kubelet.h).
 */
import type net from 'node:net';
import { CulvertError } from '../base/errors.ts';
import { canonicalIp } from '../model/address.ts';
import * as native from '../native/native.ts';
import { kubeletProbe } from './authorise.ts';
import type { Connection } from './connections.ts';
import { deliver } from './deliver.ts';
import { learnSource } from './learn-source.ts';
import type { Pod } from './pod.ts';
import { encodeIndex, isKubelet } from './redirect-abi.ts';
import { PairRelay } from './relay.ts';
import { workloadOf, type ShardContext } from './shard-context.ts';
import { fdOf, reset } from './socket-handle.ts';

export function acceptPlaintext(context: ShardContext, pod: Pod, client: net.Socket): void {
  const source = canonicalIp(client.remoteAddress ?? '');
  const destination = canonicalIp(client.localAddress ?? '');
  if (
    source === null ||
    destination === null ||
    client.remotePort === undefined ||
    client.localPort === undefined
  ) {
    // Reset before it was accepted.
    client.destroy();
    return;
  }
  const from = { address: source, port: client.remotePort };
  const to = { address: destination, port: client.localPort };
  client.on('error', onEarlyError);
  learnSource(context, pod, source, () => {
    if (pod.gone || client.destroyed) reset(client);
    else admit(context, pod, client, from, to);
  });
}

interface Address {
  readonly address: string;
  readonly port: number;
}

function onEarlyError(): void {}

function admit(context: ShardContext, pod: Pod, client: net.Socket, from: Address, to: Address): void {
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
    if (server === null || client.destroyed) {
      refuse(connection, client, error);
      server?.destroy();
      return;
    }
    client.off('error', onEarlyError);
    new PairRelay(client, server, connection).start();
  });
}

/** Asks the kernel who opened the connection; what it can't say any more is nobody's in particular. */
function isFromKubelet(context: ShardContext, client: net.Socket): boolean {
  const fd = fdOf(client);
  return fd >= 0 && isKubelet(native.mapLookup(context.originalDestinationMap, encodeIndex(fd)));
}

/** Resets the client, as an application's own refusal would look one moment later. */
export function refuse(connection: Connection, client: net.Socket, error: CulvertError | null): void {
  reset(client);
  connection.closed(
    error ??
      new CulvertError('CLIENT_GONE', 'the client went away before the connection was open', {
        side: 'client',
      }),
  );
}
