import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import t from 'tap';
import { controlMetrics } from '../../control/control-metrics.ts';

const root = join(import.meta.dirname, '../..');

t.test('every metric of the serving side is in the documentation', async t => {
  const registry = new Registry();
  controlMetrics(registry);
  const text = readFileSync(join(root, 'docs/metrics.md'), 'utf8');
  const metrics = await registry.getMetricsAsJSON();
  t.ok(metrics.length > 15);
  for (const { name } of metrics) t.ok(text.includes(`\`${name}\``), name);
});

t.test('every error code of the serving side is in the documentation', async t => {
  const page = readFileSync(join(root, 'docs/errors.md'), 'utf8');
  const files = readdirSync(join(root, 'control')).filter(name => name.endsWith('.ts'));
  const text = files.map(name => readFileSync(join(root, 'control', name), 'utf8')).join('\n');
  const codes = new Set(
    Array.from(
      // Names of environment variables are none.
      text.matchAll(
        /(?<!name: |fromField\()'((?:ADS|AUTHENTICATION|CALL|NODE|CONTROL|CERTIFICATE|AUTHORITY)_[A-Z_]+)'/g,
      ),
      ([, code = '']) => code,
    ),
  );
  t.ok(codes.size > 15, `${codes.size} codes`);
  for (const code of codes) {
    const [area = '', ...rest] = code.split('_');
    const inList = page.includes(`\`${area}_*\``) && page.includes(`\`${rest.join('_')}\``);
    t.ok(page.includes(`\`${code}\``) || inList, code);
  }
});
