/** The plots that README and docs/performance.md show, drawn from the results of a run. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CurveName, PathName } from './options.ts';
import { type Figure, figureOf } from './plot/figure.ts';
import type { Kind, Line, Panel } from './plot/panel.ts';
import {
  type Axis,
  linearAxis,
  linearTicks,
  logarithmicAxis,
  logarithmicDomain,
  logarithmicTicks,
  ninesAxis,
} from './plot/scale.ts';
import { shownSeconds } from './restarts.ts';
import type { Curve, Results, Timeline } from './results.ts';
import { figures as count } from './table.ts';

/** Draws each plot that there are figures for, and returns the files. */
export function drawPlots(results: Results, directory: string): string[] {
  mkdirSync(directory, { recursive: true });
  return Object.entries(figures).flatMap(([name, of]) => {
    const figure = of(results);
    if (figure === null) return [];
    const path = join(directory, `${name}.svg`);
    writeFileSync(path, figureOf(figure));
    return [path];
  });
}

/** By name of the file; null where nothing was measured for it. */
const figures: Readonly<Record<string, (results: Results) => Figure | null>> = {
  latency: ({ curves }) => {
    const axes = (lines: readonly Line[]): Axes => ({
      x: ninesAxis(
        'percent of round trips, the fastest first',
        99.9,
        [50, 90, 99, 99.9].map(at => ({ at, label: `${at} %` })),
      ),
      y: logarithmic('µs', heights(lines), count, [1, 2, 5]),
    });
    return beside(curves, 'distribution', axes, {
      title: 'How long a round trip of 64 bytes takes',
      description:
        'Percentiles from the median to 99.9 per cent, on one node and between two nodes, without a mesh and with Culvert.',
    });
  },
  payload: ({ curves }) => {
    const axes = (lines: readonly Line[]): Axes => ({
      x: logarithmicAxis(
        'bytes of each write',
        [64, 2 ** 20],
        [64, 2 ** 10, 2 ** 14, 2 ** 18].map(at => ({ at, label: bytes(at) })),
      ),
      y: logarithmic('Gbit/s', heights(lines), count, [1]),
    });
    return beside(curves, 'payload', axes, {
      title: 'What one stream carries, by the size of its writes',
      description:
        'Throughput of one connection from writes of 64 bytes to 1 megabyte, on one node and between two nodes, without a mesh and with Culvert.',
    });
  },
  connections: ({ curves }) => {
    const axes = (lines: readonly Line[]): Axes => {
      const thousands = linearTicks(Math.max(...heights(lines)), value =>
        value === 0 ? '0' : `${value / 1_000}k`,
      );
      return {
        x: logarithmicAxis(
          'connections',
          [1, 1_000],
          [1, 10, 100, 1_000].map(at => ({ at, label: count(at) })),
        ),
        y: linearAxis('requests a second', [0, thousands.at(-1)?.at ?? 1], thousands),
      };
    };
    return beside(curves, 'connections', axes, {
      title: 'What HTTP costs, by the number of connections',
      description:
        'Requests a second that one processor shared by client, server and agents gets done over 1 to 1000 connections, on one node and between two nodes, without a mesh and with Culvert.',
    });
  },
  memory: ({ curves }) => {
    const lines = [lineOf(curves, 'memory', 'cross-node', 'culvert', 'both agents', 'culvert')].flat();
    const most = lines[0]?.points.at(-1)?.[0];
    if (most === undefined) return null;
    const megabytes = linearTicks(Math.max(...heights(lines)), String);
    const thousands = linearTicks(most, count, 3);
    return {
      title: 'Memory, by idle connections',
      description:
        'Resident memory of both agents together while so many tunnelled connections are open and idle.',
      slots: 2,
      namesWidth: 92,
      panels: [
        {
          title: 'two nodes',
          x: linearAxis('idle connections', [0, thousands.at(-1)?.at ?? most], thousands),
          y: linearAxis('MB resident', [0, megabytes.at(-1)?.at ?? 1], megabytes),
          lines: lines.map(line => ({ ...line, marked: true })),
        },
      ],
    };
  },
  restarts: ({ timelines }) => {
    if (timelines.length === 0) return null;
    return {
      title: 'New connections while an agent is replaced, and killed',
      description:
        'How long each of 50 connections a second took to be answered, to a pod of the same node and to one of another, from two seconds before to four seconds after.',
      namesWidth: 6,
      panels: [
        restartPanel(timelines, 'replaced', 'a new version takes over'),
        restartPanel(timelines, 'killed', 'kill -9, and the keeper starts another'),
      ],
    };
  },
};

