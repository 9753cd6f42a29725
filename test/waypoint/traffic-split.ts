/** A TrafficSplit (SMI) at a waypoint: requests and connections, on real sockets. */
import t from 'tap';
import { World } from './world.ts';

const split = (
  weights: readonly [number, number],
  matches = '',
): string => `apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: { name: s, namespace: shop }
spec:
  service: web
  ${matches}
  backends: [{ service: one, weight: ${weights[0]} }, { service: two, weight: ${weights[1]} }]
---
`;
const group = `apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: { name: beta, namespace: shop }
spec: { matches: [{ name: beta, headers: { x-beta: "yes" } }] }
---
`;

t.test('requests go where the weights send them', async t => {
  const world = await World.create({ pods: ['one', 'two'], objects: split([900, 100]) });
  t.teardown(() => world[Symbol.asyncDispose]());
  for (const pod of ['one', 'two']) await world.serveHttp(pod);
  const counts = { one: 0, two: 0 };
  for (let turn = 0; turn < 200; turn += 1)
    counts[(await world.request('/')).headers['x-pod'] === 'one' ? 'one' : 'two'] += 1;
  t.ok(counts.one > 150 && counts.two > 2, JSON.stringify(counts));

  await world.routes(group + split([0, 1], 'matches: [{ kind: HTTPRouteGroup, name: beta }]'));
  for (let turn = 0; turn < 20; turn += 1)
    t.equal((await world.request('/', { headers: { 'x-beta': 'yes' } })).headers['x-pod'], 'two');
  const seen = new Set<unknown>();
  for (let turn = 0; turn < 40; turn += 1) seen.add((await world.request('/')).headers['x-pod']);
  t.same(seen, new Set(['one', 'two']), 'what does not match goes to the service itself');
  // Lines are written a moment later: the last one may still be of a request before.
  t.ok(await world.line({ status: 200, route: 'TrafficSplit shop/s rule 2' }));
});

t.test('connections too', async t => {
  const world = await World.create({ pods: ['one', 'two'], objects: split([0, 1]), appProtocol: 'tcp' });
  t.teardown(() => world[Symbol.asyncDispose]());
  for (const pod of ['one', 'two']) await world.serve(pod, socket => socket.end(pod));
  for (let turn = 0; turn < 10; turn += 1) {
    const socket = await world.connect();
    let answer = '';
    for await (const chunk of socket as AsyncIterable<Buffer>) answer += String(chunk);
    t.equal(answer, 'two');
  }
});
