import t from 'tap';
import type { Test } from 'tap';
import type { Codec } from '../../proto/load.ts';
import { loadProtocol, protocols } from '../../proto/load.ts';
import { fromStruct, toStruct } from '../../proto/struct.ts';
import { bytes, double, fields, message, packed, text, varint } from './bytes.ts';

/** Both directions of a message against bytes made by hand. */
function golden<T>(t: Test, codec: Codec<T>, given: T, expected: Buffer): void {
  t.equal(codec.encode(given as never).toString('hex'), expected.toString('hex'));
  t.strictSame(plain(codec.decode(expected)), plain(given));
}

/** Without prototypes, and only what is set. */
function plain(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return `bytes ${value.toString('hex')}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .map(([key, item]) => [key, plain(item)]),
  );
}

t.test('a request of the discovery stream has the numbers of the protocol', async t => {
  golden(
    t,
    protocols.deltaRequest,
    {
      node: {
        id: 'n',
        cluster: 'c',
        metadata: toStruct({ a: 'b' }),
        buildVersion: 'v',
        clientFeatures: ['f'],
      },
      typeUrl: 'u',
      resourceNamesSubscribe: ['s'],
      resourceNamesUnsubscribe: ['t'],
      initialResourceVersions: { r: '1' },
      responseNonce: 'x',
      errorDetail: { code: 3, message: 'm' },
    },
    fields(
      message(
        1,
        text(1, 'n'),
        text(2, 'c'),
        message(3, message(1, text(1, 'a'), message(2, text(3, 'b')))),
        text(5, 'v'),
        text(10, 'f'),
      ),
      text(2, 'u'),
      text(3, 's'),
      text(4, 't'),
      message(5, text(1, 'r'), text(2, '1')),
      text(6, 'x'),
      message(7, varint(1, 3), text(2, 'm')),
    ),
  );
});

t.test('a response of the discovery stream has the numbers of the protocol', async t => {
  golden(
    t,
    protocols.deltaResponse,
    {
      systemVersionInfo: 's',
      resources: [
        {
          version: 'v',
          resource: { typeUrl: 'u', value: Buffer.from([1, 2]) },
          name: 'n',
          aliases: ['a'],
          ttl: { seconds: 5, nanos: 7 },
          cacheControl: { doNotCache: true },
        },
      ],
      typeUrl: 'u',
      nonce: 'x',
      removedResources: ['r'],
    },
    fields(
      text(1, 's'),
      message(
        2,
        text(1, 'v'),
        message(2, text(1, 'u'), bytes(2, Buffer.from([1, 2]))),
        text(3, 'n'),
        text(4, 'a'),
        message(6, varint(1, 5), varint(2, 7)),
        message(7, varint(1, 1)),
      ),
      text(4, 'u'),
      text(5, 'x'),
      text(6, 'r'),
    ),
  );
});

t.test('certificate requests and answers have the numbers of the protocol', async t => {
  golden(
    t,
    protocols.certificateRequest,
    { csr: 'c', validityDuration: 86_400, metadata: toStruct({ ImpersonatedIdentity: 'spiffe://x' }) },
    fields(
      text(1, 'c'),
      varint(3, 86_400),
      message(4, message(1, text(1, 'ImpersonatedIdentity'), message(2, text(3, 'spiffe://x')))),
    ),
  );
  golden(
    t,
    protocols.certificateResponse,
    { certChain: ['leaf', 'root'] },
    fields(text(1, 'leaf'), text(1, 'root')),
  );
});

t.test('reports of a node have the numbers of the protocol', async t => {
  golden(
    t,
    protocols.nodeReport,
    {
      full: true,
      pods: [{ podUid: 'p', enrolled: true, code: 'c', message: 'm' }],
      gone: ['g'],
      agentVersion: 'v',
    },
    fields(
      varint(1, 1),
      message(2, text(1, 'p'), varint(2, 1), text(3, 'c'), text(4, 'm')),
      text(3, 'g'),
      text(4, 'v'),
    ),
  );
  golden(t, protocols.reportReply, {}, Buffer.alloc(0));
});

t.test('settings and pods have the numbers of the protocol', async t => {
  golden(
    t,
    protocols.settings,
    {
      trustDomain: 't',
      network: 'n',
      clusterId: 'c',
      clusterDomain: 'd',
      accessLog: true,
      certificateTtlSeconds: 3_600,
      enrolledNamespaces: ['e'],
      excludedNamespaces: ['x'],
    },
    fields(
      text(1, 't'),
      text(2, 'n'),
      text(3, 'c'),
      text(4, 'd'),
      varint(5, 1),
      varint(6, 3_600),
      text(7, 'e'),
      text(8, 'x'),
    ),
  );
  golden(
    t,
    protocols.nodePod,
    {
      podUid: 'p',
      workloadUid: 'w',
      namespace: 'n',
      name: 'm',
      serviceAccount: 's',
      addresses: ['a'],
      wanted: true,
      failMode: 1,
      dnsCapture: true,
      probePorts: [80, 8080],
      runtimeUid: 'r',
    },
    fields(
      text(1, 'p'),
      text(2, 'w'),
      text(3, 'n'),
      text(4, 'm'),
      text(5, 's'),
      text(6, 'a'),
      varint(7, 1),
      varint(8, 1),
      varint(9, 1),
      packed(10, 80, 8080),
      text(11, 'r'),
    ),
  );
});

t.test('methods are called by the paths other implementations serve', async t => {
  const { discovery, certificates, nodeReports } = protocols.services;
  t.match(discovery.DeltaAggregatedResources, {
    path: '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
    requestStream: true,
    responseStream: true,
  });
  t.match(certificates.CreateCertificate, {
    path: '/istio.v1.auth.IstioCertificateService/CreateCertificate',
    requestStream: false,
    responseStream: false,
  });
  t.match(nodeReports.Report, {
    path: '/culvert.mesh.v1.NodeReports/Report',
    requestStream: true,
    responseStream: false,
  });
});

t.test('what is left out has its default, and null where absence means something', async t => {
  const empty = protocols.workload.decode(Buffer.alloc(0));
  t.equal(empty.uid, '');
  t.equal(empty.tunnelProtocol, 0);
  t.equal(empty.capacity, null);
  t.equal(protocols.any.decode(Buffer.alloc(0)).value.length, 0);
  t.equal(empty.waypoint, null);
  t.strictSame({ ...empty.services }, {});
  const service = protocols.service.decode(message(4, bytes(2, Buffer.from([10, 0, 0, 1]))));
  t.equal(service.addresses[0]?.length, null);
  t.equal(protocols.service.decode(message(4, varint(3, 0))).addresses[0]?.length, 0);
  t.equal(protocols.certificateRequest.decode(Buffer.alloc(0)).validityDuration, 0);
});

t.test('defaults are not written, and absence that means something is kept apart from them', async t => {
  t.equal(
    protocols.workload.encode({ uid: '', tunnelProtocol: 0, nativeTunnel: false, addresses: [] }).length,
    0,
  );
  t.same(protocols.workload.encode({ capacity: { value: 0 } }), bytes(27, Buffer.alloc(0)));
  t.same(protocols.service.encode({ addresses: [{ length: 0 }] }), message(4, varint(3, 0)));
});

t.test('equal messages are equal bytes, in whatever order a map was filled', async t => {
  const one = protocols.workload.encode({ services: { a: {}, b: {} } });
  t.same(one, protocols.workload.encode({ services: { b: {}, a: {} } }));
});

t.test('fields and enumeration values of the future are taken', async t => {
  const workload = protocols.workload.decode(fields(text(20, 'u'), varint(5, 9), text(900, 'new')));
  t.equal(workload.uid, 'u');
  t.equal(workload.tunnelProtocol, 9);
});

t.test('64-bit integers are numbers, also negative and large ones', async t => {
  for (const seconds of [-1, 0, 1, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
    const encoded = protocols.certificateRequest.encode({ validityDuration: seconds });
    t.same(encoded, seconds === 0 ? Buffer.alloc(0) : varint(3, seconds));
    t.equal(protocols.certificateRequest.decode(encoded).validityDuration, seconds);
  }
});

t.test('bytes that are no message are refused', async t => {
  t.throws(() => protocols.workload.decode(Buffer.from([0xa2, 0x01, 0x50, 0x61])));
  t.throws(() => protocols.workload.decode(Buffer.from([0xff])));
  // Deeper than any honest one: a Value in a ListValue in a Value.
  let nested: Buffer = Buffer.alloc(0);
  for (let depth = 0; depth < 500; depth++) nested = message(6, message(1, nested));
  t.throws(() => protocols.certificateRequest.decode(message(4, message(1, message(2, nested)))));
});

t.test('enumerations know their values and no others', async t => {
  const mode = protocols.schema.enumeration('istio.workload.LoadBalancing.Mode');
  t.equal(mode.number('STRICT'), 1);
  t.equal(mode.name(3), 'PASSTHROUGH');
  t.equal(mode.number('toString'), null);
  t.equal(mode.name(9), null);
});

t.test('JSON goes through a Struct unchanged', async t => {
  const json = { a: null, b: true, c: 1.5, d: 'x', e: [1, ['y'], {}], f: { g: { h: false } } };
  const { deltaRequest } = protocols;
  const request = deltaRequest.decode(deltaRequest.encode({ node: { metadata: toStruct(json) } }));
  t.strictSame(request.node?.metadata && fromStruct(request.node.metadata), json);
  t.same(
    deltaRequest.encode({ node: { metadata: toStruct({ c: 1.5 }) } }),
    message(1, message(3, message(1, text(1, 'c'), message(2, double(2, 1.5))))),
  );
});

t.test('a file of its own loads by itself; what it does not define is refused', async t => {
  const ca = loadProtocol('ca.proto');
  t.equal(
    ca.message('istio.v1.auth.IstioCertificateRequest').fullName,
    'istio.v1.auth.IstioCertificateRequest',
  );
  t.throws(() => ca.message('istio.workload.Workload'));
  t.throws(() => ca.method('istio.v1.auth.IstioCertificateService', 'Revoke'));
  t.throws(() => loadProtocol('nothing.proto'));
});