type Axes = Pick<Panel, 'x' | 'y'>;

/** One node on the left, two on the right; both with axes for the lines of both, so that they can be compared. */
function beside(
  curves: readonly Curve[],
  name: CurveName,
  axes: (lines: readonly Line[]) => Axes,
  words: Pick<Figure, 'title' | 'description'>,
): Figure | null {
  const near = [
    lineOf(curves, name, 'same-node', 'direct', 'no mesh', 'plain'),
    lineOf(curves, name, 'same-node', 'culvert', 'Culvert', 'culvert'),
    lineOf(curves, name, 'same-node-join', 'culvert', 'Culvert, joined', 'joined'),
  ].flat();
  const far = [
    lineOf(curves, name, 'cross-node', 'direct', 'no mesh', 'plain'),
    lineOf(curves, name, 'cross-node', 'culvert', 'Culvert', 'culvert'),
    lineOf(curves, name, 'cross-node-join', 'culvert', 'Culvert, joined', 'joined'),
  ].flat();
  if (near.length + far.length === 0) return null;
  const panel = (title: string, lines: readonly Line[]) => ({
    title,
    ...axes([...near, ...far]),
    lines: lines.map(line => ({ ...line, marked: name !== 'distribution' })),
  });
  const shown = [panel('both pods on one node', near), panel('two nodes', far)];
  return {
    ...words,
    namesWidth: 108,
    slots: shown.length,
    panels: shown.filter(({ lines }) => lines.length > 0),
  };
}

/** As a list that is empty where it was not measured. */
function lineOf(
  curves: readonly Curve[],
  name: CurveName,
  path: PathName,
  system: 'direct' | 'culvert',
  label: string,
  kind: Kind,
): Line[] {
  const found = curves.find(curve => curve.curve === name && curve.path === path);
  const points = (found?.points ?? []).flatMap(point => {
    const value = point[system];
    return value === null ? [] : [[point.at, value] as const];
  });
  return points.length === 0 ? [] : [{ label, kind, points }];
}

function restartPanel(timelines: readonly Timeline[], event: Timeline['event'], title: string): Panel {
  const of = (path: PathName) =>
    timelines.find(timeline => timeline.event === event && timeline.path === path);
  const points = ({ begunMs, tookMs }: Timeline['answered']): [number, number][] =>
    begunMs.map((begun, index) => [begun / 1_000, Math.max(leastMs, tookMs[index] ?? 0)]);
  const flows = [
    { path: 'same-node', label: 'same node', kind: 'culvert' },
    { path: 'cross-node', label: 'other node', kind: 'joined' },
  ] as const;
  const events = flows.flatMap(({ path, label, kind }) => {
    const timeline = of(path);
    if (timeline === undefined) return [];
    const { answered, failed } = timeline;
    const answers = {
      label: `${label}: ${answered.begunMs.length} answered`,
      kind,
      points: points(answered),
    };
    if (failed.begunMs.length === 0) return [answers];
    const failures = {
      label: `${label}: ${failed.begunMs.length} failed`,
      kind,
      points: points(failed),
      wrong: true,
    };
    return [answers, failures];
  });
  const seconds = Array.from(
    { length: shownSeconds.before + shownSeconds.after + 1 },
    (_, index) => index - shownSeconds.before,
  );
  return {
    title,
    x: linearAxis(
      'seconds after it happened',
      [-shownSeconds.before, shownSeconds.after],
      seconds.map(at => ({ at, label: String(at).replace('-', '−') })),
    ),
    y: logarithmicAxis(
      'until it was answered',
      [leastMs, 10_000],
      logarithmicTicks([leastMs, 10_000], duration),
    ),
    events,
    moment: { at: 0, label: event },
  };
}

/** Nothing is drawn faster. */
const leastMs = 0.1;

function heights(lines: readonly Line[]): number[] {
  return lines.flatMap(({ points }) => points.map(([, y]) => y));
}

function logarithmic(
  title: string,
  values: readonly number[],
  label: (value: number) => string,
  steps: readonly number[],
): Axis {
  const domain = logarithmicDomain(values, steps);
  return logarithmicAxis(title, domain, logarithmicTicks(domain, label, steps));
}

function bytes(size: number): string {
  if (size < 2 ** 10) return `${size} B`;
  return size < 2 ** 20 ? `${size / 2 ** 10} kB` : `${size / 2 ** 20} MB`;
}

function duration(milliseconds: number): string {
  return milliseconds < 1_000 ? `${milliseconds} ms` : `${milliseconds / 1_000} s`;
}
