import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as z from 'zod';
import * as marks from '../../model/kinds/marks.ts';
import { meshConfigSpec } from '../../model/kinds/mesh-config.ts';
import { isKindName, kinds } from '../../model/kinds/registry.ts';
import { parseFile } from '../help/configuration.ts';

const root = join(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/yaml.md'), 'utf8');

/** The codes in calls that make findings: the first word with a dash in quotes after the call has begun. */
function codesIn(folder: string, calls: RegExp): string[] {
  const files = readdirSync(join(root, folder)).filter(name => name.endsWith('.ts'));
  const text = files.map(name => readFileSync(join(root, folder, name), 'utf8')).join('\n');
  return [...text.matchAll(calls)].map(([, code]) => code ?? '');
}

t.test('every code of a finding is in the documentation', async t => {
  const codes = new Set([
    ...codesIn(
      'control',
      /\b(?:report|warn|refuse|problem|keptFinding)\([^;]*?'([a-z0-9]+(?:-[a-z0-9]+)+)'/gs,
    ),
    ...codesIn('control', /code: '([a-z0-9]+(?:-[a-z0-9]+)+)'/g),
    ...codesIn('model', /#?(?:report|shadowed|findings\.push)\([^;]*?'([a-z0-9]+(?:-[a-z0-9]+)+)'/gs),
  ]);
  t.ok(codes.size > 30, `${codes.size} codes`);
  for (const code of codes) t.ok(page.includes(`\`${code}\``), code);
});

t.test('every kind, setting, label and annotation is in the documentation', async t => {
  for (const [name, { apiVersions }] of Object.entries(kinds)) {
    t.match(page, new RegExp(`## .*\\b${name}\\b`), name);
    for (const version of apiVersions) t.ok(page.includes(version), version);
  }
  for (const setting of Object.keys(meshConfigSpec.shape)) t.ok(page.includes(`\`${setting}\``), setting);
  for (const names of Object.values(marks)) {
    if (typeof names === 'function') continue;
    for (const name of [names].flat()) t.ok(page.includes(name), name);
  }
});

/** Names of all fields of a schema below `spec`, as JSON Schema has them. */
function fieldsOf(schema: z.ZodType): Set<string> {
  const names = new Set<string>();
  const walk = (node: unknown, isWhole: boolean): void => {
    if (typeof node !== 'object' || node === null) return;
    const { properties = {}, items, additionalProperties, ...more } = node as Record<string, unknown>;
    for (const [name, value] of Object.entries(properties as Record<string, unknown>)) {
      if (isWhole && name !== 'spec') continue;
      names.add(name);
      walk(value, false);
    }
    for (const below of [items, additionalProperties]) walk(below, isWhole);
    for (const kind of ['anyOf', 'oneOf', 'allOf'])
      for (const one of (more[kind] as unknown[] | undefined) ?? []) walk(one, isWhole);
  };
  walk(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }), true);
  return names;
}

t.test('every field of every kind of a mesh is in the documentation', async t => {
  const pages = readdirSync(join(root, 'docs')).filter(name => name.endsWith('.md'));
  const all = pages.map(name => readFileSync(join(root, 'docs', name), 'utf8')).join('\n');
  let fields = 0;
  for (const [kind, { own, schema }] of Object.entries(kinds)) {
    for (const field of own ? fieldsOf(schema) : []) {
      fields += 1;
      // What has a `not…` beside it is described once.
      const [, positive = ''] = /^not([A-Z]\w*)$/.exec(field) ?? [];
      const names = [field, positive.charAt(0).toLowerCase() + positive.slice(1)].filter(name => name !== '');
      const isNamed = names.some(name => new RegExp(`\\b${name}\\b`).test(all));
      if (!isNamed) t.fail(`${kind}: ${field}`);
    }
  }
  t.ok(fields > 300, `${fields} fields`);
});

t.test('the examples of the documentation are what it reads', async t => {
  let examples = 0;
  for (const name of readdirSync(join(root, 'docs')).filter(page => page.endsWith('.md'))) {
    const text = readFileSync(join(root, 'docs', name), 'utf8');
    for (const [, yaml = ''] of text.matchAll(/```yaml\n(.*?)```/gs)) {
      // Values of the chart are YAML too.
      if (!/\bapiVersion\b/.test(yaml)) continue;
      const { refused, findings, objects } = parseFile(yaml, name);
      t.notOk(refused, `${name}: ${findings.map(({ message }) => message).join()}`);
      t.ok(objects.every(({ kind }) => isKindName(kind)));
      examples += 1;
    }
  }
  t.ok(examples > 0);
});
