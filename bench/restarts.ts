/**
 * What new connections notice of an agent that is replaced, and of one that is killed: each of them, with the time that it
 * took, on the kernel path of one node and through the tunnel to the other.
 *
 * One of each; `make soak-restarts` does it hundreds of times and counts. Nothing is pinned: nodes have more than one CPU.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AgentLab } from '../test/help/agent-lab.ts';
import { Steady, type SteadyResult } from '../test/help/steady.ts';
import type { PathName } from './options.ts';
import type { Timeline } from './results.ts';

/** What of it is looked at, before and after the event. */
export const shownSeconds = { before: 2, after: 4 } as const;
/** Between two connections of one flow. */
const everyMs = 20;
const port = 8080;
const client = 'node-a';
const flows = { 'same-node': 'near', 'cross-node': 'far' } as const satisfies Partial<
  Record<PathName, string>
>;

export async function restarts(): Promise<Timeline[]> {
  await using stage = await AgentLab.create({
    name: 'bench-restarts',
    pods: ['client', ...Object.values(flows)].map(name => ({
      name,
      namespace: 'bank',
      node: name === 'far' ? 'node-b' : client,
    })),
  });
  for (const name of Object.values(flows)) await (await stage.sockets(name)).serve('::', port);
  return [
    ...(await around(stage, 'replaced', async () => {
      await stage.replaceAgent(client);
    })),
    ...(await around(stage, 'killed', () => stage.crashAgent(client))),
  ];
}

async function around(
  stage: AgentLab,
  event: Timeline['event'],
  happen: () => Promise<void>,
): Promise<Timeline[]> {
  const from = stage.pod('client');
  const talking = await Promise.all(
    Object.entries(flows).map(async ([path, name]) => ({
      path: path as keyof typeof flows,
      steady: await Steady.start(from, stage.pod(name).address, port, { everyMs, each: true }),
    })),
  );
  await delay(shownSeconds.before * 1_000);
  const at = Date.now();
  await happen();
  await delay(Math.max(0, at + shownSeconds.after * 1_000 - Date.now()));
  return Promise.all(
    talking.map(async ({ path, steady }) => timelineOf(event, path, await steady.end(), at)),
  );
}

/** @param at when it happened, in milliseconds as `Date.now()` has them */
export function timelineOf(
  event: Timeline['event'],
  path: PathName,
  { each = [] }: Pick<SteadyResult, 'each'>,
  at: number,
): Timeline {
  const shown = each
    .map(([begun, tookMs, why]) => ({ begunMs: Math.round(begun * 1_000 - at), tookMs, why }))
    .filter(
      ({ begunMs }) => begunMs >= -shownSeconds.before * 1_000 && begunMs <= shownSeconds.after * 1_000,
    );
  const columns = (of: typeof shown) => ({
    begunMs: of.map(({ begunMs }) => begunMs),
    tookMs: of.map(({ tookMs }) => tookMs),
  });
  return {
    event,
    path,
    answered: columns(shown.filter(({ why }) => why === null)),
    failed: columns(shown.filter(({ why }) => why !== null)),
  };
}
