/** One pair of axes, and what is drawn between them. Pure. */
import { apart } from './labels.ts';
import type { Axis } from './scale.ts';
import { dots, element, rounded, text, through } from './svg.ts';

/** Whose figures they are: each has a colour and a stroke of its own. */
export type Kind = 'plain' | 'culvert' | 'joined';

export interface Line {
  readonly label: string;
  readonly kind: Kind;
  readonly points: readonly (readonly [number, number])[];
  /** Marks each point. */
  readonly marked?: boolean;
}

/** Single events; those that went wrong are crosses. */
export interface Events {
  readonly label: string;
  readonly kind: Kind;
  readonly points: readonly (readonly [number, number])[];
  readonly wrong?: boolean;
}

export interface Panel {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly lines?: readonly Line[];
  readonly events?: readonly Events[];
  /** A place on the x axis that has a name. */
  readonly moment?: { readonly at: number; readonly label: string };
}

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const lineHeight = 14;
const tickRoom = 6;
const crossSize = 3.5;

/** @param box of the axes; titles, ticks and names of lines stand around it */
export function panelOf(panel: Panel, box: Box): string {
  const { lines = [], events = [] } = panel;
  const at: Placing = ([x, y]) => [
    box.left + panel.x.part(x) * box.width,
    box.top + (1 - panel.y.part(y)) * box.height,
  ];
  return element(
    'g',
    {},
    text(panel.title, { class: 'title', x: box.left, y: box.top - 14 }),
    ...grid(panel, box),
    ...momentOf(panel, box),
    ...events.map(event => eventsOf(event, at)),
    ...lines.flatMap(line => lineOf(line, at)),
    ...namesOf(lines, box, at),
    ...legendOf(events, box),
  );
}

type Placing = (point: readonly [number, number]) => [number, number];

function grid({ x, y }: Panel, box: Box): string[] {
  const bottom = box.top + box.height;
  const right = box.left + box.width;
  const horizontal = y.ticks.flatMap(tick => {
    const place = bottom - y.part(tick.at) * box.height;
    return [
      element('path', {
        class: 'grid',
        d: through([
          [box.left, place],
          [right, place],
        ]),
      }),
      ...(tick.label === ''
        ? []
        : [text(tick.label, { class: 'tick end', x: box.left - tickRoom, y: place + 4 })]),
    ];
  });
  const vertical = x.ticks.flatMap(tick => {
    const place = box.left + x.part(tick.at) * box.width;
    return [
      element('path', {
        class: 'grid',
        d: through([
          [place, box.top],
          [place, bottom],
        ]),
      }),
      text(tick.label, { class: 'tick middle', x: place, y: bottom + 16 }),
    ];
  });
  const frame = element('path', {
    class: 'axis',
    d: through([
      [box.left, box.top],
      [box.left, bottom],
      [right, bottom],
    ]),
  });
  const titles = [
    text(x.title, { class: 'name middle', x: box.left + box.width / 2, y: bottom + 36 }),
    text(y.title, {
      class: 'name middle',
      transform: `translate(${rounded(box.left - 54)} ${rounded(box.top + box.height / 2)}) rotate(-90)`,
    }),
  ];
  return [...horizontal, ...vertical, frame, ...titles];
}

function lineOf({ kind, points, marked }: Line, at: Placing): string[] {
  const placed = points.map(at);
  const line = element('path', { class: `line ${kind}`, d: through(placed) });
  return marked === true ? [line, element('path', { class: `mark ${kind}`, d: dots(placed) })] : [line];
}

/** Names at the right ends, each in the colour of its line. */
function namesOf(lines: readonly Line[], box: Box, at: Placing): string[] {
  const ends = lines.map(line => at(line.points.at(-1) ?? [0, 0]));
  const wanted = ends.map(([, y]) => y);
  const places = apart(wanted, lineHeight, [box.top, box.top + box.height]);
  return lines.flatMap(({ label, kind }, index) => {
    const [x, y] = ends[index] ?? [0, 0];
    const place = places[index] ?? y;
    const name = text(label, { class: `label ${kind}`, x: box.left + box.width + 14, y: place + 4 });
    if (Math.abs(place - y) < 2) return [name];
    const lead = through([
      [x + 3, y],
      [box.left + box.width + 11, place],
    ]);
    return [element('path', { class: `lead ${kind}`, d: lead }), name];
  });
}

function momentOf({ moment, x }: Panel, box: Box): string[] {
  if (moment === undefined) return [];
  const place = box.left + x.part(moment.at) * box.width;
  return [
    element('path', {
      class: 'moment',
      d: through([
        [place, box.top],
        [place, box.top + box.height],
      ]),
    }),
    text(moment.label, { class: 'tick', x: place + 5, y: box.top + 11 }),
  ];
}

function eventsOf({ kind, points, wrong }: Events, at: Placing): string {
  const placed = points.map(at);
  if (wrong !== true) return element('path', { class: `dot ${kind}`, d: dots(placed) });
  const cross = ([x, y]: readonly [number, number]): string =>
    `${through([
      [x - crossSize, y - crossSize],
      [x + crossSize, y + crossSize],
    ])}${through([
      [x - crossSize, y + crossSize],
      [x + crossSize, y - crossSize],
    ])}`;
  return element('path', { class: `cross ${kind}`, d: placed.map(cross).join('') });
}

/** What the dots are, in a row above them on the right. */
function legendOf(events: readonly Events[], box: Box): string[] {
  return events.flatMap(({ label, kind, wrong }, index) => {
    const y = box.top + 11 + (index + 1) * lineHeight;
    const right = box.left + box.width - 6;
    const key: readonly [number, number] = [right, y - 4];
    return [
      text(label, { class: `label end ${kind}`, x: right - 9, y }),
      eventsOf({ label, kind, points: [key], ...(wrong === true ? { wrong } : {}) }, point => [...point]),
    ];
  });
}
