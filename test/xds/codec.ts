import { strict as assert } from 'node:assert';
import * as fc from 'fast-check';
import t from 'tap';
import { CulvertError } from '../../base/errors.ts';
import { serviceKey } from '../../model/service.ts';
import { protocols } from '../../proto/load.ts';
import {
  addressNames,
  decodeAddress,
  decodeAuthorization,
  decodeNodePod,
  decodeSettings,
  encodeAuthorization,
  encodeNodePod,
  encodeService,
  encodeSettings,
  encodeWorkload,
  resourceTypes,
} from '../../xds/codec.ts';
import { service, workload } from '../model/objects.ts';
import { bytes, fields, message, packed, text, varint } from '../proto/bytes.ts';
import * as any from './arbitrary.ts';

t.test('types have the URLs of the public APIs', async t => {
  t.strictSame(resourceTypes, {
    address: 'type.googleapis.com/istio.workload.Address',
    authorization: 'type.googleapis.com/istio.security.Authorization',
    settings: 'type.googleapis.com/culvert.mesh.v1.Settings',
    nodePod: 'type.googleapis.com/culvert.mesh.v1.NodePod',
    waypointResource: 'type.googleapis.com/culvert.mesh.v1.WaypointResource',
    waypointCredential: 'type.googleapis.com/culvert.mesh.v1.WaypointCredential',
  });
});

t.test('what was encoded is decoded as it was, under its name', async () => {
  fc.assert(
    fc.property(any.workload, workload => {
      const { value, name, problem } = decodeAddress(encodeWorkload(workload));
      assert.deepEqual([value, name, problem], [{ kind: 'workload', workload }, workload.uid, null]);
    }),
  );
  fc.assert(
    fc.property(any.service, service => {
      const { value, name, problem } = decodeAddress(encodeService(service));
      assert.deepEqual([value, name, problem], [{ kind: 'service', service }, serviceKey(service), null]);
    }),
  );
  fc.assert(
    fc.property(any.authorization, policy => {
      const { value, name, problem } = decodeAuthorization(encodeAuthorization(policy));
      assert.deepEqual([value, name, problem], [policy, `${policy.namespace}/${policy.name}`, null]);
    }),
  );
  fc.assert(
    fc.property(any.settings, settings => {
      assert.deepEqual(decodeSettings(encodeSettings(settings)), {
        value: settings,
        name: 'mesh',
        problem: null,
      });
    }),
  );
  fc.assert(
    fc.property(any.nodePod, pod => {
      assert.deepEqual(decodeNodePod(encodeNodePod(pod)), { value: pod, name: pod.podUid, problem: null });
    }),
  );
});

t.test('arbitrary bytes are decoded or refused, with an error that says so', async () => {
  const decoders = [decodeAddress, decodeAuthorization, decodeSettings, decodeNodePod];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.constantFrom(...decoders), (garbage, decode) => {
      try {
        decode(Buffer.from(garbage));
      } catch (thrown) {
        assert.equal(thrown instanceof CulvertError && thrown.code, 'XDS_RESOURCE_INVALID');
      }
    }),
    { numRuns: 2_000 },
  );
});

