import t from 'tap';
import { podUid, selects, workloadIdentity, workloadKey } from '../../model/workload.ts';
import { service, workload } from './objects.ts';
import { serviceKey } from '../../model/service.ts';

t.test('names of workloads and services', async t => {
  const web = workload('web', { trustDomain: 'td', serviceAccount: 'front' });
  t.equal(web.uid, 'Kubernetes//Pod/shop/web');
  t.equal(podUid('c1', 'a', 'b'), 'c1//Pod/a/b');
  t.equal(workloadKey(web), web.uid);
  t.equal(workloadIdentity(web), 'spiffe://td/ns/shop/sa/front');
  t.equal(serviceKey(service('web')), 'shop/web.shop.svc.cluster.local');
});

t.test('a selector chooses what has all its labels', async t => {
  t.equal(selects({}, {}), true);
  t.equal(selects({ a: '1' }, { a: '1', b: '2' }), true);
  t.equal(selects({ a: '1', b: '2' }, { a: '1' }), false);
  t.equal(selects({ a: '1' }, { a: '2' }), false);
  t.equal(selects({ a: '' }, {}), false, 'an empty value is not an absent label');
  t.equal(selects({ toString: '' }, {}), false, 'only its own labels count');
});
