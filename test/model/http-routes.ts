/** Which routes apply to a client of a service. */
import t from 'tap';
import { HttpRoutes } from '../../model/http-routes.ts';
import type { HttpRoute } from '../../model/http-route.ts';
import { head, prefix, route, rule, service } from './http-help.ts';

function asked(routes: readonly HttpRoute[], port: number, client: string): string | null {
  const all = new HttpRoutes();
  all.replace(routes);
  const found = all.tableFor(service, port, client)?.find(head('/'));
  return found === null || found === undefined ? null : found.route.name;
}

const one = [rule([prefix('')])];

t.test('producers are for all, consumers for their own namespace', async t => {
  const producer = route('producer', one);
  const consumer = route('consumer', one, { namespace: 'bank' });
  t.equal(asked([producer, consumer], 80, 'shop'), 'producer');
  t.equal(asked([producer, consumer], 80, 'bank'), 'consumer');
  t.equal(asked([producer, consumer], 80, 'third'), 'producer');
  t.equal(asked([consumer], 80, 'third'), null);
  t.equal(asked([consumer], 80, 'bank'), 'consumer');
});

t.test('ports', async t => {
  const narrow = route('narrow', one, { parents: [{ service, port: 80 }] });
  t.equal(asked([narrow], 80, 'shop'), 'narrow');
  t.equal(asked([narrow], 8080, 'shop'), null);
  t.equal(asked([route('wide', one)], 8080, 'shop'), 'wide');
});

t.test('a GRPCRoute displaces HTTPRoutes', async t => {
  const grpc = route('grpc', one, { kind: 'GRPCRoute', createdAt: 9 });
  t.equal(asked([route('http', one), grpc], 80, 'shop'), 'grpc');
});

t.test('what is replaced is forgotten', async t => {
  const all = new HttpRoutes();
  all.replace([route('a', one)]);
  t.ok(all.tableFor(service, 80, 'shop'));
  t.equal(all.tableFor(service, 80, 'shop'), all.tableFor(service, 80, 'bank'), 'one table for all');
  all.replace([]);
  t.equal(all.tableFor(service, 80, 'shop'), null);
  t.same(all.all(), []);
});
