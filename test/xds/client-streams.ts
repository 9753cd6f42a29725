/** How a client keeps its stream: servers that come, go, refuse, are silent or are others than they should be. */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { pino } from 'pino';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import { FakeClock } from '../tunnel/fake-clock.ts';
import { makeOddCertificate, makeRoot } from '../tunnel/pki.ts';
import { FakeControl, serverName, status } from './fake-control.ts';
import {
  address,
  authorization,
  nodePod,
  node,
  resource,
  web,
  cart,
  webResource,
  shopResource,
  setup,
  lastError,
  connected,
  cartResource,
} from './client-world.ts';

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