t.test('a workload has the field numbers of the public API', async t => {
  const given = workload('web', {
    uid: 'c//Pod/shop/web',
    addresses: ['10.0.0.1', 'fd00::1'],
    network: 'east',
    trustDomain: 'mesh.example',
    serviceAccount: 'cart',
    node: 'n1',
    clusterId: 'c',
    hostname: 'h',
    canonicalName: 'cn',
    canonicalRevision: 'cr',
    workloadName: 'wn',
    workloadType: 'job',
    tunnelProtocol: 'HBONE',
    networkMode: 'HOST_NETWORK',
    status: 'UNHEALTHY',
    services: { 'shop/web': [{ servicePort: 80, targetPort: 8080, appProtocol: 'GRPC' }] },
    authorizationPolicies: ['shop/p'],
    waypoint: { destination: { kind: 'hostname', namespace: 'shop', hostname: 'wp' }, hboneMtlsPort: 15_008 },
    locality: { region: 'r', zone: 'z', subzone: 's' },
    capacity: 7,
  });
  const expected = message(
    1,
    text(1, 'web'),
    text(2, 'shop'),
    bytes(3, Buffer.from([10, 0, 0, 1])),
    bytes(3, Buffer.from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
    text(4, 'east'),
    varint(5, 1),
    text(6, 'mesh.example'),
    text(7, 'cart'),
    message(8, message(1, text(1, 'shop'), text(2, 'wp')), varint(3, 15_008)),
    text(9, 'n1'),
    text(10, 'cn'),
    text(11, 'cr'),
    varint(12, 3),
    text(13, 'wn'),
    text(16, 'shop/p'),
    varint(17, 1),
    text(18, 'c'),
    text(20, 'c//Pod/shop/web'),
    text(21, 'h'),
    message(22, text(1, 'shop/web'), message(2, message(1, varint(1, 80), varint(2, 8080), varint(3, 3)))),
    message(24, text(1, 'r'), text(2, 'z'), text(3, 's')),
    varint(25, 1),
    message(27, varint(1, 7)),
  );
  t.equal(encodeWorkload(given).toString('hex'), expected.toString('hex'));
  t.strictSame(decodeAddress(expected).value, { kind: 'workload', workload: given });
});

t.test('a service has the field numbers of the public API', async t => {
  const given = service('web', {
    hostname: 'h',
    addresses: [
      { network: 'east', address: '10.0.0.1' },
      { network: '', address: '10.1.0.0/16' },
    ],
    ports: [{ servicePort: 80, targetPort: 8080, appProtocol: 'TLS' }],
    subjectAltNames: ['spiffe://x'],
    waypoint: { destination: { kind: 'address', network: 'east', address: '10.0.0.9' }, hboneMtlsPort: 1 },
    loadBalancing: { routingPreference: ['NETWORK', 'ZONE'], mode: 'FAILOVER', healthPolicy: 'ALLOW_ALL' },
    ipFamilies: 'IPV6_ONLY',
    canonical: true,
    visibility: 'NAMESPACE',
    sessionAffinityMs: 10_000,
  });
  const expected = message(
    2,
    text(1, 'web'),
    text(2, 'shop'),
    text(3, 'h'),
    message(4, text(1, 'east'), bytes(2, Buffer.from([10, 0, 0, 1]))),
    message(4, bytes(2, Buffer.from([10, 1, 0, 0])), varint(3, 16)),
    message(5, varint(1, 80), varint(2, 8080), varint(3, 5)),
    text(6, 'spiffe://x'),
    message(7, message(2, text(1, 'east'), bytes(2, Buffer.from([10, 0, 0, 9]))), varint(3, 1)),
    message(8, packed(1, 6, 2), varint(2, 2), varint(3, 1)),
    varint(9, 2),
    message(
      10,
      text(1, 'culvert.dev/session-affinity'),
      message(
        2,
        text(1, 'type.googleapis.com/culvert.mesh.v1.SessionAffinity'),
        message(2, varint(1, 10_000)),
      ),
    ),
    varint(11, 1),
    varint(14, 1),
  );
  t.equal(encodeService(given).toString('hex'), expected.toString('hex'));
  t.strictSame(decodeAddress(expected).value, { kind: 'service', service: given });
});

t.test('every enumeration has the numbers of the public API', async t => {
  const numbers = (type: string, names: readonly string[]): void => {
    const values = protocols.schema.enumeration(type);
    t.strictSame(
      names.map(name => values.number(name)),
      [...names.keys()],
      type,
    );
  };
  numbers('istio.workload.AppProtocol', ['UNKNOWN', 'HTTP11', 'HTTP2', 'GRPC', 'TCP', 'TLS']);
  numbers('istio.workload.TunnelProtocol', ['NONE', 'HBONE', 'LEGACY_ISTIO_MTLS']);
  numbers('istio.workload.NetworkMode', ['STANDARD', 'HOST_NETWORK']);
  numbers('istio.workload.WorkloadStatus', ['HEALTHY', 'UNHEALTHY']);
  numbers('istio.workload.WorkloadType', ['DEPLOYMENT', 'CRONJOB', 'POD', 'JOB']);
  numbers('istio.workload.IPFamilies', ['AUTOMATIC', 'IPV4_ONLY', 'IPV6_ONLY', 'DUAL']);
  numbers('istio.workload.Visibility', ['PUBLIC', 'NAMESPACE']);
  numbers('istio.workload.LoadBalancing.Scope', [
    'UNSPECIFIED_SCOPE',
    'REGION',
    'ZONE',
    'SUBZONE',
    'NODE',
    'CLUSTER',
    'NETWORK',
  ]);
  numbers('istio.workload.LoadBalancing.Mode', ['UNSPECIFIED_MODE', 'STRICT', 'FAILOVER', 'PASSTHROUGH']);
  numbers('istio.workload.LoadBalancing.HealthPolicy', ['ONLY_HEALTHY', 'ALLOW_ALL']);
  numbers('istio.workload.ApplicationTunnel.Protocol', ['NONE', 'PROXY']);
  numbers('istio.security.Scope', ['GLOBAL', 'NAMESPACE', 'WORKLOAD_SELECTOR']);
  numbers('istio.security.Action', ['ALLOW', 'DENY']);
  numbers('culvert.mesh.v1.NodePod.FailMode', ['CLOSED', 'OPEN']);
});

/** The workload of these fields, and what could not be read of it. */
function readWorkload(...parts: readonly Buffer[]) {
  const { value, problem } = decodeAddress(message(1, text(20, 'u'), text(2, 'shop'), ...parts));
  if (value.kind !== 'workload') throw new Error('not a workload');
  return { workload: value.workload, problem };
}

t.test('fields that a workload does not have mean what the public API says', async t => {
  t.match(readWorkload(), {
    workload: {
      trustDomain: 'cluster.local',
      serviceAccount: 'default',
      clusterId: 'Kubernetes',
      capacity: 1,
      tunnelProtocol: 'NONE',
      networkMode: 'STANDARD',
      status: 'HEALTHY',
      workloadType: 'deployment',
      waypoint: null,
      locality: null,
    },
    problem: null,
  });
  t.equal(readWorkload(message(27)).workload.capacity, 0);
});

t.test('an unknown value never makes a workload reachable without a tunnel', async t => {
  const { workload, problem } = readWorkload(varint(5, 2), varint(12, 9), varint(17, 9), varint(25, 9));
  t.match(workload, {
    tunnelProtocol: 'HBONE',
    workloadType: 'pod',
    status: 'UNHEALTHY',
    networkMode: 'STANDARD',
  });
  t.equal(problem, null);
});

t.test('what of a workload cannot be read is left out and said, and the rest stands', async t => {
  const { workload, problem } = readWorkload(
    bytes(3, Buffer.from([1, 2, 3])),
    bytes(3, Buffer.from([10, 0, 0, 1])),
    message(22, text(1, 'shop/web'), message(2, message(1, varint(1, 80), varint(2, 73_616)))),
    message(22, text(1, '__proto__'), message(2)),
    message(8, varint(3, 15_008)),
  );
  t.strictSame(workload.addresses, ['10.0.0.1']);
  t.strictSame(workload.services, { 'shop/web': [] });
  t.equal(workload.waypoint, null);
  t.equal(
    problem,
    'an address of 3 bytes, a port above 65535, "__proto__" among its services, a waypoint without a place',
  );
});

t.test('an account that no certificate can name is said, and stays one that nobody can prove', async t => {
  const { workload, problem } = readWorkload(text(7, 'a/ns/shop/sa/root'));
  t.equal(workload.serviceAccount, 'a/ns/shop/sa/root');
  t.match(problem, 'which no certificate can name');
});

t.test('an address has one spelling, however it came', async t => {
  const mapped = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
  t.strictSame(readWorkload(bytes(3, mapped)).workload.addresses, ['10.0.0.1']);
});

/** The service of these fields, and what could not be read of it. */
function readService(...parts: readonly Buffer[]) {
  const { value, problem } = decodeAddress(message(2, text(2, 'shop'), text(3, 'web'), ...parts));
  if (value.kind !== 'service') throw new Error('not a service');
  return { service: value.service, problem };
}

t.test('an address of a service may be a prefix; all of its bits mean one address', async t => {
  const ten = bytes(2, Buffer.from([10, 0, 0, 1]));
  const mapped = bytes(2, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0]));
  const read = (...parts: readonly Buffer[]) => readService(message(4, ...parts));
  t.strictSame(read(ten, varint(3, 32)).service.addresses, [{ network: '', address: '10.0.0.1' }]);
  t.strictSame(read(ten, varint(3, 0)).service.addresses, [{ network: '', address: '10.0.0.1/0' }]);
  t.strictSame(read(mapped, varint(3, 104)).service.addresses, [{ network: '', address: '10.0.0.0/8' }]);
  t.strictSame(read(ten, varint(3, 33)), { service: readService().service, problem: 'a prefix of 33 bits' });
});

