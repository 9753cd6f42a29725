/** TLS from a waypoint to endpoints, as DestinationRules ask for it: real servers, good ones and every kind of wrong one. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeOddCertificate, makeRoot } from '../tunnel/pki.ts';
import { eventually } from '../lab/eventually.ts';
import { EndpointTlsStore } from '../../waypoint/endpoint-tls.ts';
import { secure } from '../../waypoint/tls-out.ts';
import { certificateFor, secret, serveTls, serveTlsEcho, webName } from './tls-servers.ts';
import { World, type WorldOptions } from './world.ts';
import { destination } from './world-objects.ts';

const root = makeRoot();
const good = certificateFor(root, webName);
const authorities = secret('web-ca', { 'ca.crt': root.pem });
const simple = (more = ''): string => destination(`{ tls: { mode: SIMPLE, credentialName: web-ca${more} } }`);

async function worldOf(test: Test, options: WorldOptions): Promise<World> {
  const world = await World.create(options);
  test.teardown(() => world[Symbol.asyncDispose]());
  return world;
}

void t.test('an endpoint that proves its name is spoken to by what it chooses', async t => {
  for (const [speaks, version] of [
    ['both', '2'],
    ['h2', '2'],
    ['http/1.1', '1'],
  ] as const) {
    const world = await worldOf(t, { objects: authorities + simple() });
    const server = await serveTls(world, 'web', { certificate: good, speaks });
    for (let turn = 0; turn < 3; turn += 1) {
      const { status, headers, text } = await world.request('/', { method: 'POST', body: 'hello' });
      t.equal(status, 200);
      t.equal(text, 'web hello');
      t.equal(headers['x-version'], version);
      if (version === '2')
        t.equal(headers['x-scheme'], 'https', 'it is asked by the scheme it is reached by');
    }
    t.equal(server.seen.length, 1, 'one connection for all, the one that asked');
    t.equal(server.seen[0]?.sni, webName);
    const line = await world.line({ status: 200 });
    t.equal(line['security'], 'tls');
  }
});

void t.test('what has to be HTTP/2, or HTTP/1.1, is never the other', async t => {
  const world = await worldOf(t, { objects: authorities + simple(), appProtocol: 'kubernetes.io/h2c' });
  await serveTls(world, 'web', { certificate: good, speaks: 'http/1.1' });
  t.equal((await world.request('/')).status, 503);
  const line = await world.line({ status: 503 });
  t.match(line['code'], /UPSTREAM_NOT_HTTP2|UPSTREAM_TLS_FAILED/);

  const other = await worldOf(t, { objects: authorities + simple() });
  const server = await serveTls(other, 'web', { certificate: good });
  const socket = await other.connect();
  socket.write('GET / HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n');
  const [answer] = (await new Promise(resolve => socket.once('data', (...all) => resolve(all)))) as [Buffer];
  t.match(String(answer), /^HTTP\/1.1 200 OK\r\n/, 'another protocol is asked for by HTTP/1.1');
  t.same(server.requests, { h1: 1, h2: 0 });
  socket.destroy();
});

void t.test('an endpoint that does not prove who it is gets nothing', async t => {
  const other = makeRoot();
  const expired = { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 };
  const { makeCertificate } = await import('../tunnel/pki.ts');
  const old = makeCertificate(root, 'spiffe://cluster.local/ns/shop/sa/web', expired);
  const cases = [
    ['another authority', certificateFor(other, webName), /self.signed|issuer|not trusted/, 'untrusted'],
    [
      'another name',
      certificateFor(root, 'bank.shop.svc.cluster.local'),
      /is for bank\.shop.* not for web\.shop/,
      'name',
    ],
    ['no name', makeOddCertificate(root, { names: [] }), /is for nobody, not for web\.shop/, 'name'],
    ['expired', old, /has expired/, 'expired'],
  ] as const;
  for (const [what, certificate, why, reason] of cases) {
    const world = await worldOf(t, { objects: authorities + simple() });
    const server = await serveTls(world, 'web', { certificate });
    const { status } = await world.request('/secret');
    t.equal(status, 503, what);
    t.same(server.requests, { h1: 0, h2: 0 }, `${what}: not one request`);
    const line = await world.line({ status: 503 });
    t.equal(line['code'], 'UPSTREAM_TLS_FAILED', what);
    t.match(line['error'], why, what);
    t.match(line['error'], /DestinationRule shop\/d/, what);
    t.ok((await world.metric('culvert_waypoint_tls_failures_total', `{reason="${reason}"}`)) > 0, what);
    t.match(await world.metrics(), /istio_requests_total\{[^}]*response_flags="UF"/, what);
  }
});

void t.test('an endpoint that speaks no TLS gets nothing', async t => {
  const world = await worldOf(t, { objects: authorities + simple() });
  const plain = await world.serveHttp('web');
  t.equal((await world.request('/secret')).status, 503);
  t.notMatch(plain.received(), /secret/);
  t.equal((await world.line({ status: 503 }))['code'], 'UPSTREAM_TLS_FAILED');
});

void t.test('names that the rule gives are what counts', async t => {
  const uri = 'spiffe://cluster.local/ns/shop/sa/web';
  const cases = [
    [', sni: www.example.com', certificateFor(root, 'www.example.com'), 200],
    [', sni: www.example.com', good, 503],
    [', subjectAltNames: [a.example.com, b.example.com]', certificateFor(root, 'b.example.com'), 200],
    [', subjectAltNames: [a.example.com]', certificateFor(root, '*.example.com'), 200],
    [', subjectAltNames: [a.b.example.com]', certificateFor(root, '*.example.com'), 503],
    [', subjectAltNames: [a.example.com]', good, 503],
    [`, subjectAltNames: ["${uri}"]`, certificateFor(root, [6, uri]), 200],
    [`, subjectAltNames: ["${uri}"]`, certificateFor(root, [6, `${uri}2`]), 503],
    [', insecureSkipVerify: true', certificateFor(makeRoot(), 'nobody.example.com'), 200],
  ] as const;
  const world = await worldOf(t, {});
  for (const [at, [more, certificate, expected]] of cases.entries()) {
    await world.routes(`# ${at}\n${authorities}${simple(more)}`);
    const server = await serveTls(world, 'web', { certificate });
    t.equal((await world.request('/')).status, expected, more);
    if (more.includes('sni')) t.equal(server.seen[0]?.sni ?? 'www.example.com', 'www.example.com');
    world.stopServing('web');
  }
});

void t.test('both prove who they are, with certificates of a Secret', async t => {
  const clients = makeRoot();
  const proof = certificateFor(clients, [6, 'spiffe://partner/waypoint']);
  const pair = { 'tls.crt': proof.certificatePem, 'tls.key': proof.privateKeyPem, 'ca.crt': root.pem };
  const mutual = destination('{ tls: { mode: MUTUAL, credentialName: web-client } }');
  const world = await worldOf(t, { objects: secret('web-client', pair) + mutual });
  const server = await serveTls(world, 'web', { certificate: good, clientsOf: clients.pem });
  t.equal((await world.request('/')).status, 200);
  t.equal(server.seen[0]?.client, 'URI:spiffe://partner/waypoint');

  await world.routes(authorities + simple());
  t.equal((await world.request('/')).status, 503, 'without a certificate the server does not take us');
  t.equal((await world.line({ status: 503 }))['code'], 'UPSTREAM_TLS_FAILED');
  const upgrade = 'GET /chat HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n';
  t.match(await world.raw(upgrade), /^HTTP\/1.1 503 /, 'nor for another protocol');
  t.equal((await world.line({ path: '/chat' }))['code'], 'UPSTREAM_TLS_FAILED');

  for (const [what, texts] of [
    ['no Secret', null],
    ['no key', { 'tls.crt': proof.certificatePem }],
    ['another key', { ...pair, 'tls.key': good.privateKeyPem }],
    ['no PEM', { ...pair, 'tls.key': 'secret words' }],
  ] as const) {
    await world.routes((texts === null ? '' : secret('web-client', texts)) + mutual);
    t.equal((await world.request('/')).status, 503, what);
    const line = await world.line({ code: 'TLS_UNAVAILABLE' });
    t.match(line['error'], /DestinationRule shop\/d/, what);
    t.notMatch(JSON.stringify(line), /secret words|PRIVATE KEY/, what);
  }
  const findings = JSON.stringify(world.waypoint.source?.findings());
  t.notMatch(findings, /secret words|PRIVATE KEY/);
});

void t.test('a certificate that is renewed is used by new connections, and no request fails', async t => {
  const clients = makeRoot();
  const proofs = ['one', 'two'].map(name => certificateFor(clients, [6, `spiffe://partner/${name}`]));
  const objects = (at: number): string =>
    secret('web-client', {
      'tls.crt': proofs[at]?.certificatePem ?? '',
      'tls.key': proofs[at]?.privateKeyPem ?? '',
      'ca.crt': root.pem,
    }) + destination('{ tls: { mode: MUTUAL, credentialName: web-client } }');
  const world = await worldOf(t, { objects: objects(0) });
  const server = await serveTls(world, 'web', { certificate: good, clientsOf: clients.pem });
  let statuses: number[] = [];
  const over = new AbortController();
  const load = (async () => {
    while (!over.signal.aborted) statuses = [...statuses, (await world.request('/')).status];
  })();
  await eventually(() => statuses.length > 3, { what: 'requests by the first certificate' });
  await world.routes(objects(1));
  await eventually(() => server.seen.some(({ client }) => client === 'URI:spiffe://partner/two'), {
    what: 'a connection by the second certificate',
  });
  over.abort();
  await load;
  t.same(new Set(statuses), new Set([200]));
});

void t.test('certificates of files, read again when they change', async t => {
  const clients = makeRoot();
  const [one, two] = ['one', 'two'].map(name => certificateFor(clients, [6, `spiffe://partner/${name}`]));
  if (one === undefined || two === undefined) return;
  const world = await worldOf(t, {});
  const directory = join(world.directory, '.culvert', 'tls');
  mkdirSync(directory, { recursive: true });
  const write = (name: string, text: string): string => {
    writeFileSync(join(directory, `${name}.new`), text);
    renameSync(join(directory, `${name}.new`), join(directory, name));
    return join(directory, name);
  };
  const ca = write('ca.pem', root.pem);
  const certificate = write('cert.pem', one.certificatePem);
  const key = write('key.pem', one.privateKeyPem);
  const tls = `{ mode: MUTUAL, caCertificates: ${ca}, clientCertificate: ${certificate}, privateKey: ${key} }`;
  await world.routes(destination(`{ tls: ${tls} }`));
  const server = await serveTls(world, 'web', { certificate: good, clientsOf: clients.pem });
  t.equal((await world.request('/')).status, 200);
  write('cert.pem', two.certificatePem);
  write('key.pem', two.privateKeyPem);
  await world.waypoint.context.tls.files.look();
  t.equal((await world.request('/')).status, 200);
  t.same(
    server.seen.map(({ client }) => client),
    ['URI:spiffe://partner/one', 'URI:spiffe://partner/two'],
  );
  // A rule of another namespace must not speak in the name of this one.
  const foreign = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: x, namespace: bank }
spec: { host: ${webName}, trafficPolicy: { tls: ${tls} } }
`;
  const client = await worldOf(t, { objects: foreign, client: 'bank' });
  await serveTls(client, 'web', { certificate: good, clientsOf: clients.pem });
  t.equal((await client.request('/')).status, 503);
  t.match((await client.line({ status: 503 }))['error'], /for rules of namespace shop only/);
});

void t.test('a session is gone on with by the next connection', async t => {
  const policy = `{ connectionPool: { http: { maxRequestsPerConnection: 1 } }, tls: { mode: SIMPLE, credentialName: web-ca } }`;
  const world = await worldOf(t, { objects: authorities + destination(policy) });
  const server = await serveTls(world, 'web', { certificate: good, speaks: 'http/1.1' });
  for (let turn = 0; turn < 4; turn += 1) t.equal((await world.request('/')).status, 200);
  t.ok(server.seen.length > 2, 'each request has a connection');
  t.ok(
    server.seen.some(({ resumed }) => resumed),
    'one of them went on with a session',
  );
});

void t.test('of several endpoints the one that proves nothing is left out', async t => {
  const policy = `{ outlierDetection: { consecutive5xxErrors: 1, baseEjectionTime: 300s, maxEjectionPercent: 100 }, tls: { mode: SIMPLE, credentialName: web-ca } }`;
  const world = await worldOf(t, { objects: authorities + destination(policy), pods: ['one', 'two'] });
  const wrong = await serveTls(world, 'one', { certificate: certificateFor(makeRoot(), webName) });
  const right = await serveTls(world, 'two', { certificate: good });
  for (let turn = 0; turn < 10; turn += 1) t.equal((await world.request('/')).status, 200);
  t.same(wrong.requests, { h1: 0, h2: 0 });
  t.equal(right.requests.h1 + right.requests.h2, 10);
  t.ok((await world.metric('culvert_waypoint_ejections_total')) > 0);
});

void t.test('bytes that are no HTTP get TLS as well', async t => {
  const world = await worldOf(t, { objects: authorities + simple(), appProtocol: 'tcp' });
  await serveTlsEcho(world, 'web', good);
  const socket = await world.connect();
  socket.write('ping');
  const answer = await new Promise<string>(resolve => socket.once('data', data => resolve(String(data))));
  t.equal(answer, 'ping');
  socket.destroy();
});

void t.test('what is for another waypoint is not used, wherever it comes from', async t => {
  const store = new EndpointTlsStore({ namespace: 'shop', name: 'wp' });
  t.teardown(() => store.close());
  const wanted = {
    source: 'a test',
    namespace: 'shop',
    sni: webName,
    names: [{ type: 'dns' as const, value: webName }],
    trust: { type: 'credential' as const, name: 'shop/ca' },
    client: null,
    revoked: null,
  };
  const credential = { name: 'shop/ca', certificate: null, key: null, authorities: root.pem, revoked: null };
  store.replace([{ ...credential, waypoint: 'shop/other' }]);
  t.throws(() => store.use(wanted), { code: 'TLS_UNAVAILABLE' });
  store.replace([{ ...credential, waypoint: 'shop/wp' }]);
  t.equal(store.use(wanted).key, store.use({ ...wanted }).key, 'what is the same is one pool of connections');
  const { key } = store.use(wanted);
  store.replace([{ ...credential, waypoint: 'shop/wp', authorities: makeRoot().pem }]);
  t.not(store.use(wanted).key, key);
});

void t.test('on a stream of a tunnel, as to pods of the mesh', async t => {
  const world = await worldOf(t, { appProtocol: 'tcp' });
  const server = await serveTls(world, 'web', { certificate: good });
  const store = new EndpointTlsStore({ namespace: 'shop', name: 'wp' });
  t.teardown(() => store.close());
  const usable = store.use({
    source: 'a test',
    namespace: 'shop',
    sni: webName,
    names: [{ type: 'dns', value: webName }],
    trust: { type: 'pem', pem: root.pem },
    client: null,
    revoked: null,
  });
  const options = { key: 'here', tls: usable, timeoutMs: 10_000, onFailure: () => {} };
  const socket = await secure(await world.connect(), { ...options, protocols: ['http/1.1'] });
  const body = 'x'.repeat(1_000_000);
  socket.write(
    `POST / HTTP/1.1\r\nhost: web\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  let answer = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) answer += String(chunk);
  t.ok(answer.endsWith('x\r\n0\r\n\r\n') || answer.endsWith('x'), 'a million bytes come back');
  t.ok(answer.length > 1_000_000);
  t.equal(server.requests.h1, 1);
  const bad = { ...usable, wanted: { ...usable.wanted, names: [{ type: 'dns' as const, value: 'other' }] } };
  const raw = await world.connect();
  await t.rejects(secure(raw, { ...options, key: 'there', tls: bad, protocols: ['h2'] }), {
    code: 'UPSTREAM_TLS_FAILED',
  });
  t.ok(raw.destroyed);
});

void t.test('a rule that can not be done refuses, and says why', async t => {
  for (const [policy, why] of [
    ['{ mode: MUTUAL }', /MUTUAL needs clientCertificate and privateKey/],
    ['{ mode: SIMPLE, credentialName: a, caCertificates: /b }', /exclude each other/],
    ['{ mode: SIMPLE, caCertificates: b.pem }', /absolute path/],
    ['{ mode: SIMPLE, credentialName: "kubernetes://bank/a" }', /name of a Secret of the same namespace/],
  ] as const) {
    const world = await worldOf(t, { objects: destination(`{ tls: ${policy} }`) });
    const plain = await world.serveHttp('web');
    t.equal((await world.request('/')).status, 503, policy);
    t.equal(plain.received(), '');
    t.equal((await world.line({ status: 503 }))['code'], 'TRAFFIC_REFUSED');
    t.match(JSON.stringify(world.waypoint.source?.findings()), why);
  }
});

void t.test('BackendTLSPolicy: by its name and authorities, and never without', async t => {
  const configMap = (pem: string): string =>
    `${JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ca', namespace: 'shop' }, data: { 'ca.crt': pem } })}\n---\n`;
  const policy = (validation: string): string => `apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: p, namespace: shop }
spec: { targetRefs: [{ group: "", kind: Service, name: web }], validation: ${validation} }
`;
  const refs = 'caCertificateRefs: [{ group: "", kind: ConfigMap, name: ca }]';
  const certificate = certificateFor(root, 'www.example.com');
  const world = await worldOf(t, {
    objects: configMap(root.pem) + policy(`{ hostname: www.example.com, ${refs} }`),
  });
  const server = await serveTls(world, 'web', { certificate });
  t.equal((await world.request('/')).status, 200);
  t.equal(server.seen[0]?.sni, 'www.example.com');

  await world.routes(configMap(makeRoot().pem) + policy(`{ hostname: www.example.com, ${refs} }`));
  t.equal((await world.request('/')).status, 503);
  t.match((await world.line({ code: 'UPSTREAM_TLS_FAILED' }))['error'], /BackendTLSPolicy shop\/p/);

  await world.routes(policy(`{ hostname: www.example.com, ${refs} }`));
  t.equal((await world.request('/')).status, 503);
  t.match((await world.line({ code: 'TRAFFIC_REFUSED' }))['error'], /no reference leads to a certificate/);
  t.equal(server.requests.h1 + server.requests.h2, 1);
});
