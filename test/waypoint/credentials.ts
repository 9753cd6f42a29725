/** Secrets and ConfigMaps that rules name, in a cluster: who reads them, and who is told of them. */
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { L7Change } from '../../model/l7.ts';
import type { XdsClient } from '../../xds/client.ts';
import { eventually } from '../lab/eventually.ts';
import { until } from '../control/cluster/until.ts';
import { makeRoot } from '../tunnel/pki.ts';
import { ClusterWorld } from './cluster-world.ts';
import { vip } from './world-objects.ts';
import { certificateFor, webName } from './tls-servers.ts';

const root = makeRoot();
const clients = makeRoot();
const istio = 'networking.istio.io/v1';

function base64(texts: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
  );
}

function proof(name: string): Record<string, string> {
  const { certificatePem, privateKeyPem } = certificateFor(clients, [6, `spiffe://partner/${name}`]);
  return base64({ 'tls.crt': certificatePem, 'tls.key': privateKeyPem, 'ca.crt': root.pem });
}

/** A cluster with a Service whose endpoint takes only clients with a certificate, and says whose it is. */
async function worldOf(t: Test): Promise<ClusterWorld> {
  const world = await ClusterWorld.create(t, fake => {
    fake.serve(istio, 'DestinationRule', 'destinationrules', true);
    fake.serve('gateway.networking.k8s.io/v1', 'BackendTLSPolicy', 'backendtlspolicies', true);
  });
  const { certificatePem, privateKeyPem } = certificateFor(root, webName);
  const server = http2.createSecureServer(
    { cert: certificatePem, key: privateKeyPem, ca: clients.pem, requestCert: true, allowHTTP1: true },
    (request, response) => {
      const { socket } = request;
      const shown = 'getPeerCertificate' in socket ? socket.getPeerCertificate() : {};
      response.end('subjectaltname' in shown ? String(shown.subjectaltname) : 'nobody');
    },
  );
  server.on('sessionError', () => {}).on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  world.service('web', vip, 80, port);
  world.pod('web-1', 'web', '10.0.0.1', port);
  return world;
}

function rule(
  world: ClusterWorld,
  name: string,
  credential: string,
  { namespace = 'shop', host = webName } = {},
): void {
  world.fake.put('destinationrules', {
    metadata: { namespace, name },
    spec: {
      host,
      trafficPolicy: { tls: { mode: 'MUTUAL', credentialName: credential } },
    },
  });
}

function put(world: ClusterWorld, name: string, data: Record<string, string>, namespace = 'shop'): void {
  world.fake.put('secrets', { metadata: { namespace, name }, type: 'kubernetes.io/tls', data });
}

interface Told {
  readonly client: XdsClient;
  readonly credentials: Map<string, L7Change>;
}

/** Somebody who asks for everything that the control plane has for waypoints. */
function follow(world: ClusterWorld, token: string): Told {
  const credentials = new Map<string, L7Change>();
  const client = world.discover(token, ['settings', 'waypointCredential'], ({ l7 }) => {
    for (const change of l7.changes) if (change.list === 'credentials') credentials.set(change.key, change);
  });
  return { client, credentials };
}

void t.test('a waypoint proves who it is by a Secret, and by what it becomes', async t => {
  const world = await worldOf(t);
  put(world, 'partner', proof('one'));
  rule(world, 'web', 'partner');
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  const waypoint = world.waypoint(`${uid},wp-1,shop:wp`);
  await until('it is ready', () => waypoint.ready.ready);
  const get = await world.client(waypoint);
  await eventually(async () => (await get('/')) === '200 URI:spiffe://partner/one', {
    what: 'the rule and its Secret are in force',
  });

  put(world, 'partner', proof('two'));
  // Another one that is named makes the control plane look at all of them.
  rule(world, 'later', 'nothing', { host: 'elsewhere' });
  await eventually(async () => (await get('/')) === '200 URI:spiffe://partner/two', {
    what: 'the new one is used',
  });

  world.fake.delete('secrets', 'shop', 'partner');
  world.fake.delete('destinationrules', 'shop', 'later');
  await eventually(async () => (await get('/')).startsWith('503 '), { what: 'without it nobody is asked' });
  t.match(await get('/'), /Secret shop\/partner is not known here.*TLS_UNAVAILABLE/s);
});