t.test('of weighted waypoints the heaviest is taken, and none of weight 0', async t => {
  const gateway = (host: string) => message(1, message(1, text(1, 'shop'), text(2, host)));
  const at = (hostname: string) => ({ destination: { kind: 'hostname', namespace: 'shop', hostname } });
  const weighted = [
    message(13, gateway('light'), varint(2, 1)),
    message(13, gateway('heavy'), varint(2, 9)),
    message(13, gateway('off')),
  ];
  t.match(readService(...weighted).service.waypoint, at('heavy'));
  t.equal(readService(message(13, gateway('off'))).service.waypoint, null);
});

t.test('values of a service that are unknown become the plain ones', async t => {
  const { service, problem } = readService(
    message(8, packed(1, 9, 1), varint(2, 9), varint(3, 9)),
    varint(9, 9),
    varint(14, 9),
    message(10, text(1, 'somebody.else/x'), bytes(2, Buffer.from([0xff]))),
  );
  t.match(service, {
    loadBalancing: { routingPreference: ['REGION'], mode: 'UNSPECIFIED', healthPolicy: 'ONLY_HEALTHY' },
    ipFamilies: 'AUTOMATIC',
    visibility: 'PUBLIC',
    sessionAffinityMs: null,
  });
  t.equal(problem, null);
  t.match(readService(message(10, text(1, 'culvert.dev/session-affinity'), bytes(2, Buffer.from([0xff])))), {
    service: { sessionAffinityMs: null },
    problem: 'an extension culvert.dev/session-affinity that cannot be read',
  });
});

