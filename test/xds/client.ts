/** What a client makes of responses: what is in force, what is refused, what is acknowledged. */
import t from 'tap';
import { emptyMesh } from '../../model/mesh.ts';
import { fromStruct } from '../../proto/struct.ts';
import { encodeAuthorization, encodeNodePod, encodeSettings, encodeWorkload } from '../../xds/codec.ts';
import { policy, rule } from '../model/objects.ts';
import {
  address,
  authorization,
  settings,
  nodePod,
  resource,
  web,
  cart,
  webResource,
  cartResource,
  shop,
  shopResource,
  setup,
} from './client-world.ts';

t.test('a client says who it is and asks for everything of its types', async t => {
  const { control } = await setup(t);
  const stream = await control.streams.take();
  const first = await stream.request(address);
  t.equal(first.node?.id, 'ztunnel~10.0.0.9~culvert-agent-x.culvert-system~culvert-system.svc.cluster.local');
  t.match(first.node?.metadata && fromStruct(first.node.metadata), {
    NAME: 'culvert-agent-x',
    NAMESPACE: 'culvert-system',
    NODE_NAME: 'n1',
    INSTANCE_IPS: '10.0.0.9',
    CLUSTER_ID: 'Kubernetes',
  });
  t.strictSame(first.resourceNamesSubscribe, []);
  t.strictSame({ ...first.initialResourceVersions }, {});
  t.equal((await stream.request(authorization)).responseNonce, '');
  t.strictSame(stream.metadata.get('authorization'), ['Bearer first']);
  t.strictSame(stream.metadata.get('clusterid'), ['Kubernetes']);
});

t.test('a response is one update, in force before it is acknowledged', async t => {
  const { control, client, updates, states } = await setup(t);
  const stream = await control.streams.take();
  await stream.request(address);
  stream.send({ typeUrl: address, nonce: 'n1', resources: [webResource, shopResource] });
  t.strictSame(await updates.take(), {
    type: 'address',
    delta: { ...emptyMesh, workloads: [web], services: [shop] },
    settings: null,
    nodePods: { set: [], removed: [] },
    l7: { changes: [], barred: [], removed: [] },
  });
  const ack = await stream.request(address);
  t.equal(ack.responseNonce, 'n1');
  t.equal(ack.errorDetail, null);
  t.strictSame(client.state().types, {
    address: { synced: true, resources: 2, refused: [] },
    authorization: { synced: false, resources: 0, refused: [] },
  });
  t.equal(client.state().synced, false);

  stream.send({ typeUrl: authorization, nonce: 'n2' });
  t.strictSame((await updates.take()).delta, emptyMesh);
  t.equal((await stream.request(authorization)).responseNonce, 'n2');
  t.equal(client.state().synced, true);
  t.equal(states.at(-1)?.synced, true);

  stream.send({
    typeUrl: address,
    nonce: 'n3',
    removedResources: [web.uid, 'shop/web.shop.svc.cluster.local'],
  });
  t.strictSame((await updates.take()).delta, {
    ...emptyMesh,
    removedWorkloads: [web.uid],
    removedServices: ['shop/web.shop.svc.cluster.local'],
  });
  t.match(client.counters(), {
    connections: 1,
    messages: { address: 2, authorization: 1 },
    nacks: { address: 0 },
  });
  t.ok(client.counters().bytes.address > 100);
});

t.test('settings and pods of the node come on the same stream', async t => {
  const { control, updates } = await setup(t, { subscriptions: ['settings', 'nodePod'] });
  const stream = await control.streams.take();
  const mesh = {
    trustDomain: 'td',
    network: 'east',
    clusterId: 'c',
    clusterDomain: 'd',
    accessLog: true,
    certificateTtlMs: 60_000,
    enrolledNamespaces: ['shop'],
    excludedNamespaces: [],
  };
  stream.send({
    typeUrl: settings,
    nonce: '1',
    resources: [resource(settings, 'mesh', encodeSettings(mesh))],
  });
  t.strictSame((await updates.take()).settings, mesh);
  const pod = {
    podUid: 'p1',
    runtimeUid: 'p1',
    workloadUid: web.uid,
    namespace: 'shop',
    name: 'web',
    serviceAccount: 'web',
    addresses: [],
    wanted: true,
    failMode: 'closed',
    dnsCapture: true,
    probePorts: [8080],
  } as const;
  stream.send({ typeUrl: nodePod, nonce: '2', resources: [resource(nodePod, 'p1', encodeNodePod(pod))] });
  t.strictSame((await updates.take()).nodePods, { set: [pod], removed: [] });
  stream.send({ typeUrl: nodePod, nonce: '3', removedResources: ['p1'] });
  t.strictSame((await updates.take()).nodePods, { set: [], removed: ['p1'] });
  stream.send({ typeUrl: settings, nonce: '4', removedResources: ['mesh'] });
  t.equal((await updates.take()).settings, null, 'the last settings hold');
});

