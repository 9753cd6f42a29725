/**
 * Who a client is that connects to a pod of this node, where the agent knows only what it has asked for: its labels go into
 * metrics and access lines. Never into a decision, so without an answer the connection goes on without them.
 */
import { addressName } from '../model/route-needs.ts';
import type { Pod } from './pod.ts';
import type { ShardContext } from './shard-context.ts';

/** Calls `done` at once where everything is known; else when the control plane has spoken, or does not. */
export function learnSource(context: ShardContext, pod: Pod, address: string, done: () => void): void {
  const { inquiries, mesh } = context;
  if (inquiries === null) {
    done();
    return;
  }
  inquiries.learn({
    pod: pod.workloadUid,
    needs: () => {
      const { network } = context.settings;
      return mesh.workloadByAddress(network, address) === null ? [addressName(network, address)] : [];
    },
    patient: false,
    done: error => {
      if (error !== null) context.count('SOURCE_NOT_LEARNED');
      done();
    },
  });
}
