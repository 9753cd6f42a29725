import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { pino } from 'pino';
import t from 'tap';
import type { Test } from 'tap';
import { emptyMesh } from '../../model/mesh.ts';
import { fromStruct } from '../../proto/struct.ts';
import { XdsClient } from '../../xds/client.ts';
import type { XdsClientOptions } from '../../xds/client.ts';
import {
  encodeAuthorization,
  encodeNodePod,
  encodeService,
  encodeSettings,
  encodeWorkload,
  resourceTypes,
} from '../../xds/codec.ts';
import type { ResourceType } from '../../xds/codec.ts';
import { discoveryNode } from '../../xds/node.ts';
import type { XdsUpdate } from '../../xds/reading.ts';
import type { XdsState } from '../../xds/state.ts';
import { eventually } from '../lab/eventually.ts';
import { policy, rule, service, workload } from '../model/objects.ts';
import { FakeClock } from '../tunnel/fake-clock.ts';
import { makeOddCertificate, makeRoot } from '../tunnel/pki.ts';
import { FakeControl, Mailbox, serverName, status } from './fake-control.ts';

const { address, authorization, settings, nodePod } = resourceTypes;

const node = discoveryNode({
  nodeName: 'n1',
  podName: 'culvert-agent-x',
  podNamespace: 'culvert-system',
  serviceAccount: 'culvert-agent',
  podIp: '10.0.0.9',
  clusterId: 'Kubernetes',
  version: '1.2.3',
});

/** A resource of a response. */
function resource(type: string, name: string, value: Buffer, version = '1', aliases: readonly string[] = []) {
  return { name, version, aliases, resource: { typeUrl: type, value } };
}

const web = workload('web', { addresses: ['10.0.0.1'] });
const cart = workload('cart', { addresses: ['10.0.0.2'] });
const webResource = resource(address, web.uid, encodeWorkload(web));
const cartResource = resource(address, cart.uid, encodeWorkload(cart));
const shop = service('web');
const shopResource = resource(address, 'shop/web.shop.svc.cluster.local', encodeService(shop));

interface Setup {
  readonly control: FakeControl;
  readonly client: XdsClient;
  readonly updates: Mailbox<XdsUpdate>;
  readonly states: XdsState[];
  readonly rootPath: string;
  readonly tokenPath: string;
}

async function setup(
  t: Test,
  given: Partial<XdsClientOptions> & { readonly start?: boolean; readonly control?: FakeControl } = {},
): Promise<Setup> {
  const control = given.control ?? (await FakeControl.start());
  const directory = t.testdir({ 'root.pem': control.root.pem, token: 'first\n' });
  const rootPath = join(directory, 'root.pem');
  const tokenPath = join(directory, 'token');
  const updates = new Mailbox<XdsUpdate>();
  const states: XdsState[] = [];
  const client = new XdsClient({
    endpoint: control.endpoint({ rootPath, tokenPath, headers: { clusterid: 'Kubernetes' } }),
    node,
    subscriptions: ['address', 'authorization'],
    log: pino({ level: 'silent' }),
    onUpdate: update => updates.put(update),
    onState: state => states.push(state),
    ...given,
  });
  t.teardown(() => {
    client.close();
    control.stop();
  });
  if (given.start ?? true) client.start();
  return { control, client, updates, states, rootPath, tokenPath };
}

/** The reason a client is not connected, once it has one. */
function lastError(client: XdsClient, code: string) {
  return eventually(() => {
    const { lastError } = client.state();
    return lastError?.code === code && lastError;
  });
}

const connected = (client: XdsClient) => eventually(() => client.state().connected);

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

