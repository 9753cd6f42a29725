import { status } from '@grpc/grpc-js';
import t from 'tap';
import type { Offer } from '../../control/resource.ts';
import type { ResourceStore } from '../../control/resources.ts';
import type { WireDeltaResponse } from '../../proto/messages.ts';
import { resourceTypes } from '../../xds/codec.ts';
import { eventually } from '../lab/eventually.ts';
import { AdsClient, serveAds } from './serving.ts';

const { address, authorization, nodePod, settings } = resourceTypes;

function offer(name: string, content = name, more: Partial<Offer> = {}): Offer {
  return { name, content: Buffer.from(content), ...more };
}

function put(store: ResourceStore, typeUrl: string, ...set: Offer[]): void {
  store.apply({ [typeUrl]: { set, removed: [] } });
}

function drop(store: ResourceStore, typeUrl: string, ...removed: string[]): void {
  store.apply({ [typeUrl]: { set: [], removed } });
}

/** `name=content` of what was set and `-name` of what was removed. */
function told({ resources, removedResources }: WireDeltaResponse): string[] {
  const set = resources.map(({ name, resource }) => `${name}=${resource?.value.toString() ?? ''}`);
  return [...set, ...removedResources.map(name => `-${name}`)].sort();
}

t.test('a client of everything: the state, changes, removals', async t => {
  const serving = await serveAds(t);
  put(serving.store, address, offer('w1'), offer('w2'));
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl: address, node: { id: 'ztunnel~10.0.0.1~a.b~b.svc.cluster.local' } });
  const first = await client.next();
  t.equal(first.typeUrl, address);
  t.same(told(first), ['w1=w1', 'w2=w2']);
  t.match(first.resources[0], { aliases: [], resource: { typeUrl: address } });
  client.answer(first);
  put(serving.store, address, offer('w1', 'new'));
  drop(serving.store, address, 'w2');
  const second = await client.next();
  t.same(told(second), ['-w2', 'w1=new']);
  t.not(second.nonce, first.nonce);
  t.equal(serving.ads.size, 1);
  t.equal(await serving.metric('streams', { service: 'ads' }), 1);
  t.equal(await serving.metric('subscriptions', { type: 'address', mode: 'wildcard' }), 1);
  t.equal(await serving.metric('resources', { type: 'address' }), 1);
  client.stream.end();
  t.same((await client.ended).code, status.OK);
  await eventually(() => serving.ads.size === 0);
  t.equal(await serving.metric('subscriptions'), 0);
});

t.test('the first request of a type is answered even when there is nothing', async t => {
  const serving = await serveAds(t);
  const client = new AdsClient(t, serving, 'agent.n1');
  for (const typeUrl of [authorization, address, nodePod, settings]) {
    client.send({ typeUrl });
    const response = await client.next();
    t.equal(response.typeUrl, typeUrl);
    t.same(told(response), []);
    t.not(response.nonce, '');
    client.answer(response);
  }
});

t.test('on demand: names, aliases, what is part of them, and what never was', async t => {
  const serving = await serveAds(t);
  const { store } = serving;
  put(store, address, offer('ns/svc', 'svc', { aliases: ['net/10.96.0.1'] }));
  put(store, address, offer('uid1', 'w1', { aliases: ['net/10.0.0.1'], partOf: ['ns/svc'], node: 'n2' }));
  put(store, address, offer('uid2', 'w2', { node: 'n1' }), offer('uid3', 'w3', { node: 'n2' }));
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl: address, resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] });
  const first = await client.next();
  t.same(told(first), ['uid2=w2'], 'those of its own node come unasked');
  client.answer(first);
  client.send({ typeUrl: address, resourceNamesSubscribe: ['net/10.96.0.1', 'net/10.9.9.9'] });
  const second = await client.next();
  t.same(told(second), ['-net/10.9.9.9', 'ns/svc=svc', 'uid1=w1']);
  t.same(second.resources.find(({ name }) => name === 'ns/svc')?.aliases, ['net/10.96.0.1']);
  client.answer(second);
  put(
    store,
    address,
    offer('uid3', 'other', { node: 'n2' }),
    offer('uid1', 'gone elsewhere', { node: 'n2' }),
  );
  const third = await client.next();
  t.same(told(third), ['-uid1']);
  client.answer(third);
  client.send({ typeUrl: address, resourceNamesUnsubscribe: ['net/10.96.0.1'] });
  t.same(told(await client.next()), ['-ns/svc']);
  t.equal(await serving.metric('subscriptions', { mode: 'on-demand' }), 1);
});

