/**
 * From what zod says about a value to what a person can act on: which field, what is expected, what stands there.
 */
import type * as z from 'zod';
import type { FieldPath } from './located.ts';
import { fieldName } from './located.ts';
import { suggestion } from './spelling.ts';

/** One problem of one field. */
export interface Problem {
  readonly code: 'missing-field' | 'unknown-field' | 'wrong-type' | 'invalid-value';
  readonly path: FieldPath;
  readonly message: string;
}

/** The problems behind the issues of a failed parse of `raw` by `schema`. */
export function explain(
  issues: readonly z.core.$ZodIssue[],
  schema: z.core.$ZodType,
  raw: unknown,
): Problem[] {
  return issues.flatMap(issue => explainIssue(issue, [], schema, raw));
}

function explainIssue(
  issue: z.core.$ZodIssue,
  base: FieldPath,
  schema: z.core.$ZodType,
  raw: unknown,
): Problem[] {
  const path = [...base, ...issue.path.map(segment => (typeof segment === 'symbol' ? '' : segment))];
  const field = fieldName(path);
  const value = valueAt(raw, path);
  const invalid = (message: string): Problem[] => [
    { code: 'invalid-value', path, message: `${field} ${message}` },
  ];
  const quoted = (message: string): Problem[] => [
    { code: 'invalid-value', path, message: `${field} is ${show(value)}: ${message}` },
  ];

  const rule = (message: string): Problem[] => [
    { code: 'invalid-value', path, message: `${field}: ${message}` },
  ];

  if (issue.code === 'unrecognized_keys') {
    const known = memberNames(schema, path);
    return issue.keys.map(key => ({
      code: 'unknown-field',
      path: [...path, key],
      message: `unknown field ${fieldName([...path, key])}${suggestion(key, known)}`,
    }));
  }
  if (value === undefined && issue.code !== 'custom' && issue.code !== 'invalid_key') {
    return [{ code: 'missing-field', path, message: `missing field ${field}` }];
  }
  switch (issue.code) {
    case 'invalid_type':
      return [
        {
          code: 'wrong-type',
          path,
          message: `${field} must be ${typeName(issue.expected)}, not ${show(value)}${typeHint(issue.expected, value)}`,
        },
      ];
    case 'invalid_value': {
      const known = issue.values.map(String);
      const meant = typeof value === 'string' ? suggestion(value, known) : '';
      return invalid(
        `must be ${known.length === 1 ? '' : 'one of '}${known.join(', ')}, not ${show(value)}${meant}`,
      );
    }
    case 'too_big':
      return invalid(
        `must be at most ${issue.maximum}${unitOf(issue.origin)}, ${sizeOf(issue.origin, value)}`,
      );
    case 'too_small':
      return invalid(
        `must be at least ${issue.minimum}${unitOf(issue.origin)}, ${sizeOf(issue.origin, value)}`,
      );
    case 'invalid_union': {
      const nested = issue.errors
        .flat()
        .find(inner => inner.code !== 'invalid_type' && inner.code !== 'invalid_value');
      if (nested !== undefined) return explainIssue(nested, path, schema, raw);
      return [{ code: 'wrong-type', path, message: `${field} can not be ${show(value)}` }];
    }
    case 'invalid_key':
      return invalid(`is not a valid key: ${issue.issues[0]?.message ?? issue.message}`);
    default:
      return typeof value === 'string' ? quoted(issue.message) : rule(issue.message);
  }
}

/** The names a map at `path` may have, from the schema; none where it takes any. */
function memberNames(schema: z.core.$ZodType, path: FieldPath): readonly string[] {
  let at = unwrap(schema);
  for (const segment of path) {
    const def = defOf(at);
    if (def.type === 'object') at = unwrap((def as z.core.$ZodObjectDef).shape[String(segment)] ?? at);
    else if (def.type === 'array') at = unwrap((def as z.core.$ZodArrayDef).element);
    else if (def.type === 'record') at = unwrap((def as z.core.$ZodRecordDef).valueType);
  }
  const def = defOf(at);
  return def.type === 'object' ? Object.keys((def as z.core.$ZodObjectDef).shape) : [];
}

/** What a schema checks first, without optional, default and transform around it. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  const def = defOf(schema);
  if (def.type === 'pipe') return unwrap((def as z.core.$ZodPipeDef).in);
  if (def.type === 'optional' || def.type === 'default' || def.type === 'prefault') {
    return unwrap((def as z.core.$ZodOptionalDef).innerType);
  }
  return schema;
}

function defOf(schema: z.core.$ZodType): z.core.$ZodTypeDef {
  return (schema as z.ZodType).def;
}

function valueAt(raw: unknown, path: FieldPath): unknown {
  let value = raw;
  for (const segment of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, segment)) return undefined;
    value = (value as Record<string | number, unknown>)[segment];
  }
  return value;
}

const typeNames = new Map([
  ['string', 'text'],
  ['int', 'a whole number'],
  ['number', 'a whole number'],
  ['boolean', 'true or false'],
  ['object', 'a map'],
  ['record', 'a map'],
  ['array', 'a list'],
]);

function typeName(expected: string): string {
  return typeNames.get(expected) ?? expected;
}

function typeHint(expected: string, value: unknown): string {
  const isScalar = typeof value === 'number' || typeof value === 'boolean';
  if (expected === 'string' && isScalar) return ': put it in quotes';
  if (typeof value !== 'string' || value.trim() === '') return '';
  const wantsNumber = expected === 'number' || expected === 'int';
  const fits = wantsNumber
    ? Number.isInteger(Number(value))
    : expected === 'boolean' && /^(true|false)$/.test(value);
  return fits ? ': remove the quotes' : '';
}

function unitOf(origin: string): string {
  if (origin === 'array') return ' entries';
  return origin === 'string' ? ' characters' : '';
}

function sizeOf(origin: string, value: unknown): string {
  if (origin === 'array' && Array.isArray(value)) return `not ${value.length}`;
  if (origin === 'string' && typeof value === 'string') return `not ${value.length}`;
  return `not ${show(value)}`;
}

function show(value: unknown): string {
  if (value === null) return 'empty';
  if (typeof value === 'object') return Array.isArray(value) ? 'a list' : 'a map';
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
