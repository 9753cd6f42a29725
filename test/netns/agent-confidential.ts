/**
 * What somebody on the wire between two nodes sees: TLS. tcpdump is the judge, and the canary is in every place where an
 * application's bytes could show.
 */
import t, { type Test } from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { serviceObject } from '../lab/kubernetes.ts';
import { tlsRecords } from '../lab/pcap.ts';
import type { Place } from '../lab/place.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const vip = '10.96.0.10';
const ports = [{ port: 80, targetPort: 8080 }];
const stage = await AgentLab.create({
  name: 'confidential',
  pods: [
    { name: 'client', namespace: 'shop', node: 'node-a' },
    { name: 'far', namespace: 'shop', node: 'node-b', labels: { app: 'far' } },
  ],
  objects: [
    serviceObject({ name: 'far', namespace: 'shop', selector: { app: 'far' }, clusterIPs: [vip], ports }),
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, far, { outside }] = [stage.pod('client'), stage.pod('far'), stage.lab];
const canary = 'the-canary-sings-at-midnight';
await (await stage.sockets(far)).serve('::', 8080);
await (await stage.sockets(outside)).serve('::', 8080);

async function sing(t: Test, from: Place, address: string, port: number): Promise<void> {
  const opened = await (await stage.sockets(from)).connect(address, port);
  await opened.send(canary);
  t.equal(await opened.receive(canary.length), canary, `${address}:${port} has answered`);
  await opened.close();
}

t.test('between two nodes there is only TLS', async t => {
  const captures = await Promise.all(
    stage.lab.nodes.map(node => stage.lab.capture(node, 'eth0', { filter: 'tcp' })),
  );
  for (const address of [far.address, far.address6]) await sing(t, client, address, 8080);
  await sing(t, client, vip, 80);
  await sing(t, far, far.address, 8080);
  for (const capture of captures) {
    const seen = await capture.stop();
    t.equal(seen.dropped, 0, 'nothing was missed');
    t.notOk(seen.contains(canary), 'no canary');
    const carrying = seen.flows.filter(flow => flow.payload.length > 0);
    t.ok(carrying.length > 0, 'though there was traffic');
    for (const flow of carrying) {
      const { records, otherBytes } = tlsRecords(flow.payload);
      t.ok(
        records > 0 && otherBytes === 0,
        `${flow.source} > ${flow.destination}: TLS from the first byte to the last`,
      );
      t.ok([flow.sourcePort, flow.destinationPort].includes(15_008), 'to or from the port of tunnels');
    }
  }
});

t.test('the same capture hears what is not in the mesh', async t => {
  const capture = await stage.lab.capture(stage.lab.node('node-a'), 'eth0', { filter: 'tcp' });
  await sing(t, client, outside.address, 8080);
  t.ok((await capture.stop()).contains(canary), 'or it would prove nothing');
});

t.test('without a certificate nobody gets a word out of the port of tunnels', async t => {
  const before = await stage
    .agent('node-b')
    .metric('culvert_tunnel_handshake_failures_total', { direction: 'inbound' });
  const foreign = await stage.sockets(outside);
  const plain = await foreign.connect(far.address, 15_008);
  await plain.send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const said = await plain.receive(1_000).catch((error: { code: string }) => error.code);
  t.notOk(said.includes('HTTP') || said.includes('SETTINGS'), 'not in plain text');
  const openssl = await outside.run(
    'openssl',
    ['s_client', '-connect', `${far.address}:15008`, '-alpn', 'h2', '-tls1_3', '-quiet'],
    { input: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', check: false, timeoutMs: 10_000 },
  );
  t.match(openssl.stderr, /certificate required|handshake failure|alert/, 'and not as a stranger');
  t.equal(openssl.stdout, '');
  const failures = async (): Promise<number> =>
    (await stage
      .agent('node-b')
      .metric('culvert_tunnel_handshake_failures_total', { direction: 'inbound' })) - before;
  t.equal(await failures(), 2, 'both are counted');
  const refusals =
    stage
      .agent('node-b')
      .process.stdout()
      .match(/"src":"172\.18\.0\.254".*tunnel refused/g) ?? [];
  t.equal(refusals.length, 2, 'and logged, one line each');
  await sing(t, client, far.address, 8080);
});