t.test('from names to everything and back', async t => {
  const serving = await serveAds(t);
  put(serving.store, address, offer('a'), offer('b'), offer('c'));
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl: address, resourceNamesSubscribe: ['a'] });
  const first = await client.next();
  t.same(told(first), ['a=a']);
  client.answer(first);
  client.send({ typeUrl: address, resourceNamesSubscribe: ['*'] });
  const second = await client.next();
  t.same(told(second), ['b=b', 'c=c'], 'what it has is not sent again');
  client.answer(second);
  client.send({ typeUrl: address, resourceNamesSubscribe: ['nobody'] });
  const third = await client.next();
  t.same(told(third), ['-nobody']);
  client.answer(third);
  client.send({ typeUrl: address, resourceNamesUnsubscribe: ['*'] });
  const fourth = await client.next();
  t.same(told(fourth), ['-nobody', 'a=a']);
  client.answer(fourth);
  put(serving.store, address, offer('b', '2'), offer('a', '2'));
  t.same(told(await client.next()), ['a=2']);
});

t.test('pods of a node are told to its agent only, whatever it asks for', async t => {
  const serving = await serveAds(t);
  put(serving.store, nodePod, offer('p1', 'p1', { node: 'n1' }), offer('p2', 'p2', { node: 'n2' }));
  const mine = new AdsClient(t, serving, 'agent.n1');
  const theirs = new AdsClient(t, serving, 'agent.n2');
  // What a client says of itself counts for nothing.
  mine.send({
    typeUrl: nodePod,
    node: { id: 'ztunnel~1.1.1.1~x.y~n2' },
    resourceNamesSubscribe: ['*', 'p2'],
  });
  theirs.send({ typeUrl: nodePod });
  const first = await mine.next();
  t.same(told(first), ['-p2', 'p1=p1']);
  mine.answer(first);
  theirs.answer(await theirs.next());
  put(serving.store, nodePod, offer('p3', 'p3', { node: 'n2' }));
  t.same(told(await theirs.next()), ['p3=p3']);
  put(serving.store, nodePod, offer('p4', 'p4', { node: 'n1' }));
  t.same(told(await mine.next()), ['p4=p4'], 'and nothing of the other in between');
});

t.test('a client that comes back, here or at another replica, hears what differs', async t => {
  const one = await serveAds(t);
  const other = await serveAds(t);
  const both = [one.store, other.store];
  for (const store of both) put(store, address, offer('same'), offer('old', '1'), offer('gone'));
  const client = new AdsClient(t, one, 'agent.n1');
  client.send({ typeUrl: address });
  const { resources } = await client.next();
  const initialResourceVersions = Object.fromEntries(resources.map(({ name, version }) => [name, version]));
  client.stream.cancel();
  for (const store of both) {
    put(store, address, offer('old', '2'), offer('new'));
    drop(store, address, 'gone');
  }
  for (const serving of [one, other]) {
    const back = new AdsClient(t, serving, 'agent.n1');
    back.send({ typeUrl: address, initialResourceVersions });
    t.same(told(await back.next()), ['-gone', 'new=new', 'old=2']);
    const onDemand = new AdsClient(t, serving, 'agent.n1');
    onDemand.send({ typeUrl: address, initialResourceVersions, resourceNamesSubscribe: ['same', 'gone'] });
    t.same(told(await onDemand.next()), ['-gone', '-old', 'same=same']);
  }
});

