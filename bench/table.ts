/** Lines up cells in columns: text to the left, numbers to the right. */

export interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
}

const gap = '  ';

export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ title }, at) =>
    Math.max(title.length, ...rows.map(row => (row[at] ?? '').length)),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align }, at) =>
        align === 'left'
          ? (cells[at] ?? '').padEnd(widths[at] ?? 0)
          : (cells[at] ?? '').padStart(widths[at] ?? 0),
      )
      .join(gap)
      .trimEnd();
  return [
    line(columns.map(column => column.title)),
    line(widths.map(width => '─'.repeat(width))),
    ...rows.map(line),
  ].join('\n');
}

/** Three figures: 0.0123, 4.56, 78.9, 1 230. */
export function figures(value: number | null): string {
  if (value === null) return '–';
  if (!Number.isFinite(value)) return String(value);
  const rounded = Number(value.toPrecision(3));
  if (Math.abs(rounded) < 1_000) return String(rounded);
  return rounded.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ' ');
}
