import t from 'tap';
import { servedTypes } from '../../control/ads-types.ts';
import { offersOf } from '../../control/encode.ts';
import { KeyedFeed } from '../../control/keyed-feed.ts';
import { ResourceStore } from '../../control/resources.ts';
import { emptyMesh } from '../../model/mesh.ts';
import { workloadKey } from '../../model/workload.ts';
import { decodeAddress, resourceTypes } from '../../xds/codec.ts';
import { service, workload } from '../model/objects.ts';
import { decodeFrames } from './wire.ts';

const none = { l7: [], settings: null, nodePods: { set: [], removed: [] } };

t.test('what is offered can be asked for in every way there is', async t => {
  const store = new ResourceStore(servedTypes.map(({ typeUrl }) => typeUrl));
  const shop = service('shop', { addresses: [{ network: 'net', address: '10.96.0.1' }] });
  const key = `${shop.namespace}/${shop.hostname}`;
  const one = workload('one', {
    node: 'n1',
    network: 'net',
    addresses: ['10.0.0.1'],
    services: { [key]: [] },
  });
  const two = workload('two', { node: 'n2', network: 'net', addresses: ['10.0.0.2'], services: {} });
  const host = workload('host', {
    node: 'n3',
    network: 'net',
    addresses: ['192.168.0.3'],
    networkMode: 'HOST_NETWORK',
    services: {},
  });
  const mesh = { ...emptyMesh, services: [shop], workloads: [one, two, host] };
  t.equal(store.apply(offersOf({ mesh, ...none })), 4);
  t.equal(store.apply(offersOf({ mesh, ...none })), 0, 'the same again is no change');
  const collection = store.collection(resourceTypes.address);
  if (collection === null) throw new Error('no addresses');
  const asking = (node: string | null, ...names: string[]): string[] => {
    const feed = new KeyedFeed(collection, { node, confined: false, known: new Map() });
    feed.ask(names);
    const resources = decodeFrames(feed.take(Infinity).frames);
    for (const { name, value } of resources) t.equal(decodeAddress(value).name, name);
    return resources.map(({ name }) => name).sort();
  };
  t.same(asking(null, 'net/10.96.0.1'), [workloadKey(one), key].sort(), 'a service with its endpoints');
  t.same(asking(null, key), [workloadKey(one), key].sort());
  t.same(asking(null, 'net/10.0.0.2'), [workloadKey(two)]);
  t.same(asking(null, workloadKey(two)), [workloadKey(two)]);
  t.same(asking('n2'), [workloadKey(two)], 'what is on the node of the client comes unasked');
  t.same(asking(null, 'net/192.168.0.3'), [], 'an address of a host is nobody');
});