void t.test('nobody else is told of it, and no other Secret is read', async t => {
  const world = await worldOf(t);
  put(world, 'partner', proof('one'));
  put(world, 'other', proof('other'));
  put(world, 'partner', proof('bank'), 'bank');
  rule(world, 'web', 'partner');
  world.fake.put('namespaces', { metadata: { name: 'bank' } });
  world.fake.put('gateways', {
    metadata: { namespace: 'bank', name: 'wp' },
    spec: { gatewayClassName: 'culvert-waypoint', listeners: [] },
  });
  world.fake.put('services', {
    metadata: { namespace: 'bank', name: 'wp' },
    spec: { clusterIP: '10.96.0.3', selector: { app: 'wp' }, ports: [{ name: 'hbone', port: 15_008 }] },
  });
  const pod = world.fake.put('pods', {
    metadata: { namespace: 'bank', name: 'wp-1', labels: { app: 'wp' } },
    spec: { nodeName: 'node-a', serviceAccountName: 'wp', containers: [] },
    status: { phase: 'Running', podIP: '10.0.0.19', podIPs: [{ ip: '10.0.0.19' }] },
  });
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  await until('the pods are known', () => world.control.pods.size === 3);

  const own = follow(world, `${uid},wp-1,shop:wp`);
  await until('its own waypoint is told', () => own.credentials.size === 1);
  t.same([...own.credentials.keys()], ['shop/wp/shop/partner']);
  const others = [
    follow(world, `${pod.metadata.uid},wp-1,bank:wp`),
    follow(world, 'any,agent,culvert-system:culvert-agent'),
  ];
  for (const { client, credentials } of others) {
    await until('another is told all it may know', () => client.state().synced);
    t.same([...credentials.keys()], []);
    t.equal(client.state().types.waypointCredential?.resources, 0);
  }

  // Also in the namespace of the other waypoint only what its own rules name.
  rule(world, 'web', 'partner', { namespace: 'bank' });
  await until('the other is told its own', () => others[0]?.credentials.size === 1);
  t.same([...(others[0]?.credentials.keys() ?? [])], ['bank/wp/bank/partner']);
  t.equal(own.credentials.size, 1);

  const read = world.fake.requests.filter(each => /\/secrets/.test(each) && !each.includes('culvert-system'));
  t.same(
    new Set(read.map(each => each.replace(/\?.*/, ''))),
    new Set(
      ['shop', 'bank'].flatMap(namespace =>
        ['partner', 'partner-cacert'].map(name => `GET /api/v1/namespaces/${namespace}/secrets/${name}`),
      ),
    ),
  );
  const shown = JSON.stringify([world.control.findings(), world.control.problems()]);
  t.notMatch(shown, /PRIVATE KEY|CERTIFICATE/);
});

void t.test('without a mutual rule the key stays where it is', async t => {
  const world = await worldOf(t);
  put(world, 'partner', proof('one'));
  world.fake.put('destinationrules', {
    metadata: { namespace: 'shop', name: 'web' },
    spec: { host: webName, trafficPolicy: { tls: { mode: 'SIMPLE', credentialName: 'partner' } } },
  });
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  await until('the pods are known', () => world.control.pods.size === 2);
  const own = follow(world, `${uid},wp-1,shop:wp`);
  await until('it is told of the authorities', () => own.credentials.size === 1);
  t.match([...own.credentials.values()][0]?.resource, {
    authorities: root.pem,
    certificate: null,
    key: null,
  });
});

void t.test('a Secret that may not be read is a finding, and nothing is sent', async t => {
  const world = await worldOf(t);
  put(world, 'partner', proof('one'));
  world.fake.intercept = (request, response) => {
    if (request.url?.includes('/shop/secrets/') !== true) return false;
    response.writeHead(403, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ kind: 'Status', status: 'Failure', code: 403, message: 'forbidden' }));
    return true;
  };
  rule(world, 'web', 'partner');
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  const waypoint = world.waypoint(`${uid},wp-1,shop:wp`);
  await until('it is ready', () => waypoint.ready.ready);
  const get = await world.client(waypoint);
  await eventually(async () => (await get('/')).startsWith('503 '), { what: 'nothing is sent' });
  await until('it is said', () =>
    world.control
      .findings()
      .some(({ code, message }) => code === 'object-unreadable' && /Secret shop\/partner/.test(message)),
  );
  t.match(await get('/'), /TLS_UNAVAILABLE/);
});

void t.test('a BackendTLSPolicy: its ConfigMap is read, and its status says what came of it', async t => {
  const world = await worldOf(t);
  const policy = {
    metadata: { namespace: 'shop', name: 'web' },
    spec: {
      targetRefs: [{ group: '', kind: 'Service', name: 'web' }],
      validation: {
        hostname: webName,
        caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'web-ca' }],
      },
    },
  };
  world.fake.put('backendtlspolicies', policy);
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  const waypoint = world.waypoint(`${uid},wp-1,shop:wp`);
  await until('it is ready', () => waypoint.ready.ready);
  const get = await world.client(waypoint);
  const conditions = (): Record<string, string> => {
    const status = world.fake.get('backendtlspolicies', 'shop', 'web')?.['status'] ?? {};
    const { ancestors = [] } = status as {
      ancestors?: { ancestorRef: unknown; conditions: { type: string; reason: string }[] }[];
    };
    return Object.fromEntries((ancestors[0]?.conditions ?? []).map(({ type, reason }) => [type, reason]));
  };
  await eventually(() => conditions()['Accepted'] === 'NoValidCACertificate', { what: 'its refusal' });
  t.equal(conditions()['ResolvedRefs'], 'InvalidCACertificateRef');
  t.match(await get('/'), /^503 .*TRAFFIC_REFUSED/s, 'what it is about is refused until then');

  world.fake.put('configmaps', {
    metadata: { namespace: 'shop', name: 'web-ca' },
    data: { 'ca.crt': root.pem },
  });
  // Another name makes the control plane look at all of them.
  world.fake.put('backendtlspolicies', {
    ...policy,
    metadata: { namespace: 'shop', name: 'z-later' },
    spec: {
      ...policy.spec,
      validation: { hostname: webName, caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'other' }] },
    },
  });
  await eventually(() => conditions()['Accepted'] === 'Accepted', {
    what: 'its acceptance',
    timeoutMs: 20_000,
  });
  t.equal(conditions()['ResolvedRefs'], 'ResolvedRefs');
  // The endpoint wants a certificate of its clients, which the policy can not have us show.
  await eventually(async () => (await get('/')).includes('UPSTREAM_TLS_FAILED'), { what: 'the handshake' });
});
