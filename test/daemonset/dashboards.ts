import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import t from 'tap';
import { controlMetrics } from '../../control/control-metrics.ts';
import { dashboards } from '../../daemonset/manifests/dashboards.ts';

/** The agent's from the page that lists them, the control plane's from what it registers. */
const page = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
const registry = new Registry();
controlMetrics(registry);
const known = new Set([
  ...[...page.matchAll(/`([a-z_]+)`/g)].map(([, name = '']) => name),
  ...registry.getMetricsAsArray().map(({ name }) => name),
]);

interface Content {
  readonly panels: readonly {
    readonly title: string;
    readonly gridPos: { readonly x: number; readonly y: number };
    readonly targets: readonly { readonly refId: string; readonly expr: string }[];
  }[];
}

for (const { name, content } of dashboards()) {
  t.test(`${name} asks for metrics that exist`, async t => {
    const { panels } = JSON.parse(content) as Content;
    for (const { title, targets } of panels) {
      for (const { expr } of targets) {
        const metrics = expr.match(/\b(istio|culvert|workload_manager|process|nodejs)_[a-z_]+/g) ?? [];
        t.ok(metrics.length > 0, title);
        for (const metric of metrics) t.ok(known.has(metric.replace(/_bucket$/, '')), `${title}: ${metric}`);
        t.equal(expr.split('(').length, expr.split(')').length, `${title}: brackets`);
        t.equal(expr.split('{').length, expr.split('}').length, `${title}: braces`);
      }
      t.equal(
        new Set(targets.map(({ refId }) => refId)).size,
        targets.length,
        `${title}: queries have names`,
      );
    }
    const places = panels.map(({ gridPos }) => `${gridPos.x},${gridPos.y}`);
    t.equal(new Set(places).size, panels.length, 'no panel hides another');
  });
}
