/**
 * The objects of a configuration, sorted, without doubles and by kind: what the parts of the builder look things up in.
 */
import type { KindName } from '../model/kinds/registry.ts';
import type { Severity } from './finding.ts';
import { type Located, type LocatedObject, compareLocated, objectName } from './located.ts';

/** Notes something about one field of an object ('' for the object as a whole). */
export type Report = (
  object: LocatedObject,
  severity: Severity,
  code: string,
  field: string,
  message: string,
) => void;

export interface Objects {
  /** Every object of a kind, in the order of the files. */
  all<Name extends KindName>(kind: Name): readonly Located<Name>[];
  /** The object of a name, null when there is none. Cluster-scoped kinds have the namespace ''. */
  get<Name extends KindName>(kind: Name, namespace: string, name: string): Located<Name> | null;
}

/** Of two objects of one kind and name the first in file order is in force; the other is reported and left out. */
export function indexObjects(objects: readonly LocatedObject[], report: Report): Objects {
  const byKind = new Map<KindName, Map<string, LocatedObject>>();
  for (const object of objects.toSorted(compareLocated)) {
    let named = byKind.get(object.kind);
    if (named === undefined) byKind.set(object.kind, (named = new Map()));
    const key = `${object.namespace}/${object.name}`;
    const first = named.get(key);
    if (first === undefined) {
      named.set(key, object);
      continue;
    }
    const { file, lines } = first.origin;
    const place = file === null ? '' : `, as ${file}:${lines.get('') ?? 1} says`;
    report(
      object,
      'error',
      'duplicate-object',
      '',
      `${objectName(object)} exists already: the first is in force${place}`,
    );
  }
  // A map holds only objects of its own kind; the compiler can not see the connection between key and value.
  return {
    all: <Name extends KindName>(kind: Name) =>
      [...(byKind.get(kind)?.values() ?? [])] as unknown as Located<Name>[],
    get: <Name extends KindName>(kind: Name, namespace: string, name: string) =>
      (byKind.get(kind)?.get(`${namespace}/${name}`) ?? null) as unknown as Located<Name> | null,
  };
}
