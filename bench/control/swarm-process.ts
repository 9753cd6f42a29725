/**
 * A process of simulated agents: opens them, and says what they have heard when it is asked (swarm.ts).
 */
import { createSecureContext } from 'node:tls';
import { resourceTypes } from '../../xds/codec.ts';
import { nodeName } from './cluster.ts';
import { Ledger } from './ledger.ts';
import { LightAgent, lightTypes } from './light-agent.ts';

export type Command =
  | {
      readonly do: 'open';
      readonly ports: readonly number[];
      readonly roots: string;
      /** Agents of the nodes from `first` to before `end`. */
      readonly first: number;
      readonly end: number;
    }
  /** Counts start anew. */
  | { readonly do: 'restart' }
  | { readonly do: 'report' }
  | { readonly do: 'times' }
  | { readonly do: 'knowledge' };

export interface SwarmReport {
  readonly agents: number;
  /** Agents that know all that their control plane knew when they were last connected. */
  readonly current: number;
  /** When the last of them came to that, since `restart`; ms since the epoch, 0 for never. */
  readonly currentAt: number;
  readonly responses: number;
  readonly bytes: number;
}

/** Name → when the last agent accepted it, since `restart`; of type `address`. */
export type SwarmTimes = readonly [name: string, at: number][];

/** Of type `address`. */
export interface SwarmKnowledge {
  /** What the first agent has. */
  readonly resources: readonly [name: string, version: string][];
  /** Agents that have something else. */
  readonly different: number;
}

const ledgers = new Map(lightTypes.map(typeUrl => [typeUrl, new Ledger()]));
let agents: LightAgent[] = [];
let currentAt = 0;

function execute(command: Command): SwarmReport | SwarmTimes | SwarmKnowledge | null {
  switch (command.do) {
    case 'open': {
      const context = createSecureContext({ ca: command.roots, minVersion: 'TLSv1.3' });
      agents = Array.from(
        { length: command.end - command.first },
        (_, at) =>
          new LightAgent({
            node: nodeName(command.first + at),
            ports: command.ports,
            context,
            ledgers,
            onCurrent: () => (currentAt = Date.now()),
          }),
      );
      return null;
    }
    case 'restart':
      for (const ledger of ledgers.values()) ledger.restart();
      for (const { counts } of agents) Object.assign(counts, { responses: 0, bytes: 0 });
      currentAt = 0;
      return null;
    case 'report':
      return {
        agents: agents.length,
        current: agents.filter(agent => agent.isCurrent).length,
        currentAt,
        responses: agents.reduce((sum, { counts }) => sum + counts.responses, 0),
        bytes: agents.reduce((sum, { counts }) => sum + counts.bytes, 0),
      };
    case 'times':
      return ledgers.get(resourceTypes.address)?.times() ?? [];
    default:
      return knowledge();
  }
}

function knowledge(): SwarmKnowledge {
  const all = agents.map(agent => agent.knownOf(resourceTypes.address));
  const first = all[0]?.copy() ?? new Uint32Array(0);
  return {
    resources: [...(all[0]?.entries() ?? [])],
    different: all.filter(known => known?.equals(first) !== true).length,
  };
}

process.on('message', (command: Command) => process.send?.(execute(command)));
process.on('disconnect', () => process.exit());
