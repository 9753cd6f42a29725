/** The ways through the mesh that are measured, each beside the same way without it. */
import type { MeasureName, PathName } from './options.ts';
import type { AgentSetting, Pair, Stage } from './stage.ts';
import type { Carriage } from './witness.ts';

export interface Path {
  readonly direct: Pair;
  readonly culvert: Pair;
  /** Null: no agent is part of it. */
  readonly agents: AgentSetting | null;
  readonly carriage: Carriage;
  /** Whether a waypoint stands between. */
  readonly waypoint?: boolean;
  /** What is worth measuring on it. */
  readonly measures: readonly MeasureName[];
}

const compared: readonly MeasureName[] = ['rtt', 'stream', 'connect', 'http', 'connects'];
/** What the plots show. */
const curves: readonly MeasureName[] = ['distribution', 'payload', 'connections'];

export function pathsOf(stage: Stage): Readonly<Record<Exclude<PathName, '2-cpus'>, Path>> {
  const { meshed, plain } = stage;
  const pinned = { shards: 1, cpus: stage.cpus, kernelPath: 'direct' as const };
  const far = { direct: plain.far, culvert: meshed.far, carriage: 'tunnel' as const };
  const joined: Path = {
    direct: { ...plain.near, waits: false },
    culvert: { ...meshed.near, waits: false },
    agents: { ...pinned, kernelPath: 'join' },
    carriage: 'kernel',
    measures: [...compared, ...curves],
  };
  return {
    'no-mesh': { ...far, culvert: plain.far, agents: null, measures: compared },
    'same-node': {
      direct: plain.near,
      culvert: meshed.near,
      agents: pinned,
      carriage: 'kernel',
      measures: [...compared, ...curves],
    },
    'same-node-service': {
      direct: plain.near,
      culvert: { ...meshed.near, service: 'near' },
      agents: pinned,
      carriage: 'kernel',
      measures: ['connect', 'connects'],
    },
    'same-node-join': joined,
    'same-node-join-all-cpus': { ...joined, measures: compared },
    'same-node-agent': {
      direct: plain.near,
      culvert: meshed.near,
      agents: { ...pinned, kernelPath: 'off' },
      carriage: 'short circuit',
      measures: [...compared, 'memory', 'soak'],
    },
    'cross-node': { ...far, agents: pinned, measures: [...compared, ...curves, 'memory', 'soak'] },
    'cross-node-join': {
      ...far,
      direct: { ...plain.far, waits: false },
      culvert: { ...meshed.far, waits: false },
      agents: { ...pinned, kernelPath: 'join' },
      carriage: 'tunnel, joined legs',
      // What moves much at a time, or little, has no joined legs.
      measures: ['rtt', 'http', 'distribution', 'connections'],
    },
    waypoint: {
      ...far,
      culvert: { ...meshed.far, service: 'routed' },
      agents: pinned,
      waypoint: true,
      measures: ['http', 'paced'],
    },
    'cross-node-bridge': {
      ...far,
      direct: plain.bridged,
      culvert: meshed.bridged,
      agents: pinned,
      measures: compared,
    },
  };
}
