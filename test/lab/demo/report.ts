/**
 * How the demo speaks: numbered sections, rows of a name and what was seen, and tables. Plain text in columns.
 *
 * What should have been seen and was not stands there in capitals, and is counted. A terminal gets its headings in bold;
 * a file or a pipe gets nothing but text.
 */
import { table } from '../../../cli/table.ts';

const width = 120;
const margin = '  ';
const labelWidth = 17;

export class Report {
  readonly #write: (text: string) => void;
  readonly #bold: boolean;
  #sections = 0;
  #surprises = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#write = text => void out.write(text);
    this.#bold = out.isTTY && !process.env['NO_COLOR'];
  }

  /** How often something else was seen than expected. */
  get surprises(): number {
    return this.#surprises;
  }

  /** Says which of the two it was. The second is a surprise: it is counted and loud. */
  expect(holds: boolean, expected: string, otherwise: string): string {
    if (holds) return expected;
    this.#surprises += 1;
    return `UNEXPECTED: ${otherwise}`;
  }

  line(text = ''): void {
    this.#write(`${text}\n`);
  }

  /** Begins a part of the report that is counted. */
  section(title: string): void {
    this.#sections += 1;
    this.heading(`${this.#sections}. ${title}`);
  }

  heading(text: string): void {
    this.line();
    this.line(this.#bold ? `\u001B[1m${text}\u001B[0m` : text);
  }

  /** A fact and its name; a long one goes on below where it began. */
  row(label: string, text: string): void {
    const [first = '', ...rest] = wrapped(text, width - margin.length - labelWidth);
    this.line(margin + label.padEnd(labelWidth) + first);
    for (const line of rest) this.line(margin + ' '.repeat(labelWidth) + line);
  }

  /** Lines below a row, as they are. */
  below(...lines: readonly string[]): void {
    for (const line of lines) this.line(margin + ' '.repeat(labelWidth) + line);
  }

  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    for (const line of table(head, rows).trimEnd().split('\n')) this.line(margin + line);
  }
}

/** 12345 → 12,345 */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** "1 packet", "2 packets" */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;
}

export function milliseconds(value: number): string {
  return value < 10 ? `${value.toFixed(1)} ms` : `${grouped(value)} ms`;
}

function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
