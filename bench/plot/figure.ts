/** A picture of some panels side by side, for light and dark pages and for those who can't see it. Pure. */
import { type Box, type Panel, panelOf } from './panel.ts';
import { element, escaped, text } from './svg.ts';

export interface Figure {
  readonly title: string;
  /** What there is to see, in a sentence or two: it is read out where the picture isn't seen. */
  readonly description: string;
  readonly panels: readonly Panel[];
  /** How many of these panels the width of a page would hold; as many as there are unless said. */
  readonly slots?: number;
  /** Room for the names of lines to the right of each panel. */
  readonly namesWidth: number;
}

const pageWidth = 880;
const height = 340;
const margin = { left: 76, top: 70, right: 16, bottom: 56 } as const;

const colours = {
  light: { ground: '#ffffff', grid: '#e5e8ec', axis: '#9aa4af', words: '#1f2328', faint: '#59636e' },
  dark: { ground: '#0d1117', grid: '#23292f', axis: '#59636e', words: '#e6edf3', faint: '#9198a1' },
} as const;
const kinds = {
  light: { plain: '#6e7781', culvert: '#0969da', joined: '#bc4c00' },
  dark: { plain: '#9198a1', culvert: '#58a6ff', joined: '#f0883e' },
} as const;

const shapes = [
  'text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}',
  '.head{font-size:15px;font-weight:600}.title{font-weight:600}.tick,.name{font-size:11px}',
  '.middle{text-anchor:middle}.end{text-anchor:end}.label{font-weight:600;font-size:11.5px}',
  'path{fill:none}.grid{stroke-width:1}.axis{stroke-width:1}.line{stroke-width:2;stroke-linejoin:round}',
  '.line.plain{stroke-dasharray:6 4}.lead{stroke-width:1;opacity:.6}.moment{stroke-width:1;stroke-dasharray:2 3}',
  '.mark{stroke-width:6;stroke-linecap:round}.dot{stroke-width:3.4;stroke-linecap:round;opacity:.75}.cross{stroke-width:1.6}',
].join('\n');

export function figureOf({ title, description, panels, slots, namesWidth }: Figure): string {
  const each = (pageWidth - margin.right) / (slots ?? panels.length);
  const width = each * panels.length + margin.right;
  const boxes: Box[] = panels.map((_, index) => ({
    left: index * each + margin.left,
    top: margin.top,
    width: each - margin.left - namesWidth,
    height: height - margin.top - margin.bottom,
  }));
  const attributes = {
    xmlns: 'http://www.w3.org/2000/svg',
    viewBox: `0 0 ${width} ${height}`,
    width: String(width),
    height: String(height),
    role: 'img',
    'aria-labelledby': 'title desc',
  };
  const svg = element(
    'svg',
    attributes,
    element('title', { id: 'title' }, escaped(title)),
    element('desc', { id: 'desc' }, escaped(description)),
    element('style', {}, style()),
    element('rect', { class: 'ground', width: '100%', height: '100%', rx: '6' }),
    text(title, { class: 'head', x: 20, y: 28 }),
    ...panels.map((panel, index) => panelOf(panel, boxes[index] ?? { left: 0, top: 0, width, height })),
  );
  return `${svg}\n`;
}

function style(): string {
  return `${shapes}\n${theme('light')}\n@media (prefers-color-scheme:dark){\n${theme('dark')}\n}`;
}

function theme(name: 'light' | 'dark'): string {
  const { ground, grid, axis, words, faint } = colours[name];
  const rules = [
    `.ground{fill:${ground}}.grid{stroke:${grid}}.axis,.moment{stroke:${axis}}text{fill:${words}}.tick,.name{fill:${faint}}`,
    ...Object.entries(kinds[name]).map(
      ([kind, colour]) => `path.${kind}{stroke:${colour}}text.${kind}{fill:${colour}}`,
    ),
  ];
  return rules.join('\n');
}
