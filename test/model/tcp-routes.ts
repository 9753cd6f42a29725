/** Which routes of connections are in force for a port and a client, and which rule a connection hits. */
import t from 'tap';
import type { HttpRoute } from '../../model/http-route.ts';
import { HttpRoutes } from '../../model/http-routes.ts';
import type { TcpAsker } from '../../model/tcp-match.ts';
import { TcpRoutes } from '../../model/tcp-routes.ts';
import type { TcpMatch, TcpRoute, TcpRule } from '../../model/tcp-route.ts';
import type { AppProtocol } from '../../model/workload.ts';
import { prefix, route as httpRoute, rule as httpRule, service } from './http-help.ts';

function rule(names: readonly string[] | null, match: Partial<TcpMatch> = {}): TcpRule {
  return { name: null, matches: [{ names, ...match }], backends: [] };
}

function route(
  kind: TcpRoute['kind'],
  name: string,
  rules: readonly TcpRule[],
  more: Partial<TcpRoute> = {},
): TcpRoute {
  const parents = [{ service, port: null }];
  return { kind, namespace: 'shop', name, createdAt: 0, parents, rules, ...more };
}

const tls = (name: string, names: readonly string[], more: Partial<TcpRoute> = {}): TcpRoute =>
  route('TLSRoute', name, [rule(names)], more);
const tcp = (name: string, more: Partial<TcpRoute> = {}): TcpRoute =>
  route('TCPRoute', name, [rule(null)], more);
const http = [httpRule([prefix('')])];

/** What becomes of a connection, by the name of the route and position of the rule that it hits. */
function goes(
  routes: readonly TcpRoute[],
  asker: Partial<TcpAsker> = {},
  requests: readonly HttpRoute[] = [],
): string {
  const all = new HttpRoutes();
  all.replace(requests);
  const connections = new TcpRoutes(all);
  connections.replace(routes);
  const asked = {
    namespace: 'shop',
    workload: null,
    address: '10.96.0.10',
    port: 443,
    protocol: 'UNKNOWN',
    sni: null,
    ...asker,
  } as const;
  const { port, protocol, namespace: client } = asked;
  const plan = connections.planFor({ service, port, protocol, client });
  if (plan === null) return 'no plan';
  const matched = plan.table.find(asked);
  const steps = plan.table.explain(asked);
  const said = steps.find(({ hit }) => hit)?.rule ?? null;
  if (matched.kind !== 'rule') {
    t.equal(said, null, 'what explains agrees');
    return matched.kind;
  }
  t.match(said, matched.hit.route.name, 'what explains agrees');
  return `${matched.hit.route.name} ${matched.hit.index}`;
}

t.test('the most exact name is in force', async t => {
  const routes = [
    tls('any', ['*']),
    tls('wide', ['*.example.org']),
    tls('near', ['*.b.example.org', 'x.example.org']),
    tls('exact', ['a.b.example.org']),
  ];
  const cases: readonly [string, string][] = [
    ['a.b.example.org', 'exact 0'],
    ['c.b.example.org', 'near 0'],
    ['c.d.b.example.org', 'near 0'],
    ['x.example.org', 'near 0'],
    ['y.example.org', 'wide 0'],
    ['b.example.org', 'wide 0'],
    ['example.org', 'any 0'],
    ['evilexample.org', 'any 0'],
    ['', 'any 0'],
  ];
  for (const [sni, where] of cases) t.equal(goes(routes, { sni }), where, sni);
  const some = routes.slice(1);
  t.equal(goes(some, { sni: 'example.org' }), 'none');
  t.equal(goes(some, { sni: '' }), 'none');
  t.equal(goes(some), 'none', 'no TLS');
});

t.test('of two alike the older one, then by name', async t => {
  const names = ['a.example.org'];
  const sni = 'a.example.org';
  t.equal(goes([tls('a', names, { createdAt: 2 }), tls('b', names, { createdAt: 1 })], { sni }), 'b 0');
  t.equal(goes([tls('b', names), tls('a', names)], { sni }), 'a 0');
  t.equal(goes([tcp('new', { createdAt: 2 }), tcp('old', { createdAt: 1 })]), 'old 0');
});

t.test('GRPCRoute before HTTPRoute, TLSRoute, TCPRoute, VirtualService', async t => {
  const virtual = route('VirtualService', 'virtual', [rule(null)]);
  const names = tls('names', ['*']);
  t.equal(goes([virtual]), 'virtual 0');
  t.equal(goes([virtual, tcp('bytes')]), 'bytes 0');
  t.equal(goes([virtual, tcp('bytes'), names], { sni: 'a' }), 'names 0');
  for (const kind of ['HTTPRoute', 'GRPCRoute'] as const)
    t.equal(goes([virtual, tcp('bytes'), names], { sni: 'a' }, [httpRoute('h', http, { kind })]), 'no plan');
  t.equal(goes([tcp('bytes')], {}, [httpRoute('v', http, { kind: 'VirtualService' })]), 'bytes 0');
});

