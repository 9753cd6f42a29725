/**
 * One object of a file or of an API server against the kinds the mesh reads: finds the schema, names every problem with
 * its line, and returns the typed object when there is none that refuses it.
 */
import { isForWaypoints, translateAuthorizationPolicy } from '../model/authorization-policy.ts';
import { translateHttpPolicy } from '../model/http-policy-translation.ts';
import {
  type Kind,
  type KindName,
  type KindTypes,
  irrelevantKinds,
  isKindName,
  kinds,
  meshGroups,
} from '../model/kinds/registry.ts';
import { explain } from './explain.ts';
import { reportMarks } from './check-marks.ts';
import type { Finding } from './finding.ts';
import { type FieldPath, type LocatedObject, fieldName, fieldPath } from './located.ts';
import { type RawObject, type Reporter, reporter } from './raw-object.ts';
import { suggestion } from './spelling.ts';

export interface Checked {
  /** Null when the object is refused, or is of a kind that is not read. */
  readonly object: LocatedObject | null;
  readonly findings: readonly Finding[];
}

/** Checks one object. Nothing is changed but nulls, which Kubernetes takes for absent: they are removed from `raw`. */
export function check(raw: RawObject): Checked {
  const { kind, apiVersion } = raw.value;
  const report = reporter(raw);
  for (const field of ['apiVersion', 'kind']) {
    const value = raw.value[field] ?? undefined;
    if (typeof value === 'string' && value !== '') continue;
    if (value === undefined)
      report('error', 'missing-field', [field], `missing field ${field}: not a Kubernetes object`);
    else report('error', 'wrong-type', [field], `${field} must be text`);
  }
  if (typeof kind !== 'string' || typeof apiVersion !== 'string' || report.findings.length > 0) {
    return { object: null, findings: report.findings };
  }
  if (!isKindName(kind) || !kinds[kind].apiVersions.includes(apiVersion)) {
    reportUnread(report, kind, apiVersion);
    return { object: null, findings: report.findings };
  }
  return { object: checkKind(raw, kind, report), findings: report.findings };
}

function checkKind(raw: RawObject, name: KindName, report: Reporter): LocatedObject | null {
  const kind: Kind<KindName> = kinds[name];
  dropNulls(raw.value, [], path => {
    if (!kind.own || path[0] !== 'spec') return;
    const field = fieldName(path);
    report(
      'error',
      'empty-value',
      path,
      `${field} has no value: give it one (an empty list is []) or remove it`,
    );
  });
  let result = kind.schema.safeParse(raw.value);
  let refused = report.findings.length > 0;
  if (!result.success) {
    for (const { code, path, message } of explain(result.error.issues, kind.schema, raw.value)) {
      const severity = code === 'unknown-field' && !kind.own ? 'warning' : 'error';
      refused ||= severity === 'error';
      report(severity, code, path, message);
      if (severity === 'warning') removeAt(raw.value, path);
    }
    if (!refused) result = kind.schema.safeParse(raw.value);
  }
  if (refused || !result.success) return null;

  const value = result.data;
  const { metadata } = value;
  if (!kind.namespaced && metadata.namespace !== undefined) {
    const path = ['metadata', 'namespace'];
    report(
      'warning',
      'unexpected-namespace',
      path,
      `a ${name} is in no namespace: metadata.namespace is ignored`,
    );
  }
  reportMarks(report, metadata.labels, metadata.annotations);
  if (name === 'AuthorizationPolicy' && !isMeaningful(value as KindTypes['AuthorizationPolicy'], report))
    return null;
  const object = {
    kind: name,
    namespace: kind.namespaced ? (metadata.namespace ?? 'default') : '',
    name: metadata.name,
    value,
    origin: {
      file: raw.file,
      index: raw.index,
      lines: raw.lines.fieldsOf(value, raw.base, raw.intern),
    },
  };
  // `kind` and `value` belong together by the table; a union of generic members is beyond what the compiler follows.
  return object as unknown as LocatedObject;
}

/**
 * Whether a policy of the right shape also makes sense: keys of conditions that exist, clauses that name something.
 * What only this version can not enforce is no reason to refuse it; the builder reports that.
 */
function isMeaningful({ metadata, spec }: KindTypes['AuthorizationPolicy'], report: Reporter): boolean {
  const { name, annotations } = metadata;
  const input = { name, namespace: metadata.namespace ?? 'default', rootNamespace: '', annotations, spec };
  const { findings } = isForWaypoints(spec)
    ? translateHttpPolicy({ ...input, targets: [] })
    : translateAuthorizationPolicy(input);
  const problems = findings.filter(
    ({ severity, code }) => severity === 'error' && code !== 'unsupported-value',
  );
  for (const { code, field, message } of problems) report('error', code, fieldPath(field), message);
  return problems.length === 0;
}

/** Says why an object of this kind is passed over. What belongs to a mesh is never passed over lightly. */
function reportUnread(report: Reporter, kind: string, apiVersion: string): void {
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  const known = isKindName(kind) ? kinds[kind].apiVersions : [];
  const sameGroup = known.some(version => version.startsWith(`${group}/`));
  const what = `${apiVersion} ${kind}`;
  if (group !== '' && sameGroup) {
    report(
      'error',
      'unknown-version',
      ['apiVersion'],
      `${what} is not a version that is read: ${known.join(', ')}`,
    );
  } else if (group === 'culvert.dev') {
    const hint = suggestion(kind, Object.keys(kinds));
    report('error', 'unknown-kind', ['kind'], `there is no kind ${what}${hint}`);
  } else if (meshGroups.includes(group)) {
    const hint = suggestion(kind, Object.keys(kinds));
    report(
      'warning',
      'unsupported-kind',
      ['kind'],
      `${what} has no effect: this version does not read it${hint}`,
    );
  } else if (known.length > 0) {
    const message = `${what} is ignored: ${kind} is read as ${known.join(', ')}`;
    report('warning', 'unknown-kind', ['apiVersion'], message);
  } else if (irrelevantKinds.has(kind)) {
    report('info', 'kind-not-read', ['kind'], `${kind} is not read: the mesh does not depend on it`);
  } else {
    const hint = suggestion(kind, Object.keys(kinds));
    report('warning', 'unknown-kind', ['kind'], `${what} is ignored: unknown kind${hint}`);
  }
}

function dropNulls(value: unknown, path: FieldPath, onNull: (path: FieldPath) => void): void {
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) dropNulls(item, [...path, index], onNull);
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    if (member !== null) dropNulls(member, [...path, key], onNull);
    else {
      delete (value as Record<string, unknown>)[key];
      onNull([...path, key]);
    }
  }
}

function removeAt(value: unknown, path: FieldPath): void {
  let at = value;
  for (const [depth, segment] of path.entries()) {
    if (typeof at !== 'object' || at === null) return;
    const members = at as Record<string | number, unknown>;
    if (depth === path.length - 1) delete members[segment];
    else at = members[segment];
  }
}