t.test('after a lost stream the state holds, and the client asks for what changed meanwhile', async t => {
  const { control, client, updates } = await setup(t);
  const stream = await control.streams.take();
  stream.send({
    typeUrl: address,
    nonce: '1',
    resources: [webResource, shopResource, { ...cartResource, version: '7' }],
  });
  await updates.take();
  stream.send({
    typeUrl: address,
    nonce: '2',
    resources: [resource(address, cart.uid, Buffer.from([0xff]), '8')],
  });
  await updates.take();
  stream.fail(status.UNAVAILABLE, 'going away');
  const next = await control.streams.take();
  const again = await next.request(address);
  t.equal(again.responseNonce, '');
  t.equal(again.node?.id, node.id);
  t.strictSame(
    { ...again.initialResourceVersions },
    // Of cart a newer version is wanted than the one that is in force.
    { [web.uid]: '1', 'shop/web.shop.svc.cluster.local': '1', [cart.uid]: '' },
  );
  t.equal(client.state().types.address?.synced, true);
  // While there was no stream web went.
  next.send({ typeUrl: address, nonce: '1', removedResources: [web.uid, 'shop/web.shop.svc.cluster.local'] });
  t.match((await updates.take()).delta, {
    removedWorkloads: [web.uid],
    removedServices: ['shop/web.shop.svc.cluster.local'],
  });
  t.match(client.counters(), { connections: 2, terminations: { failed: 1 } });
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

t.test('the control plane may come and go; the client finds it again', async t => {
  const first = await FakeControl.start();
  const { client, updates } = await setup(t, { control: first });
  const stream = await first.streams.take();
  stream.send({ typeUrl: address, nonce: '1', resources: [webResource] });
  await updates.take();
  first.stop();
  await lastError(client, 'CONTROL_UNREACHABLE');
  t.match(client.state(), { connected: false, types: { address: { synced: true, resources: 1 } } });
  const second = await FakeControl.start({ port: first.port, root: first.root });
  t.teardown(() => second.stop());
  const again = await second.streams.take();
  t.strictSame({ ...(await again.request(address)).initialResourceVersions }, { [web.uid]: '1' });
  await connected(client);
  t.equal(client.state().lastError, null);
});

t.test('a server that takes the stream and has nothing to say is one to be connected to', async t => {
  const clock = new FakeClock();
  const { control, client } = await setup(t, { control: await FakeControl.start({ quiet: true }), clock });
  const stream = await control.streams.take();
  await stream.request(authorization);
  t.equal(client.state().connected, false);
  await clock.advance(1_000);
  t.equal(client.state().connected, true);
});

t.test('streams that end soon are made anew ever later, and one that lasted at once', async t => {
  const clock = new FakeClock();
  const lines: { level: number; ms?: number }[] = [];
  const log = pino(
    { level: 'debug' },
    { write: (line: string) => lines.push(JSON.parse(line) as { level: number }) },
  );
  const { control, client } = await setup(t, { clock, log, random: () => 1 });
  const endNext = async (lifeMs: number): Promise<void> => {
    const stream = await control.streams.take();
    await connected(client);
    await clock.advance(lifeMs);
    stream.end();
    await eventually(() => !client.state().connected);
    await clock.advance(100);
  };
  for (const lifeMs of [0, 0, 14_999, 15_000, 0]) await endNext(lifeMs);
  const ends = lines.filter(({ ms }) => ms !== undefined);
  t.strictSame(
    ends.map(({ ms }) => ms),
    [10, 20, 40, 10, 20],
  );
  t.strictSame(
    ends.map(({ level }) => log.levels.labels[level]),
    ['warn', 'warn', 'warn', 'info', 'warn'],
  );
});

t.test('the same trouble is said once', async t => {
  const gone = await FakeControl.start();
  gone.stop();
  const lines: { level: number }[] = [];
  const log = pino(
    { level: 'info' },
    { write: (line: string) => lines.push(JSON.parse(line) as { level: number }) },
  );
  const { client } = await setup(t, { control: gone, log });
  await eventually(() => client.counters().connections > 3);
  t.equal(lines.length, 1);
});

t.test('a client that starts before its control plane waits for it', async t => {
  const gone = await FakeControl.start();
  gone.stop();
  const { client } = await setup(t, { control: gone });
  await lastError(client, 'CONTROL_UNREACHABLE');
  t.equal(client.state().synced, false);
  const control = await FakeControl.start({ port: gone.port, root: gone.root });
  t.teardown(() => control.stop());
  await control.streams.take();
});

t.test('a message that cannot be read ends the stream and not the state', async t => {
  const { control, client, updates } = await setup(t);
  const stream = await control.streams.take();
  stream.send({ typeUrl: address, nonce: '1', resources: [webResource] });
  await updates.take();
  stream.sendRaw(Buffer.from([0xff, 0xff, 0xff]));
  const next = await control.streams.take();
  t.strictSame({ ...(await next.request(address)).initialResourceVersions }, { [web.uid]: '1' });
  t.equal(client.state().types.address?.synced, true);
  t.equal(updates.left.length, 0);
});

t.test('a type the server does not know stays unsynced and disturbs no other', async t => {
  const { control, client, updates } = await setup(t, { subscriptions: ['settings', 'address', 'nodePod'] });
  const stream = await control.streams.take();
  await stream.request(nodePod);
  stream.send({ typeUrl: 'type.googleapis.com/of.another', nonce: '0', resources: [{ name: 'x' }] });
  stream.send({ typeUrl: authorization, nonce: '0', resources: [{ name: 'x' }] });
  stream.send({ typeUrl: address, nonce: '1', resources: [webResource] });
  t.match(await updates.take(), { type: 'address' });
  t.match(client.state().types, { settings: { synced: false }, address: { synced: true } });
  t.equal(client.state().synced, false);
});

t.test('the token of the file as it is now goes with every stream', async t => {
  const { control, client, tokenPath } = await setup(t);
  const stream = await control.streams.take();
  t.strictSame(stream.metadata.get('authorization'), ['Bearer first']);
  writeFileSync(tokenPath, 'second');
  stream.end();
  t.strictSame((await control.streams.take()).metadata.get('authorization'), ['Bearer second']);
  t.equal(client.counters().terminations.ended, 1);
});

t.test('without a token the control plane is not asked, until there is one', async t => {
  const { control, client, tokenPath } = await setup(t, { start: false });
  writeFileSync(tokenPath, '');
  client.start();
  const error = await lastError(client, 'CONTROL_TOKEN');
  t.match(error, { message: /is empty or no token/, fix: /token volume/ });
  t.equal(control.streams.left.length, 0);
  writeFileSync(tokenPath, 'second');
  t.strictSame((await control.streams.take()).metadata.get('authorization'), ['Bearer second']);
});

t.test('a server that refuses the token is named with what to check', async t => {
  const { control, client } = await setup(t, { control: await FakeControl.start({ quiet: true }) });
  (await control.streams.take()).fail(status.UNAUTHENTICATED, 'token expired');
  t.match(await lastError(client, 'CONTROL_UNAUTHENTICATED'), {
    message: /does not believe who this is: token expired/,
    fix: /audience/,
    side: 'server',
  });
});

t.test('a server of another root is not trusted, until the file has its root', async t => {
  const { control, client, rootPath } = await setup(t, { start: false });
  writeFileSync(rootPath, makeRoot().pem);
  client.start();
  t.match(await lastError(client, 'CONTROL_UNTRUSTED'), { fix: /root\.pem has the root/ });
  t.equal(control.streams.left.length, 0);
  writeFileSync(rootPath, `${makeRoot().pem}${control.root.pem}`);
  await control.streams.take();
});

t.test('a server of another name is not trusted', async t => {
  const { control, client } = await setup(t, { control: await FakeControl.start({ name: 'other.test' }) });
  t.match(await lastError(client, 'CONTROL_UNTRUSTED'), { fix: /the name control\.test/ });
  t.equal(control.streams.left.length, 0);
});

t.test('without roots there is no connection', async t => {
  const { control, client, rootPath } = await setup(t, { start: false });
  writeFileSync(rootPath, '');
  client.start();
  for (const text of ['', 'nothing', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n']) {
    writeFileSync(rootPath, text);
    const { connections } = client.counters();
    await eventually(() => client.counters().connections > connections + 1);
    t.match(client.state().lastError, { code: 'CONTROL_ROOT', fix: /root\.pem/ });
  }
  t.equal(control.streams.left.length, 0);
  writeFileSync(rootPath, control.root.pem);
  await control.streams.take();
});

t.test('a server that takes connections and says nothing is given up on, with its connections', async t => {
  const { root } = await FakeControl.start().then(control => (control.stop(), control));
  const { certificatePem, privateKeyPem } = makeOddCertificate(root, { names: [[2, serverName]] });
  const silent = { ALPNProtocols: ['h2'], cert: certificatePem, key: privateKeyPem };
  for (const [stage, mute, event] of [
    ['TLS', createServer(), 'connection'],
    ['HTTP/2', createTlsServer(silent), 'secureConnection'],
  ] as const) {
    const open = new Set<Socket>();
    mute.on(event, (socket: Socket) => {
      open.add(
        socket
          .on('error', () => {})
          .on('close', () => open.delete(socket))
          .resume(),
      );
    });
    await new Promise<void>(resolve => mute.listen(0, '127.0.0.1', resolve));
    t.teardown(() => mute.close());
    const control = await FakeControl.start({ root });
    const { client } = await setup(t, {
      control,
      connectTimeoutMs: 100,
      endpoint: control.endpoint({
        address: `127.0.0.1:${(mute.address() as AddressInfo).port}`,
        rootPath: join(t.testdir({ 'root.pem': root.pem }), 'root.pem'),
      }),
    });
    t.match(await lastError(client, 'CONTROL_TIMEOUT'), { message: /in 100 ms/ }, stage);
    await eventually(() => client.counters().terminations.unconnected >= 2);
    client.close();
    await eventually(() => open.size === 0);
  }
});

t.test('an address that is none is an error that says so', async t => {
  const control = await FakeControl.start();
  const endpoint = control.endpoint({ address: 'nowhere', rootPath: null });
  const { client } = await setup(t, { control, endpoint });
  t.match(await lastError(client, 'CONTROL_ADDRESS'), { message: /"nowhere" is not host:port/ });
});

t.test('a closed client is silent, and its server sees that it went', async t => {
  const { control, client, updates, states } = await setup(t);
  const stream = await control.streams.take();
  await stream.request(address);
  const before = states.length;
  stream.send({ typeUrl: address, nonce: '1', resources: [webResource] });
  client.close();
  await stream.ended;
  t.equal(updates.left.length, 0);
  t.equal(states.length, before);
  t.equal(client.state().connected, false);
  client.start();
  t.equal(client.counters().connections, 1);
});

const onDemand = { onDemand: true, subscriptions: ['address' as ResourceType] };
const { signal: never } = new AbortController();

t.test('on demand nothing is asked for until somebody wants it', async t => {
  const { control, client } = await setup(t, onDemand);
  const stream = await control.streams.take();
  const first = await stream.request(address);
  t.strictSame(first.resourceNamesSubscribe, ['*']);
  t.strictSame(first.resourceNamesUnsubscribe, ['*']);
  t.equal(client.state().synced, true);
});

t.test('on demand a name is answered when what it stands for is in force, or is nothing', async t => {
  const { control, client, updates } = await setup(t, onDemand);
  const stream = await control.streams.take();
  await stream.request(address);
  await connected(client);
  const answers = Promise.all([
    client.want('/10.0.0.1', never),
    client.want('/10.0.0.1', never),
    client.want('/10.9.9.9', never),
    client.want('/10.0.0.2', never),
  ]);
  t.strictSame((await stream.request(address)).resourceNamesSubscribe, [
    '/10.0.0.1',
    '/10.9.9.9',
    '/10.0.0.2',
  ]);
  stream.send({
    typeUrl: address,
    nonce: '1',
    resources: [
      { ...webResource, aliases: ['/10.0.0.1'] },
      resource(address, cart.uid, Buffer.from([0xff]), '1', ['/10.0.0.2']),
    ],
    removedResources: ['/10.9.9.9'],
  });
  t.strictSame(await answers, ['found', 'found', 'missing', 'missing']);
  t.strictSame((await updates.take()).delta.workloads, [web]);
  t.equal(await client.want('/10.0.0.1', never), 'found');
  t.equal(
    stream.requests.left.filter(({ resourceNamesSubscribe }) => resourceNamesSubscribe.length > 0).length,
    0,
  );
});

t.test('on demand what is not answered yet is asked for again on the next stream', async t => {
  const { control, client } = await setup(t, onDemand);
  const stream = await control.streams.take();
  await stream.request(address);
  const waiting = client.want('/10.0.0.1', never);
  stream.end();
  const next = await control.streams.take();
  const again = await next.request(address);
  t.strictSame(again.resourceNamesSubscribe, ['*', '/10.0.0.1']);
  t.strictSame({ ...again.initialResourceVersions }, { '/10.0.0.1': '' });
  next.send({ typeUrl: address, nonce: '1', resources: [{ ...webResource, aliases: ['/10.0.0.1'] }] });
  t.equal(await waiting, 'found');
});

t.test('on demand a name that nobody waits for any more is given up', async t => {
  const { control, client } = await setup(t, onDemand);
  const stream = await control.streams.take();
  await stream.request(address);
  const abort = new AbortController();
  const given = [client.want('/10.0.0.1', abort.signal), client.want('/10.0.0.2', abort.signal)];
  const waiting = client.want('/10.0.0.2', never);
  t.strictSame((await stream.request(address)).resourceNamesSubscribe, ['/10.0.0.1', '/10.0.0.2']);
  abort.abort(new Error('enough'));
  for (const promise of given) await t.rejects(promise, { message: 'enough' });
  t.strictSame((await stream.request(address)).resourceNamesUnsubscribe, ['/10.0.0.1']);
  await t.rejects(client.want('/10.0.0.3', abort.signal), { message: 'enough' });
  stream.send({ typeUrl: address, nonce: '1', removedResources: ['/10.0.0.2'] });
  t.equal(await waiting, 'missing');
});

t.test('a client that has everything is not asked for names', async t => {
  const { client } = await setup(t, { start: false });
  await t.rejects(client.want('/10.0.0.1', never), /has everything/);
});

t.test('on demand the names that nothing has are given up from the oldest on', async t => {
  const { control, client } = await setup(t, { ...onDemand, maxMissingNames: 2 });
  const stream = await control.streams.take();
  await stream.request(address);
  const scanned = ['/10.0.0.1', '/10.0.0.2', '/10.0.0.3'];
  const answers = Promise.all(scanned.map(name => client.want(name, never)));
  await stream.request(address);
  stream.send({ typeUrl: address, nonce: '1', removedResources: scanned });
  t.strictSame(await answers, ['missing', 'missing', 'missing']);
  t.equal((await stream.request(address)).responseNonce, '1');
  t.strictSame((await stream.request(address)).resourceNamesUnsubscribe, ['/10.0.0.1']);
});
