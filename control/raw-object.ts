/** An object as it was written, before anybody knows what it is, and how it is said what is wrong with it. */
import { type KindName, isKindName, kinds } from '../model/kinds/registry.ts';
import type { Finding, Severity } from './finding.ts';
import { type FieldPath, fieldName, objectName } from './located.ts';

/** Where the fields of a document stand: YamlLines for a file. */
export interface FieldLines {
  /** The line of the member at `path`, or of the nearest thing around it; null where there are no lines. */
  at(path: FieldPath): number | null;
  /** The lines of everything `value` has, by field name, where `value` was read at `base`. */
  fieldsOf(value: unknown, base: FieldPath, intern: (name: string) => string): ReadonlyMap<string, number>;
}

/** An object as it was written, and where. */
export interface RawObject {
  readonly value: Record<string, unknown>;
  /** Null for objects of an API server. */
  readonly file: string | null;
  readonly index: number;
  readonly lines: FieldLines;
  /** Where in the document it stands: empty, or `items` and a number in a List. */
  readonly base: FieldPath;
  readonly intern: (name: string) => string;
}

/** Says what is wrong at a path of the object. */
export interface Reporter {
  (severity: Severity, code: string, path: FieldPath, message: string): void;
  readonly findings: Finding[];
}

export function reporter(raw: RawObject): Reporter {
  const findings: Finding[] = [];
  const object = rawName(raw.value);
  const report = (severity: Severity, code: string, path: FieldPath, message: string): void => {
    const line = raw.lines.at([...raw.base, ...path]);
    const field = path.length === 0 ? null : fieldName(path);
    findings.push({ severity, code, file: raw.file, line, field, object, message });
  };
  return Object.assign(report, { findings });
}

/** What an object calls itself, as far as it does. */
function rawName(value: Record<string, unknown>): string | null {
  const { kind, metadata } = value;
  if (typeof kind !== 'string') return null;
  const { name, namespace } = (typeof metadata === 'object' && metadata !== null ? metadata : {}) as Record<
    string,
    unknown
  >;
  if (typeof name !== 'string') return kind;
  const scope = isKindName(kind) && !kinds[kind].namespaced ? '' : 'default';
  return objectName({
    kind: kind as KindName,
    namespace: typeof namespace === 'string' && scope !== '' ? namespace : scope,
    name,
  });
}
