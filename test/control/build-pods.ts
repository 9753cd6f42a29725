import t from 'tap';
import { brief, configured, pod } from '../help/configuration.ts';

const addressesOf = (text: string): Record<string, readonly string[]> =>
  Object.fromEntries(configured(text).mesh.workloads.map(({ name, addresses }) => [name, addresses]));

const leaving = { deletionTimestamp: '2026-11-21T08:00:00Z' };

t.test('an address leads to one pod only, the first in the file; both keep their identity', async t => {
  const text = pod({ name: 'b', ip: '10.0.0.1' }) + pod({ name: 'a', ip: '10.0.0.1' });
  t.same(addressesOf(text), { a: [], b: ['10.0.0.1'] });
  const { enrolments, findings } = configured(text);
  t.same(brief(findings), ['error address-conflict 3 status.podIP']);
  t.match(findings[0], {
    object: 'Pod shop/a',
    message: /10\.0\.0\.1 is the address of Pod shop\/b already/,
  });
  t.match(enrolments, [
    { workloadUid: /a$/, addresses: ['10.0.0.1'] },
    { workloadUid: /b$/, addresses: ['10.0.0.1'] },
  ]);
});

t.test('files come in the order of their names', async t => {
  const result = configured({ '2.yaml': pod({ name: 'a' }), '1.yaml': pod({ name: 'b' }) });
  t.match(result.findings, [{ code: 'address-conflict', object: 'Pod shop/a', file: '2.yaml' }]);
});

t.test('a pod that goes away yields its address, one that has ended has none', async t => {
  const going = pod({ name: 'old', metadata: leaving });
  t.same(addressesOf(going + pod({ name: 'new' })), { new: ['10.0.0.1'], old: [] });
  const ended = pod({ name: 'old', status: { phase: 'Failed' } });
  const { mesh, findings } = configured(ended + pod({ name: 'new' }));
  t.same(
    mesh.workloads.map(({ name }) => name),
    ['new'],
  );
  t.same(findings, []);
});

t.test('only one of two addresses may be taken', async t => {
  const dual = pod({
    name: 'b',
    ip: '10.0.0.2',
    status: { podIPs: [{ ip: '10.0.0.2' }, { ip: 'fd00::1' }] },
  });
  t.same(addressesOf(pod({ name: 'a', ip: 'FD00:0::1' }) + dual), { a: ['fd00::1'], b: ['10.0.0.2'] });
});

t.test('pods in the network of their node share its address without conflict', async t => {
  const host = (name: string): string =>
    pod({ name, ip: '172.18.0.3', metadata: { labels: {} }, spec: { hostNetwork: true } });
  const text = host('a') + host('b');
  t.same(addressesOf(text), { a: ['172.18.0.3'], b: ['172.18.0.3'] });
  t.same(configured(text).findings, []);
  t.match(configured(text).mesh.workloads, [
    { networkMode: 'HOST_NETWORK' },
    { networkMode: 'HOST_NETWORK' },
  ]);
});

t.test('a network namespace that two pods claim gives neither an identity', async t => {
  const shared = { 'culvert.dev/netns': '/run/netns/shared' };
  const a = pod({ name: 'a', annotations: shared });
  const b = pod({ name: 'b', ip: '10.0.0.2', annotations: shared });
  const { enrolments, mesh, findings } = configured(a + b);
  t.same(enrolments, []);
  t.match(mesh.workloads, [{ tunnelProtocol: 'NONE' }, { tunnelProtocol: 'NONE' }]);
  t.same(brief(findings), [
    'error netns-conflict 1 metadata.annotations["culvert.dev/netns"]',
    'error netns-conflict 3 metadata.annotations["culvert.dev/netns"]',
  ]);
  t.match(findings, [
    { message: /Pod shop\/b claims .*\/run\/netns\/shared too/ },
    { message: /Pod shop\/a claims/ },
  ]);
});

t.test('the same path on another node, or of a pod that goes away, is another matter', async t => {
  const shared = { 'culvert.dev/netns': '/run/netns/shared' };
  const a = pod({ name: 'a', annotations: shared });
  const elsewhere = pod({ name: 'b', ip: '10.0.0.2', annotations: shared, spec: { nodeName: 'node-2' } });
  t.equal(configured(a + elsewhere).enrolments.length, 2);
  const going = pod({ name: 'b', ip: '10.0.0.2', annotations: shared, metadata: leaving });
  const { enrolments, findings } = configured(a + going);
  t.match(enrolments, [{ workloadUid: /a$/ }]);
  t.match(findings, [{ code: 'netns-conflict', object: 'Pod shop/b' }]);
});

t.test('a uid that two pods have is that of the first', async t => {
  const { enrolments, findings } = configured(
    pod({ name: 'a', metadata: { uid: 'u' } }) + pod({ name: 'b', ip: '10.0.0.2', metadata: { uid: 'u' } }),
  );
  t.same(
    enrolments.map(({ podUid }) => podUid),
    ['u', 'Kubernetes//Pod/shop/b'],
  );
  t.same(brief(findings), ['warning duplicate-uid 3 metadata.uid']);
});
