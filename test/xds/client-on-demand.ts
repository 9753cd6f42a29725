/** A client that asks for single names, when somebody wants them. */
import t from 'tap';
import type { ResourceType } from '../../xds/codec.ts';
import { encodeWorkload } from '../../xds/codec.ts';
import { partMark } from '../../xds/parts.ts';
import { workload } from '../model/objects.ts';
import { address, resource, web, cart, cartResource, setup, connected, webResource } from './client-world.ts';

const onDemand = { onDemand: true, subscriptions: ['address' as ResourceType] };
const { signal: never } = new AbortController();
const other = workload('other', { addresses: ['10.0.0.3'] });

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

t.test(
  'on demand, with too many names everything is asked for, and what is not told then is nothing',
  async t => {
    const { control, client, updates } = await setup(t, { ...onDemand, maxNames: 2 });
    const stream = await control.streams.take();
    await stream.request(address);
    const first = client.want('/10.0.0.1', never);
    t.strictSame((await stream.request(address)).resourceNamesSubscribe, ['/10.0.0.1']);
    stream.send({ typeUrl: address, nonce: '1', resources: [{ ...webResource, aliases: ['/10.0.0.1'] }] });
    t.equal(await first, 'found');

    const answers = Promise.all(['/10.0.0.2', '/10.9.9.9'].map(name => client.want(name, never)));
    const next = await control.streams.take();
    const whole = await next.request(address);
    t.strictSame(whole.resourceNamesSubscribe, ['*']);
    t.strictSame(whole.resourceNamesUnsubscribe, []);
    t.strictSame({ ...whole.initialResourceVersions }, { [web.uid]: '1' }, 'without what it has');
    const part = { typeUrl: address, systemVersionInfo: partMark };
    next.send({ ...part, nonce: '1', resources: [resource(address, other.uid, encodeWorkload(other))] });
    next.send({ typeUrl: address, nonce: '2', resources: [{ ...cartResource, aliases: ['/10.0.0.2'] }] });
    t.strictSame(await answers, ['found', 'missing']);
    t.strictSame((await updates.take()).delta.workloads, [web]);
    t.equal(await client.want('/10.8.8.8', never), 'missing', 'at once: what there is is known');

    next.end();
    const last = await control.streams.take();
    const again = await last.request(address);
    t.strictSame(again.resourceNamesSubscribe, ['*'], 'and it stays so');
    t.equal(Object.keys(again.initialResourceVersions).length, 3);
  },
);
