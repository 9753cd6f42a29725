/** Elements of SVG as text. Numbers are rounded, so that the same figures give the same file. */

export type Attributes = Readonly<Record<string, string | number>>;

/** An element around others, which are text already. */
export function element(name: string, attributes: Attributes, ...inner: readonly string[]): string {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${attribute(value)}"`);
  const open = `<${name}${written.join('')}`;
  if (inner.length === 0) return `${open}/>`;
  const isText = inner.length === 1 && !inner[0]?.startsWith('<');
  return isText ? `${open}>${inner[0]}</${name}>` : `${open}>\n${inner.join('\n')}\n</${name}>`;
}

/** Text, with what would be markup written otherwise. */
export function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

export function text(words: string, attributes: Attributes): string {
  return element('text', attributes, escaped(words));
}

/** A tenth of a pixel is as much as anybody sees. */
export function rounded(value: number): string {
  const fixed = value.toFixed(1).replace(/\.0$/, '');
  return fixed === '-0' ? '0' : fixed;
}

/** A line through all of them, for `d` of a path. */
export function through(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], at) => `${at === 0 ? 'M' : 'L'}${rounded(x)} ${rounded(y)}`).join('');
}

/** Dots of a path whose ends are round: much shorter than as many circles. */
export function dots(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y]) => `M${rounded(x)} ${rounded(y)}h0`).join('');
}

function attribute(value: string | number): string {
  return typeof value === 'number' ? rounded(value) : escaped(value);
}
