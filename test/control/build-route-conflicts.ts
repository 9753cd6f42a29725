/** Routes of several kinds bound to one port of a Service: one kind is in force, and the others are told. */
import t from 'tap';
import { IncrementalBuilder } from '../../control/build-incremental.ts';
import { configured, objectsOf } from '../help/configuration.ts';

const services = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.96.0.10, ports: [{ port: 80 }, { port: 81 }] }
---
apiVersion: v1
kind: Service
metadata: { name: api, namespace: shop }
spec: { clusterIP: 10.96.0.11, ports: [{ port: 80 }] }
---
`;

function route(
  kind: string,
  name: string,
  port: number | null = null,
  namespace = 'shop',
  parent = 'web',
): string {
  const parentRef = {
    group: '',
    kind: 'Service',
    name: parent,
    namespace: 'shop',
    ...(port === null ? {} : { port }),
  };
  const version = kind === 'TCPRoute' ? 'v1alpha2' : 'v1';
  const rules = [{ backendRefs: [{ name: 'api', namespace: 'shop', port: 80 }] }];
  return `${JSON.stringify({
    apiVersion: `gateway.networking.k8s.io/${version}`,
    kind,
    metadata: { name, namespace },
    spec: { parentRefs: [parentRef], rules },
  })}\n---\n`;
}

function virtual(...hosts: readonly string[]): string {
  const spec = { hosts, http: [{ route: [{ destination: { host: 'api' } }] }] };
  const metadata = { name: 'v', namespace: 'shop' };
  return `${JSON.stringify({ apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', metadata, spec })}\n---\n`;
}

function said(text: string): string[] {
  return configured(services + text)
    .findings.filter(({ code }) => code === 'route-conflict')
    .map(({ severity, object, field, message }) => `${severity} ${object} ${field}: ${message}`);
}

const lost = (where: string, by: string): string =>
  `not in force for shop/web.shop.svc.cluster.local${where}: ${by} is bound to it too, and its kind comes first`;

t.test('one kind is in force, and the others are told', async t => {
  const all = route('HTTPRoute', 'h') + route('GRPCRoute', 'g') + route('TCPRoute', 't');
  t.strictSame(said(all), [
    `error HTTPRoute shop/h spec.parentRefs[0]: ${lost('', 'GRPCRoute shop/g')}`,
    `error TCPRoute shop/t spec.parentRefs[0]: ${lost('', 'GRPCRoute shop/g')}`,
  ]);
  t.strictSame(said(route('HTTPRoute', 'a') + route('HTTPRoute', 'b')), [], 'one kind adds up');
});

t.test('at one of its ports', async t => {
  t.strictSame(said(route('HTTPRoute', 'h') + route('GRPCRoute', 'g', 81)), [
    `warning HTTPRoute shop/h spec.parentRefs[0]: ${lost(' at port 81', 'GRPCRoute shop/g')}`,
  ]);
  t.strictSame(said(route('HTTPRoute', 'h', 80) + route('GRPCRoute', 'g', 81)), []);
});

t.test('for the clients of one namespace', async t => {
  t.strictSame(said(route('HTTPRoute', 'h', null, 'bank') + route('GRPCRoute', 'g')), []);
  t.match(said(route('HTTPRoute', 'h', null, 'bank') + route('GRPCRoute', 'g', null, 'bank')), [
    /^error HTTPRoute bank\/h/,
  ]);
});

t.test('a VirtualService', async t => {
  t.match(said(virtual('web') + route('HTTPRoute', 'h')), [/^error VirtualService shop\/v spec\.hosts: /]);
  t.match(said(virtual('web', 'api') + route('HTTPRoute', 'h')), [
    /^warning VirtualService shop\/v spec\.hosts: /,
  ]);
});

t.test('as they come and go', async t => {
  const builder = new IncrementalBuilder();
  const conflicts = (): number => builder.findings().filter(({ code }) => code === 'route-conflict').length;
  const grpc = objectsOf({ 'g.yaml': route('GRPCRoute', 'g') });
  builder.apply({ set: objectsOf(services + route('HTTPRoute', 'h')), removed: [] });
  t.equal(conflicts(), 0);
  builder.apply({ set: grpc, removed: [] });
  t.equal(conflicts(), 1);
  builder.apply({ set: objectsOf({ 'g.yaml': route('GRPCRoute', 'g', null, 'shop', 'api') }), removed: [] });
  t.equal(conflicts(), 0, 'bound to another one');
  builder.apply({ set: grpc, removed: [] });
  t.equal(conflicts(), 1);
  builder.apply({ set: [], removed: grpc });
  t.equal(conflicts(), 0);
});
