/**
 * The L4 decision about a connection, made when it is opened and again whenever policy or workload changes.
 *
 * Always against the workload as it is known now, so a policy that begins to select a workload reaches connections
 * that are already open.
 */
import { CulvertError } from '../base/errors.ts';
import { admit, type Admission } from '../model/admission.ts';
import type { Decision, PolicyConnection } from '../model/policy.ts';
import type { Connection } from './connections.ts';
import { learnAdmission } from './learn-admission.ts';
import type { ShardContext } from './shard-context.ts';

const unknownWorkload: Decision = {
  allowed: false,
  policy: null,
  rule: null,
  reason: 'the destination workload is not in the configuration',
};

/** Decides for a connection to the workload `uid`. A workload that is not known any more admits nobody. */
function authorise(context: ShardContext, uid: string, connection: PolicyConnection): Admission {
  const workload = context.mesh.workload(uid);
  return workload === null ? unknownWorkload : admit(context.mesh, workload, connection);
}

/**
 * Decides about a connection to the workload `uid`, and notes the decision on it. A probe of the node's kubelet is let in
 * without policy: a STRICT workload would never become ready otherwise, and nobody but the kubelet can open one.
 */
export function judge(context: ShardContext, uid: string, connection: Connection): Admission {
  const decision = connection.exemption ?? authorise(context, uid, policyConnection(connection));
  connection.decision = decision;
  return decision;
}

/** What lets a probe in; the access line shows its reason. */
export const kubeletProbe: Decision = {
  allowed: true,
  policy: null,
  rule: null,
  reason: "kubelet probe: opened by this node's kubelet, let in without policy",
};

/** The error that an access line shows for a denied connection. */
export function denied(decision: Admission): CulvertError {
  if (decision.bypass === true) {
    return new CulvertError('WAYPOINT_BYPASSED', decision.reason, {
      side: 'client',
      fix: 'let the client be of the mesh: its agent goes to the waypoint by itself',
    });
  }
  return new CulvertError('POLICY_DENIED', decision.reason, {
    side: 'client',
    fix: 'allow this source in an AuthorizationPolicy of the destination if it should be',
  });
}

/** Judges every connection that ends in a pod of this shard again, and cuts those that are denied now. */
export function rejudge(context: ShardContext): void {
  for (const connection of context.connections.all()) {
    const uid = connection.destination.workload?.uid;
    if (connection.direction === 'outbound' || uid === undefined) continue;
    learnAdmission(context, uid, connection, () => {
      if (connection.state !== 'closed') judgeAgain(context, uid, connection);
    });
  }
}

function judgeAgain(context: ShardContext, uid: string, connection: Connection): void {
  const decision = judge(context, uid, connection);
  if (decision.allowed) return;
  const why = decision.bypass === true ? 'the workload has a waypoint now' : 'closed by a changed policy';
  const error = new CulvertError('POLICY_CHANGED', `${why}: ${decision.reason}`, { side: 'client' });
  context.count(error.code);
  connection.cut(error);
  connection.closed(error);
}

/** What policy may look at. */
function policyConnection(connection: Connection): PolicyConnection {
  return {
    sourceIdentity: connection.source.identity,
    sourceIp: connection.source.address,
    destinationIp: connection.destination.address,
    destinationPort: connection.destination.port,
  };
}
