/** `culvert waypoint apply|list|status|delete`, as a process against the small API server. */
import t, { type Test } from 'tap';
import { FakeApi } from '../control/cluster/fake-api.ts';
import { culvert as run, type Said } from '../help/culvert.ts';

const gatewayApi = 'gateway.networking.k8s.io/v1';
const use = 'culvert.dev/use-waypoint';

async function cluster(t: Test) {
  const fake = await FakeApi.start();
  t.teardown(() => fake[Symbol.asyncDispose]());
  fake.serve(gatewayApi, 'Gateway', 'gateways', true);
  fake.put('namespaces', { metadata: { name: 'shop' } });
  const kubeconfig = fake.kubeconfig(t.testdir({}));
  const culvert = (...args: string[]): Promise<Said> =>
    run('waypoint', ...args, `--kubeconfig=${kubeconfig}`);
  return { fake, culvert };
}

/** What a control plane says of a Gateway. */
function judge(fake: FakeApi, name: string, programmed: 'True' | 'False'): void {
  const gateway = fake.get('gateways', 'shop', name);
  if (gateway === undefined) throw new Error(`no Gateway ${name}`);
  const condition = (type: string, status: string, message: string): object => ({
    type,
    status,
    reason: status === 'True' ? type : 'Pending',
    message,
  });
  fake.put('gateways', {
    ...gateway,
    status: {
      conditions: [
        condition('Accepted', 'True', 'a waypoint'),
        condition('Programmed', programmed, 'none of its pods is ready'),
      ],
      addresses: [
        { type: 'Hostname', value: 'waypoint.shop.svc.cluster.local' },
        { type: 'IPAddress', value: '10.96.0.9' },
      ],
    },
  });
}

t.test('a waypoint is made, used, seen and deleted', async t => {
  const { fake, culvert } = await cluster(t);
  const made = await culvert('apply', '-n', 'shop', '--for=all', '--enroll-namespace');
  t.equal(made.code, 0, made.stderr);
  t.match(made.stdout, /created +Gateway shop\/waypoint\nchanged +Namespace shop\n/);
  t.match(fake.get('gateways', 'shop', 'waypoint'), {
    metadata: { labels: { 'culvert.dev/waypoint-for': 'all' } },
    spec: { gatewayClassName: 'culvert-waypoint', listeners: [{ port: 15008, protocol: 'HBONE' }] },
  });
  t.match(fake.get('namespaces', undefined, 'shop')?.metadata.labels, { [use]: 'waypoint' });

  const unknown = await culvert('status', '-n', 'shop');
  t.equal(unknown.code, 1);
  t.match(unknown.stdout, /no control plane has looked at it/);
  judge(fake, 'waypoint', 'False');
  const waiting = await culvert('status', 'waypoint', '-n', 'shop', '--wait', '--timeout=1s');
  t.equal(waiting.code, 1);
  t.match(waiting.stderr, /none of its pods is ready/);
  judge(fake, 'waypoint', 'True');
  t.equal((await culvert('status', '-A', '--wait')).code, 0);
  t.equal((await culvert('status', 'other', '-n', 'shop')).code, 1);

  fake.put('services', { metadata: { namespace: 'shop', name: 'web', labels: { [use]: 'waypoint' } } });
  const { stdout } = await culvert('list', '-A');
  t.match(
    stdout,
    /^NAMESPACE +NAME +FOR +ADDRESS +PROGRAMMED +USED BY\nshop +waypoint +all +10.96.0.9 +yes +2\n$/,
  );
  t.match(JSON.parse((await culvert('list', '-n', 'shop', '-o', 'json')).stdout), [
    { name: 'waypoint', programmed: true },
  ]);

  const gone = await culvert('delete', 'waypoint', '-n', 'shop');
  t.equal(gone.code, 0);
  t.match(gone.stderr, /Namespace shop still asks for it[^]*Service shop\/web still asks for it/);
  t.equal(fake.get('gateways', 'shop', 'waypoint'), undefined);
  t.equal((await culvert('delete', 'waypoint', '-n', 'shop')).code, 1);
  t.equal((await culvert('list', '-A')).stdout, 'no waypoints\n');
});

t.test('what belongs to something else is not taken', async t => {
  const { fake, culvert } = await cluster(t);
  fake.put('gateways', {
    metadata: { namespace: 'shop', name: 'edge' },
    spec: { gatewayClassName: 'nginx', listeners: [] },
  });
  const taken = await culvert('apply', '-n', 'shop', '--name=edge');
  t.equal(taken.code, 64);
  t.match(taken.stderr, /WAYPOINT_TAKEN.*class nginx/);
  fake.put('namespaces', { metadata: { name: 'shop', labels: { [use]: 'other' } } });
  const enrolled = await culvert('apply', '-n', 'shop', '--enroll-namespace');
  t.equal(enrolled.code, 64);
  t.equal(fake.get('gateways', 'shop', 'waypoint'), undefined, 'nothing was begun');
  t.equal((await culvert('apply', '-n', 'shop', '--enroll-namespace', '--overwrite')).code, 0);
  t.match(fake.get('namespaces', undefined, 'shop')?.metadata.labels, { [use]: 'waypoint' });
  t.equal((await culvert('delete', '-n', 'shop')).code, 64, 'nothing was named');
});

t.test('a cluster without Gateway API', async t => {
  const { fake, culvert } = await cluster(t);
  fake.unserve(gatewayApi, 'gateways');
  const { code, stderr } = await culvert('apply', '-n', 'shop');
  t.equal(code, 64);
  t.match(stderr, /GATEWAY_API_MISSING/);
  t.equal((await culvert('list', '-A')).stdout, 'no waypoints\n');
});
