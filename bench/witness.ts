/**
 * Proves that what was measured went the way its row says: a run that fell back to plain TCP would look splendid.
 */
import { CulvertError } from '../base/errors.ts';
import type { AgentProcess } from '../test/lab/agent-process.ts';
import { eventually } from '../test/lab/eventually.ts';

/** How connections of a path must have been carried. */
export type Carriage = 'tunnel' | 'tunnel, joined legs' | 'kernel' | 'short circuit';

export interface Count {
  readonly all: number;
  readonly tunnelled: number;
  /** Set up by the kernel alone, both ways. */
  readonly kernel: number;
  /** Joined beside the client. */
  readonly legs: number;
}

/** Connections that the agent beside the client has opened so far. */
export async function countOf(agent: AgentProcess): Promise<Count> {
  const metric = 'istio_tcp_connections_opened_total';
  const tunnelled = { reporter: 'source', connection_security_policy: 'mutual_tls' };
  return {
    all: await agent.metric(metric, { reporter: 'source' }),
    tunnelled: await agent.metric(metric, tunnelled),
    kernel: await agent.metric('culvert_redirect_decisions_total', { decision: 'path_accepted' }),
    legs: await agent.metric('culvert_redirect_decisions_total', { decision: 'leg_joined' }),
  };
}

/** Throws BENCH_VOID unless at least so many connections were carried as they should since `before`. */
export async function witness(
  agent: AgentProcess,
  before: Count,
  carriage: Carriage,
  connections: number,
): Promise<void> {
  const seen = async (): Promise<number> => {
    const now = await countOf(agent);
    const tunnelled = now.tunnelled - before.tunnelled;
    const kernel = now.kernel - before.kernel;
    if (carriage === 'kernel') return kernel;
    if (carriage === 'tunnel, joined legs') return Math.min(tunnelled, now.legs - before.legs);
    return carriage === 'tunnel' ? tunnelled : now.all - before.all - tunnelled - kernel;
  };
  // Shards report to the main thread now and then.
  const enough = await eventually(async () => (await seen()) >= connections, { timeoutMs: 5_000 }).catch(
    () => false,
  );
  if (enough) return;
  throw new CulvertError(
    'BENCH_VOID',
    `${connections} connections were made but only ${await seen()} went by ${carriage}`,
    {
      fix: 'the agent let them pass; look at its log and access log',
    },
  );
}