t.test('what a client refuses is counted, said in the log, and not sent again before it changes', async t => {
  const serving = await serveAds(t);
  put(serving.store, authorization, offer('p1'));
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl: authorization });
  client.answer(await client.next(), 'p1: no such\naction');
  await eventually(() => serving.lines.some(({ code }) => code === 'ADS_REFUSED'));
  t.match(
    serving.lines.find(({ code }) => code === 'ADS_REFUSED'),
    { why: 'p1: no such?action', type: 'authorization', node: 'n1', level: 'warn' },
  );
  t.equal(await serving.metric('nacks_total', { type: 'authorization' }), 1);
  put(serving.store, authorization, offer('p2'));
  const next = await client.next();
  t.same(told(next), ['p2=p2']);
  client.answer(next);
  put(serving.store, authorization, offer('p1', 'better'));
  t.same(told(await client.next()), ['p1=better']);
});

t.test('one response is under way; the next has the newest state and nothing in between', async t => {
  const serving = await serveAds(t);
  put(serving.store, address, offer('w', '0'));
  const slow = new AdsClient(t, serving, 'agent.n1');
  const quick = new AdsClient(t, serving, 'agent.n2');
  slow.send({ typeUrl: address });
  const first = await slow.next();
  quick.send({ typeUrl: address });
  quick.answer(await quick.next());
  for (let at = 1; at <= 5; at += 1) {
    put(serving.store, address, offer('w', `${at}`), offer(`x${at}`));
    drop(serving.store, address, `x${at - 1}`);
    const response = await quick.next();
    t.match(told(response), [/./, /./]);
    quick.answer(response);
  }
  t.equal(slow.unread, 0);
  slow.answer({ ...first, nonce: 'of another time' });
  put(serving.store, address, offer('w', '6'));
  quick.answer(await quick.next());
  t.equal(slow.unread, 0, 'an answer to something else is none');
  slow.answer(first);
  t.same(told(await slow.next()), ['w=6', 'x5=x5']);
});

t.test('constant change delays nobody, and many changes make few responses', async t => {
  const serving = await serveAds(t, { quietMs: 20, maxWaitMs: 60 });
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl: address });
  client.answer(await client.next());
  let at = 0;
  const churn = setInterval(() => put(serving.store, address, offer('w', `${(at += 1)}`)), 1);
  t.teardown(() => clearInterval(churn));
  for (let responses = 0; responses < 5; responses += 1) client.answer(await client.next());
  clearInterval(churn);
  t.ok(at > 10, `${at} changes in 5 responses`);
});

t.test('a policy is told before the workloads that name it', async t => {
  const serving = await serveAds(t);
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl: address });
  client.answer(await client.next());
  client.send({ typeUrl: settings });
  client.answer(await client.next());
  client.send({ typeUrl: authorization });
  const first = await client.next();
  serving.store.apply({
    [address]: { set: [offer('w', 'names p')], removed: [] },
    [authorization]: { set: [offer('p')], removed: [] },
    [settings]: { set: [offer('mesh')], removed: [] },
  });
  t.same(told(await client.next()), ['mesh=mesh'], 'what depends on nothing goes on');
  t.equal(client.unread, 0, 'no workload while its policy waits for an answer');
  client.answer(first);
  t.same(told(await client.next()), ['p=p']);
  t.same(told(await client.next()), ['w=names p']);
});

t.test('types that are not served are answered, and said once', async t => {
  const serving = await serveAds(t);
  const client = new AdsClient(t, serving, 'agent.n1');
  const typeUrl = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
  client.send({ typeUrl, resourceNamesSubscribe: ['*', 'a'] });
  const response = await client.next();
  t.equal(response.typeUrl, typeUrl);
  t.same(told(response), ['-a']);
  client.answer(response);
  client.send({ typeUrl });
  await client.next();
  client.send({ typeUrl: address });
  t.equal((await client.next()).typeUrl, address);
  t.equal(serving.lines.filter(({ msg }) => msg.includes('there is nothing of')).length, 1);
  t.equal(client.unread, 0, 'its answer is not answered');

  const types = ['Listener', 'RouteConfiguration', 'Secret'].map(kind => `type.googleapis.com/envoy.${kind}`);
  for (const type of types) client.send({ typeUrl: type });
  const answered = [await client.next(), await client.next(), await client.next()];
  t.strictSame(
    answered.map(({ typeUrl }) => typeUrl),
    types,
    'each of several that are asked for at one time',
  );
});

