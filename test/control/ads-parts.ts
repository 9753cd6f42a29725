/** A large state in parts: for clients that say they understand it, and whole for all others. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { offersOf } from '../../control/encode.ts';
import { Mesh, emptyMesh } from '../../model/mesh.ts';
import { XdsClient } from '../../xds/client.ts';
import { resourceTypes } from '../../xds/codec.ts';
import { discoveryNode } from '../../xds/node.ts';
import { partMark, partsFeature } from '../../xds/parts.ts';
import { workload } from '../model/objects.ts';
import { until } from './cluster/until.ts';
import { AdsClient, type AdsServing, serveAds } from './serving.ts';

const typeUrl = resourceTypes.address;
const count = 300;

function fill({ store }: AdsServing): void {
  const workloads = Array.from({ length: count }, (_, n) =>
    workload(`w${n}`, { addresses: [`10.0.${n >> 8}.${n & 255}`] }),
  );
  const nodePods = { set: [], removed: [] };
  store.apply(offersOf({ mesh: { ...emptyMesh, workloads }, l7: [], settings: null, nodePods }));
}

t.test('the last part is the one without a mark', async t => {
  const serving = await serveAds(t, { limits: { partBytes: 5_000, largeBytes: 1_000 } });
  fill(serving);
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl, node: { clientFeatures: [partsFeature] } });
  const names = new Set<string>();
  const marks: string[] = [];
  while (names.size < count) {
    const response = await client.next();
    for (const { name } of response.resources) names.add(name);
    marks.push(response.systemVersionInfo);
    client.answer(response);
  }
  t.ok(marks.length > 5);
  t.strictSame(
    marks,
    marks.map((_, at) => (at === marks.length - 1 ? '' : partMark)),
  );
});

t.test('who does not ask for parts gets one response', async t => {
  const serving = await serveAds(t, { limits: { partBytes: 5_000 } });
  fill(serving);
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl, node: { clientFeatures: ['something.else'] } });
  t.match(await client.next(), { resources: { length: count }, systemVersionInfo: '' });
});

t.test('a client knows everything with the last part, not before', async t => {
  const serving = await serveAds(t, { limits: { partBytes: 5_000 } });
  fill(serving);
  const directory = t.testdir();
  const [rootPath, tokenPath] = [join(directory, 'root.pem'), join(directory, 'token')];
  writeFileSync(rootPath, serving.rootPem);
  writeFileSync(tokenPath, 'agent.n1');
  const mesh = new Mesh();
  const before = new Set<number>();
  const agent = { podName: 'a', podNamespace: 'culvert-system', serviceAccount: 'culvert-agent' };
  const client = new XdsClient({
    endpoint: { address: serving.address, rootPath, tokenPath, serverName: null, headers: {} },
    node: discoveryNode({ nodeName: 'n1', podIp: '', clusterId: '', version: '', ...agent }),
    subscriptions: ['address'],
    log: pino({ level: 'silent' }),
    onUpdate: ({ delta }) => mesh.apply(delta),
    onState: ({ synced }) => {
      if (!synced) before.add(mesh.snapshot().workloads.length);
    },
  });
  t.teardown(() => client.close());
  client.start();
  await until('the client knows everything', () => client.state().synced);
  t.equal(mesh.snapshot().workloads.length, count);
  t.ok(before.size > 3, 'it came in parts');
  t.notOk(before.has(count), 'and was not complete before the last');
});
