/** The values of an installation from what a user wrote: a file, then `--set path=value`, over the defaults. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { CulvertError, describeError } from '../base/errors.ts';
import { type Json, isRecord } from '../daemonset/template.ts';
import { defaultValues, valuesSchema, type Values } from '../daemonset/values.ts';

/**
 * What differs from the defaults, which is also what an upgrade keeps: new defaults reach whoever said nothing about them.
 * @param before changes that are there already
 * @param file path of a YAML file, as for Helm
 * @param settings each `agent.resources.limits.memory=2Gi`
 */
export function changesOf(before: Json, file: string | null, settings: readonly string[]): Json {
  return [file === null ? {} : fileValues(file), ...settings.map(setting)].reduce(merge, before);
}

/** All values, with those changes. Throws BAD_USAGE with a line for each problem. */
export function valuesOf(changes: Json): Values {
  const merged = withoutNulls(merge(defaultValues as Json, changes));
  const { success, error } = valuesSchema.safeParse(merged);
  if (success) return merged as Values;
  const problems = error.issues.map(({ path, message }) => `${path.join('.') || 'values'}: ${message}`);
  throw new CulvertError('BAD_USAGE', problems.join('\n         '), {
    fix: 'docs/chart-values.md has every value',
  });
}

function fileValues(path: string): Json {
  let content: unknown;
  try {
    content = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new CulvertError('BAD_USAGE', `--values ${path}: ${describeError(error)}`);
  }
  if (content === null) return {};
  if (isRecord(content as Json)) return content as Json;
  throw new CulvertError('BAD_USAGE', `--values ${path}: not an object of values`);
}

/** As an object with one member; the value is read as YAML, so that `2`, `true` and `[a, b]` are what they look like. */
function setting(text: string): Json {
  const at = text.indexOf('=');
  if (at < 1) throw new CulvertError('BAD_USAGE', `--set ${text}: path=value is needed`);
  let value: Json;
  try {
    value = parse(text.slice(at + 1)) as Json;
  } catch (error) {
    throw new CulvertError('BAD_USAGE', `--set ${text}: ${describeError(error)}`);
  }
  // A backslash keeps a dot in a name, as in `control.annotations.a\.b=c`.
  const names = text.slice(0, at).split(/(?<!\\)\./);
  return names.reduceRight<Json>((inner, name) => ({ [name.replaceAll('\\.', '.')]: inner }), value);
}

/** Objects member by member, everything else as a whole. */
function merge(base: Json, change: Json): Json {
  if (!isRecord(base) || !isRecord(change)) return change;
  const merged = Object.entries(change).map(([name, value]) => [name, merge(base[name] ?? null, value)]);
  return { ...base, ...(Object.fromEntries(merged) as Record<string, Json>) };
}

/** Null takes away what a default has, as for Helm. */
function withoutNulls(value: Json): Json {
  if (!isRecord(value)) return value;
  const members = Object.entries(value).filter(([, member]) => member !== null);
  return Object.fromEntries(members.map(([name, member]) => [name, withoutNulls(member)]));
}