t.test('nothing is answered to who may not ask', async t => {
  const serving = await serveAds(t);
  const refused: [token: string, code: number, reason: string][] = [
    ['forged', status.UNAUTHENTICATED, 'AUTHENTICATION_REFUSED'],
    ['pod.n1.shop/cart', status.PERMISSION_DENIED, 'CALL_FORBIDDEN'],
  ];
  for (const [token, code, reason] of refused) {
    const client = new AdsClient(t, serving, token);
    client.send({ typeUrl: address });
    const ended = await client.ended;
    t.equal(ended.code, code);
    t.notMatch(ended.details, /forged|invalid|cart/, 'and not why');
    t.ok(
      serving.lines.some(line => line.code === reason),
      `the log says ${reason}`,
    );
    t.equal(client.unread, 0);
  }
  t.equal(serving.ads.size, 0);
  t.equal(await serving.metric('authentications_total', { result: 'refused' }), 1);
});

t.test('a client has a limited number of streams and names', async t => {
  const serving = await serveAds(t, { limits: { streamsPerCaller: 2, namesPerType: 3 } });
  const clients = [1, 2].map(() => new AdsClient(t, serving, 'agent.n1'));
  for (const client of clients) client.send({ typeUrl: address });
  for (const client of clients) await client.next();
  const third = new AdsClient(t, serving, 'agent.n1');
  t.match(await third.ended, { code: status.RESOURCE_EXHAUSTED, details: /2 streams/ });
  const other = new AdsClient(t, serving, 'agent.n2');
  other.send({ typeUrl: address, resourceNamesSubscribe: ['a', 'b', 'c'] });
  other.answer(await other.next());
  other.send({ typeUrl: address, resourceNamesSubscribe: ['d'] });
  t.match(await other.ended, { code: status.RESOURCE_EXHAUSTED, details: /more than 3 names/ });
  t.equal(serving.ads.size, 2);
  t.equal(await serving.metric('streams_ended_total', { reason: 'ADS_TOO_MANY_NAMES' }), 1);
});

t.test('who asks too fast is read more slowly, and answered all the same', async t => {
  const serving = await serveAds(t, { limits: { requests: { perSecond: 200, burst: 5 } } });
  const client = new AdsClient(t, serving, 'agent.n1');
  for (let at = 0; at < 40; at += 1) {
    client.send({ typeUrl: address, resourceNamesSubscribe: [`n${at}`] });
  }
  const missing = new Set<string>();
  while (missing.size < 40) {
    const response = await client.next();
    for (const name of response.removedResources) missing.add(name);
    client.answer(response);
  }
  t.ok((await serving.metric('requests_delayed_total')) > 0);
});

t.test('many large first responses take turns', async t => {
  const serving = await serveAds(t, { limits: { largeBytes: 1_000 }, largeAtOnce: 1 });
  put(serving.store, address, ...Array.from({ length: 2_000 }, (_, at) => offer(`w${at}`, 'x'.repeat(500))));
  const clients = Array.from({ length: 8 }, (_, at) => new AdsClient(t, serving, `agent.n${at}`));
  for (const client of clients) client.send({ typeUrl: address });
  for (const client of clients) t.equal((await client.next()).resources.length, 2_000);
});

t.test('what is larger than a response may be comes in several', async t => {
  const serving = await serveAds(t, { limits: { maxResponseBytes: 10_000 } });
  put(serving.store, address, ...Array.from({ length: 100 }, (_, at) => offer(`w${at}`, 'x'.repeat(500))));
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl: address });
  const names = new Set<string>();
  while (names.size < 100) {
    const response = await client.next();
    t.ok(response.resources.length < 25);
    for (const { name } of response.resources) names.add(name);
    client.answer(response);
  }
  put(serving.store, address, offer('w1', 'changed'));
  t.same(told(await client.next()), ['w1=changed']);
});

t.test('when it stops, clients are told to go elsewhere', async t => {
  const serving = await serveAds(t);
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl: address });
  await client.next();
  serving.ads.close();
  t.match(await client.ended, { code: status.UNAVAILABLE, details: /stops/ });
  await serving.server.drain(10_000);
  t.equal(serving.server.connections, 0);
});
