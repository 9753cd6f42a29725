import t from 'tap';
import { IncrementalBuilder } from '../../control/build-incremental.ts';
import { configured, objectsOf } from '../help/configuration.ts';

interface Entry {
  readonly name?: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly created?: string;
  readonly status?: unknown;
  readonly spec?: Readonly<Record<string, unknown>>;
}

function entry(hosts: readonly string[], given: Entry = {}): string {
  const { name = 'x', namespace = 'shop', labels = {}, created, status, spec = {} } = given;
  const metadata = { name, namespace, labels, creationTimestamp: created };
  const ports = [{ number: 443, name: 'tls' }];
  const kind = { apiVersion: 'networking.istio.io/v1', kind: 'ServiceEntry' };
  return `${JSON.stringify({ ...kind, metadata, spec: { hosts, ports, resolution: 'DNS', ...spec }, status })}\n---\n`;
}

function addresses(text: string): Record<string, readonly string[]> {
  return Object.fromEntries(
    configured(text).mesh.services.map(({ namespace, hostname, addresses: all }) => [
      `${namespace}/${hostname}`,
      all.map(({ address }) => address),
    ]),
  );
}

t.test('each host gets an address of both families, always the same', async t => {
  const one = addresses(entry(['api.example', 'Other.example']));
  for (const host of ['shop/api.example', 'shop/other.example']) {
    const [v4 = '', v6 = ''] = one[host] ?? [];
    const [, high, low] = /^240\.240\.(\d+)\.(\d+)$/.exec(v4) ?? [];
    const number = (Number(high) * 256 + Number(low)).toString(16);
    t.equal(v6, `2001:2::f0f0:${number}`);
  }
  t.not(one['shop/api.example']?.[0], one['shop/other.example']?.[0]);
  const two = addresses(entry(['zoo.example'], { name: 'a' }) + entry(['other.example', 'api.example']));
  t.same(two['shop/api.example'], one['shop/api.example'], 'whatever else there is');
  const bank = addresses(entry(['api.example'], { namespace: 'bank' }));
  t.not(
    bank['bank/api.example']?.[0],
    one['shop/api.example']?.[0],
    'a name of another namespace is another',
  );
});

t.test('who has or wants none gets none', async t => {
  const given = entry(['a.example'], { spec: { addresses: ['192.0.2.1'] } });
  t.same(addresses(given), { 'shop/a.example': ['192.0.2.1'] });
  t.same(addresses(entry(['a.example'], { spec: { resolution: 'NONE' } })), { 'shop/a.example': [] });
  t.same(addresses(entry(['*.a.example'])), { 'shop/*.a.example': [] });
  for (const prefix of ['culvert.dev', 'networking.istio.io']) {
    const labels = { [`${prefix}/enable-autoallocate-ip`]: 'false' };
    t.same(addresses(entry(['a.example'], { labels })), { 'shop/a.example': [] });
  }
});

t.test('what stands in a status holds; of two the older has it', async t => {
  const status = (value: string) => ({ addresses: [{ host: 'a.example', value }], conditions: [{}] });
  const told = { status: status('240.240.7.9') };
  t.same(addresses(entry(['a.example'], told)), { 'shop/a.example': ['240.240.7.9', '2001:2::f0f0:709'] });
  const young = { ...told, created: '2026-11-28T09:00:00Z', namespace: 'a' };
  const old = { ...told, created: '2026-11-28T08:00:00Z', namespace: 'b' };
  const both = addresses(entry(['a.example'], young) + entry(['a.example'], old));
  t.same(both['b/a.example']?.[0], '240.240.7.9');
  t.match(both['a/a.example']?.[0], /^240\.240\./);
  t.not(both['a/a.example']?.[0], '240.240.7.9');
  for (const odd of ['10.0.0.1', '240.240.0.0', '240.240.255.255', '240.240.1.300', 'x'])
    t.same(addresses(entry(['a.example'], { status: status(odd) })), addresses(entry(['a.example'])), odd);
  t.same(addresses(entry(['a.example'], { status: 'odd' })), addresses(entry(['a.example'])));
});

t.test('of thousands each has its own, and a change finds whom it is about', async t => {
  const texts = Array.from({ length: 20 }, (_, n) =>
    entry(
      Array.from({ length: 250 }, (_, host) => `h${host}.e${n}.example`),
      { name: `e${n}` },
    ),
  );
  const whole = addresses(texts.join(''));
  const all = Object.values(whole).flat();
  t.equal(all.length, 10_000);
  t.equal(new Set(all).size, 10_000);

  const builder = new IncrementalBuilder();
  for (const text of texts.toReversed()) builder.apply({ set: objectsOf(text), removed: [] });
  const now = Object.fromEntries(
    builder
      .mesh()
      .services.map(({ namespace, hostname, addresses: its }) => [
        `${namespace}/${hostname}`,
        its.map(({ address }) => address),
      ]),
  );
  t.same(now, whole, 'in whatever order they come');
  t.same(
    builder.allocated('shop', 'e3').map(({ value }) => value),
    Object.entries(whole)
      .filter(([key]) => key.endsWith('.e3.example'))
      .sort(([a], [b]) => Number(/h(\d+)/.exec(a)?.[1]) - Number(/h(\d+)/.exec(b)?.[1]))
      .flatMap(([, its]) => its),
  );
});
