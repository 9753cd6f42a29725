import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { dashboards } from '../../daemonset/manifests/dashboards.ts';

const documented = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');

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
        for (const metric of metrics) t.ok(documented.includes(`\`${metric}\``), `${title}: ${metric}`);
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