t.test('one kind displaces others at its own ports only', async t => {
  const narrow = httpRoute('h', http, { parents: [{ service, port: 80 }] });
  t.equal(goes([tcp('bytes')], { port: 80 }, [narrow]), 'no plan');
  t.equal(goes([tcp('bytes')], { port: 443 }, [narrow]), 'bytes 0');
});

t.test('a route without a port is for the ports that may speak what it is about', async t => {
  const about = (one: TcpRoute, protocol: AppProtocol): boolean =>
    goes([one], { protocol, sni: 'a' }) !== 'no plan';
  const all: readonly AppProtocol[] = ['UNKNOWN', 'TLS', 'TCP', 'HTTP11', 'HTTP2', 'GRPC'];
  t.same(
    all.filter(protocol => about(tcp('b'), protocol)),
    ['UNKNOWN', 'TLS', 'TCP'],
  );
  t.same(
    all.filter(protocol => about(tls('n', ['*']), protocol)),
    ['UNKNOWN', 'TLS'],
  );
  const parents = [{ service, port: 443 }];
  t.same(
    all.filter(protocol => about(tcp('b', { parents }), protocol)),
    all,
    'the port is named',
  );
  t.same(
    all.filter(protocol => about(tls('n', ['*'], { parents }), protocol)),
    all,
  );
  const requests = [httpRoute('h', http)];
  t.equal(
    goes([tls('n', ['*'])], { protocol: 'TLS', sni: 'a' }, requests),
    'n 0',
    'no requests at that port',
  );
});

t.test('producers are for all, consumers for their own namespace, of whatever kind', async t => {
  const consumer = { namespace: 'bank' };
  const routes = [tls('producer', ['*']), tcp('consumer', consumer)];
  t.equal(goes(routes, { sni: 'a' }), 'producer 0');
  t.equal(goes(routes, { sni: 'a', namespace: 'bank' }), 'consumer 0');
  t.equal(goes(routes, { sni: 'a', namespace: 'third' }), 'producer 0');
  const requests = [httpRoute('h', http)];
  t.equal(goes([tcp('consumer', consumer)], { namespace: 'bank' }, requests), 'consumer 0');
  t.equal(goes([tcp('consumer', consumer)], {}, requests), 'no plan');
  const theirs = [httpRoute('h', http, consumer)];
  t.equal(goes([tcp('producer')], { namespace: 'bank' }, theirs), 'no plan');
  t.equal(goes([tcp('producer')], {}, theirs), 'producer 0');
});

t.test('rules of a VirtualService: the first that fits, TLS by those that know names', async t => {
  const routes = [
    route('VirtualService', 'v', [
      rule(['*.example.org'], { port: 443 }),
      rule(['a.example.org'], { port: 443 }),
      rule(null, { from: 'bank' }),
      rule(null, { workloads: ['pod-1', 'pod-2'] }),
      rule(null, { subnets: ['10.96.0.0/24', '2001:db8::/32'], port: 5432 }),
    ]),
  ];
  t.equal(goes(routes, { sni: 'a.example.org' }), 'v 0', 'in their order');
  t.equal(goes(routes, { sni: 'b.org' }), 'none', 'there are rules for TLS');
  t.equal(goes(routes, { sni: 'b.org', port: 80 }), 'direct', 'not at this port');
  t.equal(goes(routes, { sni: 'b.org', port: 80, namespace: 'bank' }), 'v 2');
  t.equal(goes(routes, { namespace: 'bank' }), 'v 2');
  t.equal(goes(routes), 'direct', 'the service itself');
  t.equal(goes(routes, { workload: 'pod-2' }), 'v 3');
  t.equal(goes(routes, { workload: 'pod-3' }), 'direct');
  t.equal(goes(routes, { port: 5432 }), 'v 4');
  t.equal(goes(routes, { port: 5432, address: '10.97.0.1' }), 'direct');
  t.equal(goes(routes, { port: 5432, address: '2001:db8::1' }), 'v 4');
  t.equal(goes(routes, { protocol: 'TLS' }), 'none', 'a port of TLS, and none');
  t.equal(goes(routes, { protocol: 'TLS', port: 5432 }), 'direct', 'rules of tcp are not for TLS');
});

t.test('what is replaced is forgotten, also of the other list', async t => {
  const requests = new HttpRoutes();
  const connections = new TcpRoutes(requests);
  const visit = { service, port: 443, protocol: 'UNKNOWN', client: 'shop' } as const;
  connections.replace([tcp('bytes')]);
  t.equal(connections.planFor(visit)?.kind, 'bytes');
  t.equal(connections.planFor(visit), connections.planFor({ ...visit, client: 'bank' }), 'one for all');
  requests.replace([httpRoute('h', http)]);
  t.equal(connections.planFor(visit), null);
  requests.replace([]);
  t.equal(connections.planFor(visit)?.kind, 'bytes');
  connections.replace([]);
  t.equal(connections.planFor(visit), null);
});
