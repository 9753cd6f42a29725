/** Every example of YAML in docs/ is what somebody may apply: the builder has nothing to say about it. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { build } from '../../control/build.ts';
import { formatFinding } from '../../control/finding.ts';
import type { LocatedObject } from '../../control/located.ts';
import { objectsOf, parseFile } from '../help/configuration.ts';

/** Services so far: each has an address of its own. */
let made = 0;

const docs = join(import.meta.dirname, '../../docs');
const world = objectsOf({
  'world.yaml': readFileSync(join(import.meta.dirname, 'documentation-world.yaml'), 'utf8'),
  'services.yaml': [
    ...['web', 'web-v1', 'web-v2', 'search', 'cart', 'cart-v1', 'cart-v2'].map(name =>
      service('shop', name, 80),
    ),
    ...['api', 'api-v1', 'api-v2'].map(name => service('shop', name, 9000, 'grpc')),
    ...['db', 'db-old', 'db-new'].map(name => service('shop', name, 5432, 'tcp')),
    ...['mail', 'imap'].map(name => service('shop', name, 993, 'tls')),
    service('shop', 'bank', 443, 'https'),
    service('infra', 'ratelimit', 8081, 'grpc'),
    service('security', 'opa', 9191, 'grpc'),
    service('security', 'oauth2-proxy', 4180),
    service('observability', 'otel-collector', 4318),
  ].join(''),
});

/** All have the two pods of web, whatever they are called: what is behind them is not what examples are about. */
function service(namespace: string, name: string, port: number, portName = 'http'): string {
  const selector = namespace === 'shop' ? { app: 'web' } : {};
  const object = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { clusterIP: `10.97.0.${++made}`, selector, ports: [{ name: portName, port }] },
  };
  return `${JSON.stringify(object)}\n---\n`;
}

function nameOf({ kind, namespace, name }: LocatedObject): string {
  return `${kind} ${namespace}/${name}`;
}

for (const page of readdirSync(docs).filter(name => name.endsWith('.md'))) {
  const text = readFileSync(join(docs, page), 'utf8');
  const blocks = [...text.matchAll(/```yaml\n(.*?)```/gs)].filter(([, yaml = '']) =>
    /\bapiVersion\b/.test(yaml),
  );
  for (const { 1: yaml = '', index } of blocks) {
    const line = text.slice(0, index).split('\n').length + 1;
    t.test(`${page}, line ${line}`, async t => {
      const parsed = parseFile(yaml, page);
      // Roles and the like stand beside what the mesh reads.
      const problems = parsed.findings.filter(({ code }) => code !== 'kind-not-read');
      t.strictSame(problems.map(formatFinding), []);
      const own = new Set(parsed.objects.map(nameOf));
      const objects = [...world.filter(object => !own.has(nameOf(object))), ...parsed.objects];
      const said = build(objects).findings.filter(({ file }) => file === page);
      t.strictSame(said.map(formatFinding), []);
    });
  }
}

t.test('the world that they are about is a good one', async t => {
  t.strictSame(
    build(world)
      .findings.filter(({ severity }) => severity !== 'info')
      .map(formatFinding),
    [],
  );
});