t.test('a resource that does not say what it is about is refused', async t => {
  const invalid = { code: 'XDS_RESOURCE_INVALID' };
  t.throws(() => decodeAddress(Buffer.alloc(0)), invalid);
  t.throws(() => decodeAddress(message(1)), invalid);
  t.throws(() => decodeAddress(message(2, text(2, 'shop'))), invalid);
  t.throws(() => decodeAddress(fields(message(1, text(20, 'u')), message(2, text(3, 'h')))), invalid);
  t.throws(() => decodeAuthorization(text(2, 'shop')), invalid);
  t.throws(() => decodeSettings(text(1, 'not/a/domain')), invalid);
  const pod = [text(1, 'p'), text(2, 'w'), text(3, 'shop'), text(4, 'web')];
  t.equal(decodeNodePod(fields(...pod)).name, 'p');
  for (const missing of pod)
    t.throws(() => decodeNodePod(fields(...pod.filter(x => x !== missing))), invalid);
  t.throws(() => decodeNodePod(fields(...pod, text(5, 'a/b'))), invalid);
  t.throws(() => decodeNodePod(fields(...pod, text(6, '10.0.0.01'))), invalid);
});

t.test('a pod whose fail mode is unknown fails closed, and has no impossible probe ports', async t => {
  const pod = fields(
    text(1, 'p'),
    text(2, 'w'),
    text(3, 'shop'),
    text(4, 'web'),
    varint(8, 9),
    packed(10, 0, 80, 65_536),
  );
  t.match(decodeNodePod(pod).value, { failMode: 'closed', probePorts: [80], serviceAccount: 'default' });
});

t.test('settings that are left out have their defaults', async t => {
  t.strictSame(decodeSettings(Buffer.alloc(0)).value, {
    trustDomain: 'cluster.local',
    network: '',
    clusterId: 'Kubernetes',
    clusterDomain: 'cluster.local',
    accessLog: false,
    certificateTtlMs: 86_400_000,
    enrolledNamespaces: [],
    excludedNamespaces: [],
  });
});

t.test('workloads and services can be asked for by their addresses', async t => {
  t.strictSame(addressNames(workload('web', { network: 'east', addresses: ['10.0.0.1', 'fd00::1'] })), [
    'east/10.0.0.1',
    'east/fd00::1',
  ]);
  const vips = [
    { network: '', address: '10.0.0.1' },
    { network: '', address: '10.1.0.0/16' },
  ];
  t.strictSame(addressNames(service('web', { addresses: vips })), ['/10.0.0.1']);
});

t.test('equal values are one value, so that many workloads take little', async t => {
  const read = (name: string) =>
    readWorkload(
      text(1, name),
      text(16, 'shop/p'),
      message(22, text(1, 'shop/web'), message(2, message(1, varint(1, 80), varint(2, 8080)))),
      message(24, text(1, 'r')),
    ).workload;
  const [a, b] = [read('a'), read('b')];
  t.equal(a.services, b.services);
  t.equal(a.authorizationPolicies, b.authorizationPolicies);
  t.equal(a.locality, b.locality);
});
