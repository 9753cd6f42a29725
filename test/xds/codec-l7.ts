/** What waypoints follow, on its way to them. */
import t from 'tap';
import { emptyL7, l7Changes, l7Label } from '../../model/l7.ts';
import { defaultTraffic } from '../../model/traffic-policy.ts';
import { L7Store } from '../../model/l7-store.ts';
import { protocols } from '../../proto/load.ts';
import type { Sparse } from '../../proto/load.ts';
import type { WireWaypointResource } from '../../proto/messages.ts';
import { l7Removal } from '../../xds/codec-l7.ts';
import { decodeL7, encodeL7 } from '../../xds/codec.ts';
import { backend, match, route, rule, service } from '../model/http-help.ts';

const regex = match({ path: { type: 'regex', value: '/a+' } });
const web = route('web', [rule([regex], { backends: [backend('web')] })]);

function decode(wire: Sparse<WireWaypointResource>): ReturnType<typeof decodeL7> {
  return decodeL7(protocols.waypointResource.encode(wire));
}

t.test('a resource comes as it was, with its name and what it is about', async t => {
  const { name, value, problem } = decodeL7(encodeL7('routes', web));
  t.equal(problem, null);
  t.equal(name, `routes/${web.kind}/${web.namespace}/${web.name}`);
  t.strictSame(value, {
    kind: 'change',
    change: { list: 'routes', key: `${web.kind}/${web.namespace}/${web.name}`, resource: web },
  });
  const wire = protocols.waypointResource.decode(encodeL7('routes', web));
  t.strictSame([...wire.about], [service]);
  t.strictSame(l7Removal(name), { list: 'routes', key: name.slice('routes/'.length), resource: null });
  t.equal(l7Removal('shields/a/b'), null);
});

t.test('equal resources are equal bytes, in whatever order their members came', async t => {
  const { rules, ...rest } = web;
  t.strictSame(encodeL7('routes', { rules, ...rest }), encodeL7('routes', { ...rest, rules }));
});

t.test('what can not be read bars what it is about', async t => {
  const { key, json } = protocols.waypointResource.decode(encodeL7('routes', web));
  const about = [service];
  for (const [what, wire, reason] of [
    ['another list', { list: 'shields', key: 'a/b', json: '{}' }, 'this version has no shields'],
    ['another need', { list: 'routes', key, json, needs: ['luck'] }, 'this version does not know luck'],
    ['another key', { list: 'routes', key: 'x', json }, `it is ${key} by what it says`],
    ['no JSON', { list: 'routes', key, json: '{' }, /^it can not be read/],
    ['no route', { list: 'routes', key, json: '[1]' }, /^it can not be read/],
    [
      'a pattern that is none',
      {
        list: 'routes',
        key,
        json: json.replace('/a+', '('),
      },
      /^it can not be read/,
    ],
  ] as const) {
    const { value, problem } = decode({ ...wire, about });
    t.match(value, { kind: 'barred', barred: { name: `${wire.list}/${wire.key}`, about, reason } }, what);
    t.match(problem, reason, what);
  }
  t.throws(() => decode({ list: 'routes', json }), { code: 'XDS_RESOURCE_INVALID' });
  t.throws(() => decodeL7(Buffer.from([0xff])), { code: 'XDS_RESOURCE_INVALID' });
});

t.test('a store takes changes, and leaves lists alone that have none', async t => {
  const store = new L7Store();
  const state = { ...emptyL7, routes: [web] };
  store.apply(l7Changes(emptyL7, state));
  t.strictSame(store.state, state);
  const { routes } = store.state;
  store.apply([{ list: 'traffic', key: service, resource: { service, rules: [] } }]);
  t.equal(store.state.routes, routes);
  t.strictSame(store.state.traffic, [{ service, rules: [] }]);
  store.apply(l7Changes(state, emptyL7));
  t.strictSame(store.state.routes, []);
  const before = store.state;
  store.apply([{ list: 'routes', key: 'never/was', resource: null }]);
  t.equal(store.state, before);
});

t.test('what an older waypoint must not pass over is named', async t => {
  const tls = {
    source: 'DestinationRule shop/web',
    namespace: 'shop',
    sni: 'web',
    names: [{ type: 'dns' as const, value: 'web' }],
    trust: { type: 'system' as const },
    client: null,
    revoked: null,
  };
  const plain = { policy: defaultTraffic, ports: [] };
  const rule = { name: 'r', clients: null, settings: plain, subsets: [] };
  const needs = (settings: typeof plain | object): readonly string[] =>
    l7Label('traffic', { service, rules: [{ ...rule, settings: { ...plain, ...settings } }] }).needs;
  t.strictSame(needs({}), []);
  t.strictSame(needs({ policy: { ...defaultTraffic, tls } }), ['endpoint-tls']);
  t.strictSame(needs({ ports: [{ port: 80, policy: { ...defaultTraffic, tls } }] }), ['endpoint-tls']);
  t.strictSame(l7Label('routes', { ...web, kind: 'TrafficSplit' }).needs, ['traffic-split']);
});

t.test('what can not be read of a credential is not shown', async t => {
  const wire = { list: 'credentials', key: 'a/b/c/d', json: '{"key":"PRIVATE' };
  const { value, problem } = decodeL7(protocols.waypointCredential.encode(wire));
  t.match(value, { kind: 'barred' });
  t.notMatch(JSON.stringify([value, problem]), /PRIVATE/);
});
