import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { described } from '../../daemonset/values-page.ts';
import { generated, outdated, write } from '../../daemonset/generate.ts';
import { defaultValues, valuesSchema } from '../../daemonset/values.ts';

const checkout = join(import.meta.dirname, '../..');

t.test('the files are what the manifests and values say', async t => {
  t.same(outdated(checkout), [], 'run `make gen`');
});

t.test('files that are missing, edited or left over are found and put right', async t => {
  const directory = t.testdir({ daemonset: { helm: { templates: { 'old.yaml': 'x' } }, 'own.ts': 'x' } });
  t.equal(outdated(directory).length, generated().size + 1);
  write(directory);
  t.same(outdated(directory), []);
  t.equal(readFileSync(join(directory, 'daemonset/own.ts'), 'utf8'), 'x');
  writeFileSync(join(directory, 'daemonset/helm/values.yaml'), 'a: 1\n');
  t.same(outdated(directory), ['daemonset/helm/values.yaml']);
});

t.test('every value is described, and on the page', async t => {
  const page = generated().get('docs/chart-values.md') ?? '';
  t.same(
    described().filter(({ description }) => description === ''),
    [],
  );
  for (const { path } of described()) t.match(page, `\`${path}\``);
});

t.test('values.yaml holds the defaults, and they fit the schema', async t => {
  t.strictSame(parse(generated().get('daemonset/helm/values.yaml') ?? ''), defaultValues);
  t.ok(valuesSchema.safeParse(defaultValues).success);
  for (const wrong of [
    { ...defaultValues, agents: {} },
    { ...defaultValues, logLevel: 'loud' },
    { ...defaultValues, mesh: { trustDomian: 'x' } },
    { ...defaultValues, node: { ...defaultValues.node, cgroupRoot: 'sys/fs/cgroup/' } },
  ])
    t.notOk(valuesSchema.safeParse(wrong).success, JSON.stringify(wrong).slice(0, 60));
});
