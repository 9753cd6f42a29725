import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseFile } from '../../control/parse.ts';
import * as marks from '../../model/kinds/marks.ts';
import { meshConfigSpec } from '../../model/kinds/mesh-config.ts';
import { isKindName, kinds } from '../../model/kinds/registry.ts';

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

t.test('the examples of the documentation are what it reads', async t => {
  let examples = 0;
  for (const name of readdirSync(join(root, 'docs'))) {
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
