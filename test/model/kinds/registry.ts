import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isKindName, kinds } from '../../../model/kinds/registry.ts';
import { parseFile } from '../../help/configuration.ts';

const output = readFileSync(join(import.meta.dirname, 'kubectl-output.yaml'), 'utf8');

t.test('what kubectl prints passes in silence, and what is read of it is kept', async t => {
  const { objects, findings } = parseFile(output, 'cluster.yaml');
  t.same(findings, []);
  const [namespace, node, account, pod, service, slice] = objects;
  t.equal(objects.length, 6);
  t.match(namespace, {
    kind: 'Namespace',
    name: 'shop',
    value: { metadata: { labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  });
  t.match(node, { kind: 'Node', namespace: '', name: 'node-1' });
  t.match(account, { kind: 'ServiceAccount', namespace: 'shop', name: 'web' });
  t.match(pod?.value, {
    metadata: {
      uid: '1f8f7a9e-6b1d-4c65-9d7d-0a1b2c3d4e5f',
      ownerReferences: [{ kind: 'ReplicaSet', controller: true }],
    },
    spec: {
      nodeName: 'node-1',
      serviceAccountName: 'web',
      hostNetwork: false,
      containers: [{ ports: [{ name: 'http' }] }],
    },
    status: { phase: 'Running', podIPs: [{ ip: '10.244.1.7' }, { ip: 'fd00:10:244:1::7' }] },
  });
  t.match(service?.value, {
    spec: {
      clusterIPs: ['10.96.14.2', 'fd00:10:96::e02'],
      ports: [{ targetPort: 'http' }, { protocol: 'UDP' }],
    },
    status: { loadBalancer: { ingress: [{ ip: '203.0.113.7' }, {}] } },
  });
  t.match(slice?.value, {
    addressType: 'IPv4',
    endpoints: [{ targetRef: { kind: 'Pod' } }],
    ports: [{ port: 8080 }],
  });
});

t.test('what nobody reads is not kept', async t => {
  const pod = parseFile(output, 'cluster.yaml').objects.find(({ kind }) => kind === 'Pod');
  t.same(Object.keys(pod?.value ?? {}).toSorted(), ['metadata', 'spec', 'status']);
  t.notOk('managedFields' in (pod?.value.metadata ?? {}));
  t.same(pod?.value.metadata.annotations, { 'culvert.dev/netns': '/run/netns/cni-1' });
  t.notMatch(JSON.stringify(pod?.value), /volumes|containerStatuses|cni\.projectcalico/);
});

t.test('addresses become canonical on the way in', async t => {
  const pod = kinds.Pod.schema.parse({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web' },
    spec: {},
    status: { podIP: '::ffff:10.0.0.1', podIPs: [{ ip: 'FD00:0::1' }] },
  });
  t.match(pod.status, { podIP: '10.0.0.1', podIPs: [{ ip: 'fd00::1' }] });
  const slice = kinds.EndpointSlice.schema.parse({
    metadata: { name: 'web' },
    addressType: 'IPv6',
    endpoints: [{ addresses: ['FD00:0::2'] }],
  });
  t.same(slice.endpoints[0]?.addresses, ['fd00::2']);
  const names = {
    metadata: { name: 'web' },
    addressType: 'FQDN',
    endpoints: [{ addresses: ['db.example'] }],
  };
  t.ok(kinds.EndpointSlice.schema.safeParse(names).success, 'names are not addresses');
  t.notOk(kinds.EndpointSlice.schema.safeParse({ ...names, addressType: 'IPv4' }).success);
});

t.test('both spellings of the policy kinds are read', async t => {
  for (const apiVersion of ['culvert.dev/v1', 'security.istio.io/v1', 'security.istio.io/v1beta1']) {
    for (const kind of ['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication']) {
      const text = `{apiVersion: ${apiVersion}, kind: ${kind}, metadata: {name: a, namespace: b}, spec: {}, status: {conditions: []}}`;
      t.match(parseFile(text, 'a.yaml'), { refused: false, objects: [{ kind, namespace: 'b', name: 'a' }] });
    }
  }
});

t.test('names of Object.prototype are no kinds', async t => {
  t.notOk(isKindName('constructor'));
  t.notOk(isKindName('__proto__'));
  t.ok(isKindName('Pod'));
});