t.test('what cannot be used is refused by name, and the rest of the response is in force', async t => {
  const { control, client, updates } = await setup(t);
  const stream = await control.streams.take();
  await stream.request(address);
  stream.send({
    typeUrl: address,
    nonce: 'n1',
    resources: [
      resource(address, 'bad', Buffer.from([0xff])),
      webResource,
      resource(address, 'other', encodeWorkload(cart)),
      resource(authorization, 'shop/p', encodeAuthorization(policy('ALLOW', []))),
      { name: 'empty' },
    ],
  });
  t.strictSame((await updates.take()).delta, { ...emptyMesh, workloads: [web] });
  const nack = await stream.request(address);
  t.equal(nack.responseNonce, 'n1');
  t.match(nack.errorDetail?.message, /^bad: index out of range/);
  t.match(
    nack.errorDetail?.message,
    `; other: it calls itself ${cart.uid}; shop/p: it is of type ${authorization}; empty: it is empty`,
  );
  t.match(client.state().types.address, { synced: true, resources: 1, refused: { length: 4 } });
  t.equal(client.counters().nacks.address, 1);

  stream.send({
    typeUrl: address,
    nonce: 'n2',
    resources: [cartResource],
    removedResources: ['bad', 'empty'],
  });
  await stream.request(address);
  t.match(client.state().types.address, { resources: 2, refused: [{ name: 'other' }, { name: 'shop/p' }] });
});

t.test('a refusal of very many resources names some of them', async t => {
  const { control } = await setup(t);
  const stream = await control.streams.take();
  await stream.request(address);
  const resources = Array.from({ length: 500 }, (_, i) => ({ name: `r${i}` }));
  stream.send({ typeUrl: address, nonce: 'n1', resources });
  const { errorDetail } = await stream.request(address);
  t.match(errorDetail?.message, /^r0: it is empty; .*r19: it is empty; and 480 more$/);
});

t.test('a policy that cannot be decoded denies, unless an older version of it is in force', async t => {
  const { control, client, updates } = await setup(t);
  const stream = await control.streams.take();
  const good = policy('ALLOW', [rule({ destinationPorts: [80] })], { name: 'p' });
  const garbage = (name: string) => resource(authorization, name, Buffer.from([0xff]), '2');
  stream.send({
    typeUrl: authorization,
    nonce: '1',
    resources: [
      resource(authorization, 'shop/p', encodeAuthorization(good)),
      garbage('shop/q'),
      garbage('nonsense'),
    ],
  });
  const { delta } = await updates.take();
  t.strictSame(delta.policies[0], good);
  t.match(delta.policies, [
    {},
    { name: 'q', action: 'DENY', scope: 'WORKLOAD_SELECTOR', rules: [{ clauses: [] }] },
  ]);
  t.equal(delta.policies.length, 2);
  t.match(client.state().types.authorization, { resources: 2 });

  stream.send({ typeUrl: authorization, nonce: '2', resources: [garbage('shop/p')] });
  t.strictSame((await updates.take()).delta, emptyMesh, 'the older version stays');
  stream.send({ typeUrl: authorization, nonce: '3', removedResources: ['shop/p', 'shop/q'] });
  t.strictSame((await updates.take()).delta.removedPolicies, ['shop/p', 'shop/q']);
});

t.test('a policy of the future is refused and in force in its harshest sense', async t => {
  const { control, client, updates } = await setup(t);
  const stream = await control.streams.take();
  await stream.request(authorization);
  const value = Buffer.concat([
    encodeAuthorization(policy('ALLOW', [], { name: 'p' })),
    Buffer.from([0x20, 0x07]),
  ]);
  stream.send({ typeUrl: authorization, nonce: '1', resources: [resource(authorization, 'shop/p', value)] });
  t.match((await updates.take()).delta.policies, [{ name: 'p', action: 'DENY' }]);
  t.match((await stream.request(authorization)).errorDetail?.message, 'action 7');
  t.match(client.state().types.authorization?.refused, [{ name: 'shop/p' }]);
  stream.end();
  const again = await (await control.streams.take()).request(authorization);
  t.strictSame({ ...again.initialResourceVersions }, { 'shop/p': '' }, 'it is wanted anew');
});

t.test('an update that could not be applied is refused as a whole and asked for again', async t => {
  let broken = true;
  const { control, client } = await setup(t, {
    onUpdate: () => {
      if (broken) throw new Error('no');
    },
  });
  const stream = await control.streams.take();
  await stream.request(address);
  stream.send({ typeUrl: address, nonce: '1', resources: [webResource] });
  t.equal((await stream.request(address)).errorDetail?.message, 'it could not be applied: no');
  t.match(client.state().types.address, { synced: false, resources: 0 });
  broken = false;
  stream.end();
  const next = await control.streams.take();
  t.strictSame({ ...(await next.request(address)).initialResourceVersions }, {});
});

t.test('names that were never heard of may be removed', async t => {
  const { control, updates } = await setup(t);
  const stream = await control.streams.take();
  stream.send({ typeUrl: address, nonce: '1', removedResources: ['c//Pod/shop/x', 'shop/y', 'z'] });
  t.match((await updates.take()).delta, {
    removedWorkloads: ['c//Pod/shop/x', 'z'],
    removedServices: ['shop/y'],
  });
});

t.test('a name that is set and removed in one response is set', async t => {
  const { control, updates } = await setup(t);
  const stream = await control.streams.take();
  stream.send({ typeUrl: address, nonce: '1', resources: [webResource], removedResources: [web.uid] });
  t.strictSame((await updates.take()).delta, { ...emptyMesh, workloads: [web] });
});
