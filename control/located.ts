/**
 * An object that was read and checked, together with where it stands: what the builder works on, and how it can say
 * `shop.yaml:12` about something it only notices when all objects are known.
 */
import type { KindName, KindTypes } from '../model/kinds/registry.ts';
import { type Finding, compare, type Severity } from './finding.ts';

/** Where an object stands. Objects that come from an API server have no file and no lines. */
export interface Origin {
  readonly file: string | null;
  /** Position among the objects of the file, from 0: decides between two objects of one name. */
  readonly index: number;
  /** 1-based line of every field that is read, by field path; '' is the object itself. */
  readonly lines: ReadonlyMap<string, number>;
}

/**
 * Where an object of an API server stands: nowhere. `index` tells apart the two spellings of a kind (culvert.dev and
 * istio.io), of which the lower is in force.
 */
export function clusterOrigin(index = 0): Origin {
  return clusterOrigins[index] ?? { file: null, index, lines: noLines };
}

const noLines: ReadonlyMap<string, number> = new Map();
/** Shared, since a large cluster has hundreds of thousands of objects. */
const clusterOrigins: readonly Origin[] = [0, 1, 2].map(index => ({ file: null, index, lines: noLines }));

interface LocatedAs<Name extends KindName> {
  readonly kind: Name;
  /** Empty for cluster-scoped kinds; `default` where a namespaced object does not say. */
  readonly namespace: string;
  readonly name: string;
  readonly value: KindTypes[Name];
  readonly origin: Origin;
}

/** An object of one of the kinds `Name`, discriminated by `kind`. */
export type Located<Name extends KindName> = { [Each in Name]: LocatedAs<Each> }[Name];

export type LocatedObject = Located<KindName>;

export type FieldPath = readonly (string | number)[];

/** Writes a path the way findings show it: `spec.ports[0].name`, `metadata.labels["app.kubernetes.io/name"]`. */
export function fieldName(path: FieldPath): string {
  let name = '';
  for (const segment of path) name = childField(name, segment);
  return name;
}

/** The path of a member of what `parent` names. */
export function childField(parent: string, segment: string | number): string {
  if (typeof segment === 'number') return `${parent}[${segment}]`;
  if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(segment)) return `${parent}[${JSON.stringify(segment)}]`;
  return parent === '' ? segment : `${parent}.${segment}`;
}

/** The path that `fieldName` wrote. */
export function fieldPath(field: string): FieldPath {
  const path: (string | number)[] = [];
  for (const [, quoted, index, plain] of field.matchAll(/\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.[\]]+)/g)) {
    if (index !== undefined) path.push(Number(index));
    else path.push(plain ?? String(JSON.parse(`"${quoted ?? ''}"`)));
  }
  return path;
}

/** The line of a field, or of the nearest field around it that stands in the file (one with a default does not). */
export function lineOf(origin: Origin, field: string): number | null {
  for (let at = field; ; at = parentField(at)) {
    const line = origin.lines.get(at);
    if (line !== undefined) return line;
    if (at === '') return null;
  }
}

function parentField(field: string): string {
  if (field.endsWith('"]')) return field.slice(0, Math.max(0, field.lastIndexOf('["')));
  if (field.endsWith(']')) return field.slice(0, Math.max(0, field.lastIndexOf('[')));
  return field.slice(0, Math.max(0, field.lastIndexOf('.')));
}

/** The name of an object in findings: `Pod shop/web`, `Namespace shop`. */
export function objectName(object: Pick<LocatedObject, 'kind' | 'namespace' | 'name'>): string {
  const { kind, namespace, name } = object;
  return namespace === '' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}

/** Notes something about one field of an object ('' for the object as a whole). */
export type Report = (
  object: LocatedObject,
  severity: Severity,
  code: string,
  field: string,
  message: string,
) => void;

/** A finding about one field of an object; '' is the object as a whole. */
export function findingAt(
  object: LocatedObject,
  severity: Finding['severity'],
  code: string,
  field: string,
  message: string,
): Finding {
  return {
    severity,
    code,
    file: object.origin.file,
    line: lineOf(object.origin, field),
    field: field === '' ? null : field,
    object: objectName(object),
    message,
  };
}

/** Orders objects as they stand in the files, those without a file by name. */
export function compareLocated(a: LocatedObject, b: LocatedObject): number {
  return (
    compare(a.origin.file ?? '', b.origin.file ?? '') ||
    a.origin.index - b.origin.index ||
    compare(a.kind, b.kind) ||
    compare(a.namespace, b.namespace) ||
    compare(a.name, b.name)
  );
}
