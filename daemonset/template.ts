/**
 * Manifests with holes: objects as the API server takes them, in which some places stand for a value of the chart.
 *
 * One tree gives both ways to install. Rendered with values it is what Kustomize and `culvert install` apply; written by
 * helm-template.ts it is the text of a Helm template, with `.Values` where the holes are.
 */

/** Anything that JSON has. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export type Template =
  | null
  | boolean
  | number
  | string
  | Hole
  | readonly Template[]
  | { readonly [name: string]: Template };

/** What stands for a value. `path` is where it is in values.yaml, such as `agent.resources`. */
export type Hole = Value | Namespace | Text | When | Each | Extended | Folder;

interface Value {
  readonly hole: 'value';
  readonly path: string;
}

/** The namespace into which everything is installed. */
interface Namespace {
  readonly hole: 'namespace';
}

/** A string with values in it. */
interface Text {
  readonly hole: 'text';
  readonly strings: readonly string[];
  readonly parts: readonly (Value | Namespace)[];
}

/** `content`, where the value is neither false, zero nor empty; otherwise the member or item is left out. */
interface When {
  readonly hole: 'when';
  readonly path: string;
  readonly content: Template;
}

/** As an item of a list: each string of the list at `path`. */
interface Each {
  readonly hole: 'each';
  readonly path: string;
}

/** As a member: `base` and beside it what the object at `path` has. */
interface Extended {
  readonly hole: 'extended';
  readonly base: { readonly [name: string]: string };
  readonly path: string;
}

/** The folder of the file whose path the value is. */
interface Folder {
  readonly hole: 'folder';
  readonly path: string;
}

export function value(path: string): Value {
  return { hole: 'value', path };
}

export const namespace: Namespace = { hole: 'namespace' };

export function text(strings: TemplateStringsArray, ...parts: readonly (Value | Namespace)[]): Text {
  return { hole: 'text', strings, parts };
}

export function when(path: string, content: Template): When {
  return { hole: 'when', path, content };
}

export function each(path: string): Each {
  return { hole: 'each', path };
}

export function extended(base: { readonly [name: string]: string }, path: string): Extended {
  return { hole: 'extended', base, path };
}

export function folderOf(path: string): Folder {
  return { hole: 'folder', path };
}

export function isHole(template: Template): template is Hole {
  return typeof template === 'object' && template !== null && 'hole' in template;
}

/** What holes are filled with. */
export interface Filling {
  readonly namespace: string;
  readonly values: Json;
}

/** The tree with its holes filled; undefined where a condition leaves out the whole. */
export function render(template: Template, filling: Filling): Json | undefined {
  if (isHole(template)) return fill(template, filling);
  if (isList(template)) return template.flatMap(item => renderItem(item, filling));
  if (typeof template !== 'object' || template === null) return template;
  const members = Object.entries(template).flatMap(([name, member]) => {
    const rendered = render(member, filling);
    return rendered === undefined ? [] : [[name, rendered] as const];
  });
  return Object.fromEntries(members);
}

function renderItem(item: Template, filling: Filling): Json[] {
  if (isHole(item) && item.hole === 'each') return [...(valueAt(filling.values, item.path) as Json[])];
  const rendered = render(item, filling);
  return rendered === undefined ? [] : [rendered];
}

function fill(hole: Hole, filling: Filling): Json | undefined {
  switch (hole.hole) {
    case 'value':
      return valueAt(filling.values, hole.path);
    case 'namespace':
      return filling.namespace;
    case 'text':
      return hole.strings.map((string, at) => string + filledPart(hole.parts[at], filling)).join('');
    case 'when':
      return isSet(valueAt(filling.values, hole.path)) ? render(hole.content, filling) : undefined;
    case 'extended':
      return { ...hole.base, ...(valueAt(filling.values, hole.path) as Record<string, Json>) };
    case 'folder':
      return textAt(filling.values, hole.path).replace(/\/[^/]*$/, '');
    default:
      throw new Error(`${hole.path}: the items of a list can only be put into a list`);
  }
}

/** Of a text; there is one part less than there are strings. */
function filledPart(part: Value | Namespace | undefined, filling: Filling): string {
  if (part === undefined) return '';
  return part.hole === 'namespace' ? filling.namespace : textAt(filling.values, part.path);
}

function textAt(values: Json, path: string): string {
  const found = valueAt(values, path);
  if (isRecord(found) || isList(found) || found === null) throw new Error(`${path} cannot be part of a text`);
  return String(found);
}

/** The value at a path such as `agent.resources`. Throws where there is none: a fault of ours, not of the user. */
export function valueAt(values: Json, path: string): Json {
  let found: Json | undefined = values;
  for (const name of path.split('.')) {
    found = isRecord(found) ? found[name] : undefined;
    if (found === undefined) throw new Error(`values have no ${path}`);
  }
  return found;
}

/** As Helm's `if` judges it. */
function isSet(found: Json): boolean {
  if (isList(found)) return found.length > 0;
  if (isRecord(found)) return Object.keys(found).length > 0;
  return Boolean(found);
}

export function isRecord(found: Json | undefined): found is { readonly [name: string]: Json } {
  return typeof found === 'object' && found !== null && !isList(found);
}

/** Array.isArray does not narrow readonly arrays. */
export function isList(found: Template | undefined): found is readonly Template[] {
  return Array.isArray(found);
}
