/**
 * Writes a manifest with holes as the text of a Helm template: YAML in which `{{ … }}` stands where the holes are.
 */
import { stringify } from 'yaml';
import { type Json, type Template, isHole, isList, isRecord, valueAt, type Hole } from './template.ts';

const step = 2;

/**
 * One document, with the separator before it.
 * @param defaults the values of values.yaml; their types decide how a value is written
 */
export function helmDocument(template: Template, defaults: Json): string {
  if (isHole(template) && template.hole === 'when')
    return `${open(template.path)}${helmDocument(template.content, defaults)}{{- end }}\n`;
  return `---\n${new Writer(defaults).block(template, 0)}`;
}

/** `{{ if }}` on a line of its own, which leaves no empty line behind. */
function open(path: string): string {
  return `{{- if .Values.${path} }}\n`;
}

class Writer {
  readonly #defaults: Json;

  constructor(defaults: Json) {
    this.#defaults = defaults;
  }

  /** Lines of a list or of members of an object, each indented. */
  block(template: Template, indent: number): string {
    if (isList(template)) return template.map(item => this.#item(item, indent)).join('');
    if (typeof template !== 'object' || template === null || isHole(template))
      throw new Error('only lists and objects have lines of their own');
    return Object.entries(template)
      .map(([name, member]) => this.#member(name, member, indent))
      .join('');
  }

  #member(name: string, member: Template, indent: number): string {
    const space = ' '.repeat(indent);
    if (isHole(member) && member.hole === 'when')
      return `${space}${open(member.path)}${this.#member(name, member.content, indent)}${space}{{- end }}\n`;
    // The items of a list are not indented further: the shorter form, which Kubernetes' own documents have.
    const inner = isList(member) ? indent : indent + step;
    return `${space}${scalar(name)}:${this.#after(member, indent, inner)}`;
  }

  #item(item: Template, indent: number): string {
    const space = ' '.repeat(indent);
    if (isHole(item) && item.hole === 'when')
      return `${space}${open(item.path)}${this.#item(item.content, indent)}${space}{{- end }}\n`;
    if (isHole(item) && item.hole === 'each')
      return `${space}{{- range .Values.${item.path} }}\n${space}- {{ . | quote }}\n${space}{{- end }}\n`;
    if (isHole(item) || isPlain(item) || isEmpty(item))
      return `${space}-${this.#after(item, indent, indent + step)}`;
    const lines = this.block(item, indent + step);
    // A list item begins on the line of its dash, unless that line is a condition.
    return /^\s*\{\{/.test(lines) ? `${space}-\n${lines}` : `${space}- ${lines.slice(indent + step)}`;
  }

  /** What comes after `name:` or `-`, with the end of the line. */
  #after(template: Template, indent: number, inner: number): string {
    if (isHole(template)) return this.#hole(template, indent);
    if (isEmpty(template)) return ` ${isList(template) ? '[]' : '{}'}\n`;
    if (isPlain(template)) return ` ${multiline(template, indent + step) ?? scalar(template)}\n`;
    return `\n${this.block(template, inner)}`;
  }

  #hole(hole: Hole, indent: number): string {
    switch (hole.hole) {
      case 'value':
        return this.#value(hole.path, indent);
      case 'namespace':
        return ' {{ .Release.Namespace }}\n';
      case 'extended': {
        const more = `{{- with .Values.${hole.path} }}\n{{- toYaml . | nindent ${indent + step} }}\n`;
        const space = ' '.repeat(indent + step);
        return `\n${this.block(hole.base, indent + step)}${space}${more.replace('\n', `\n${space}`)}${space}{{- end }}\n`;
      }
      case 'folder':
        return ` {{ dir .Values.${hole.path} | quote }}\n`;
      case 'text': {
        const format = hole.strings.map(string => string.replaceAll('%', '%%')).join('%v');
        const parts = hole.parts.map(part =>
          part.hole === 'namespace' ? '.Release.Namespace' : `.Values.${part.path}`,
        );
        return ` {{ printf ${JSON.stringify(format)} ${parts.join(' ')} | quote }}\n`;
      }
      default:
        throw new Error(`${hole.hole} ${hole.path} does not stand for one value`);
    }
  }

  #value(path: string, indent: number): string {
    const reference = `.Values.${path}`;
    const standard = valueAt(this.#defaults, path);
    if (isList(standard) || isRecord(standard))
      return ` {{- toYaml ${reference} | nindent ${indent + step} }}\n`;
    // Helm reads numbers as floating point and would write large ones with an exponent.
    if (typeof standard === 'number') return ` {{ int64 ${reference} }}\n`;
    return typeof standard === 'string' ? ` {{ ${reference} | quote }}\n` : ` {{ ${reference} }}\n`;
  }
}

function isPlain(template: Template): template is null | boolean | number | string {
  return typeof template !== 'object' || template === null;
}

function isEmpty(template: Template): boolean {
  return !isPlain(template) && !isHole(template) && Object.keys(template).length === 0;
}

/** A literal string of several lines, as a block; null where it is none. */
function multiline(plain: null | boolean | number | string, indent: number): string | null {
  if (typeof plain !== 'string' || !plain.includes('\n') || plain.startsWith(' ')) return null;
  const space = ' '.repeat(indent);
  const lines = literal(plain.replace(/\n$/, '')).split('\n');
  const chomp = plain.endsWith('\n') ? '|' : '|-';
  return `${chomp}\n${lines.map(line => (line === '' ? '' : `${space}${line}`)).join('\n')}`;
}

function scalar(plain: null | boolean | number | string): string {
  return literal(stringify(plain, { lineWidth: 0, singleQuote: true }).trimEnd());
}

/** Text that Helm must not take for its own, such as Prometheus' `{{ label }}` in a dashboard. */
function literal(plain: string): string {
  return plain.replaceAll('{{', '{{ "{{" }}');
}
