/**
 * Who may connect to whom through whole agents: each policy is put into force under a running mesh, and what the
 * programs in the pods get is compared. Cross node it is the destination's agent that decides, on one node the only one.
 */
import t from 'tap';
import type { KubernetesObject } from '../lab/kubernetes.ts';
import type { Place } from '../lab/place.ts';
import { AgentLab } from '../help/agent-lab.ts';
import { authorizationPolicy, from, peerAuthentication, to } from '../help/policies.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const stage = await AgentLab.create({
  name: 'policy',
  objects: [peerAuthentication({ mode: 'DISABLE' })],
  pods: [
    { name: 'client', namespace: 'shop', node: 'node-a', serviceAccount: 'client' },
    { name: 'teller', namespace: 'bank', node: 'node-a', serviceAccount: 'teller' },
    { name: 'foreign', namespace: 'legacy', node: 'node-a', serviceAccount: 'client' },
    { name: 'near', namespace: 'shop', node: 'node-a', serviceAccount: 'web', labels: { app: 'web' } },
    { name: 'far', namespace: 'shop', node: 'node-b', serviceAccount: 'web', labels: { app: 'web' } },
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [near, far, { outside }] = [stage.pod('near'), stage.pod('far'), stage.lab];
const ports = [8080, 9090] as const;
for (const server of [near, far]) {
  for (const port of ports) await (await stage.sockets(server)).serve('::', port);
}

const clients: Readonly<Record<string, Place>> = {
  client: stage.pod('client'),
  teller: stage.pod('teller'),
  foreign: stage.pod('foreign'),
  outside,
};

interface Outcome {
  /** What the program got: an answer, or the errno. */
  readonly got: string;
  /** As access lines write it. */
  readonly source: string;
}

async function outcome(client: Place, server: string, port: number): Promise<Outcome> {
  const opened = await (await stage.sockets(client)).connect(server, port);
  const source = opened.local.join(':');
  try {
    await opened.send('ping');
    const answer = await opened.receive(4);
    await opened.close();
    return { got: answer === 'ping' ? 'ok' : `"${answer}"`, source };
  } catch (error) {
    return { got: (error as { code: string }).code, source };
  }
}

interface Expectation {
  readonly name: string;
  readonly objects: readonly KubernetesObject[];
  /** Clients that get an answer at each port; all others are reset. */
  readonly allowed: Readonly<Record<(typeof ports)[number], readonly string[]>>;
  /** What else the access line of a client that is refused says. */
  readonly line?: Readonly<Record<string, unknown>>;
}

const everybody = Object.keys(clients);
const enrolledOnes = ['client', 'teller'];
const denied = { code: 'POLICY_DENIED', side: 'client', level: 'warn' };

const expectations: readonly Expectation[] = [
  {
    name: 'without any policy everybody is let in',
    objects: [],
    allowed: { 8080: everybody, 9090: everybody },
  },
  {
    name: 'PERMISSIVE lets in who has no identity',
    objects: [peerAuthentication({ mode: 'PERMISSIVE' })],
    allowed: { 8080: everybody, 9090: everybody },
  },
  {
    name: 'STRICT refuses who has no identity',
    objects: [peerAuthentication({ mode: 'STRICT' })],
    allowed: { 8080: enrolledOnes, 9090: enrolledOnes },
  },
  {
    name: 'STRICT at one port',
    objects: [peerAuthentication({ mode: 'PERMISSIVE', app: 'web', ports: { 9090: { mode: 'STRICT' } } })],
    allowed: { 8080: everybody, 9090: enrolledOnes },
  },
  {
    name: 'ALLOW by principal',
    objects: [
      authorizationPolicy({
        action: 'ALLOW',
        rules: [from({ principals: ['cluster.local/ns/shop/sa/client'] })],
      }),
    ],
    allowed: { 8080: ['client'], 9090: ['client'] },
    line: { reason: /no allow policy matches/ },
  },
  {
    name: 'DENY by principal',
    objects: [
      authorizationPolicy({
        action: 'DENY',
        rules: [from({ principals: ['cluster.local/ns/shop/sa/client'] })],
      }),
    ],
    allowed: { 8080: ['teller', 'foreign', 'outside'], 9090: ['teller', 'foreign', 'outside'] },
    line: { policy: 'shop/test', rule: 0, reason: 'explicitly denied by shop/test rule 0' },
  },
  {
    name: 'ALLOW by namespace',
    objects: [authorizationPolicy({ action: 'ALLOW', rules: [from({ namespaces: ['bank'] })] })],
    allowed: { 8080: ['teller'], 9090: ['teller'] },
  },
  {
    name: 'DENY what is not of a namespace: who has no identity is of none',
    objects: [authorizationPolicy({ action: 'DENY', rules: [from({ notNamespaces: ['shop'] })] })],
    allowed: { 8080: ['client'], 9090: ['client'] },
    line: { policy: 'shop/test' },
  },
  {
    name: 'DENY by port, in the second rule',
    objects: [authorizationPolicy({ action: 'DENY', rules: [to(1), to(9090)] })],
    allowed: { 8080: everybody, 9090: [] },
    line: { policy: 'shop/test', rule: 1 },
  },
  {
    name: 'ALLOW by ipBlock, also through a tunnel',
    objects: [
      authorizationPolicy({
        action: 'ALLOW',
        rules: [from({ ipBlocks: [`${stage.pod('teller').address}/32`] })],
      }),
    ],
    allowed: { 8080: ['teller'], 9090: ['teller'] },
  },
  {
    name: 'DENY by ipBlock',
    objects: [
      authorizationPolicy({
        action: 'DENY',
        rules: [from({ ipBlocks: [`${stage.pod('client').address}/32`] })],
      }),
    ],
    allowed: { 8080: ['teller', 'foreign', 'outside'], 9090: ['teller', 'foreign', 'outside'] },
  },
  {
    name: 'DENY comes before ALLOW',
    objects: [
      authorizationPolicy({ name: 'all', action: 'ALLOW', rules: [{}] }),
      authorizationPolicy({
        name: 'not-him',
        action: 'DENY',
        rules: [from({ principals: ['*/sa/teller'] })],
      }),
    ],
    allowed: { 8080: ['client', 'foreign', 'outside'], 9090: ['client', 'foreign', 'outside'] },
    line: { policy: 'shop/not-him' },
  },
  {
    name: 'ALLOW without a rule allows nobody',
    objects: [authorizationPolicy({ action: 'ALLOW' })],
    allowed: { 8080: [], 9090: [] },
  },
  {
    name: 'a policy that selects others is for others',
    objects: [authorizationPolicy({ action: 'ALLOW', app: 'elsewhere' })],
    allowed: { 8080: everybody, 9090: everybody },
  },
];

for (const { name, objects, allowed, line } of expectations) {
  t.test(name, async t => {
    await stage.apply('objects.yaml', objects);
    for (const server of [near, far]) {
      for (const port of ports) {
        const outcomes = await Promise.all(
          everybody.map(it => outcome(clients[it] ?? outside, server.address, port)),
        );
        const expected = everybody.map(it => (allowed[port].includes(it) ? 'ok' : 'ECONNRESET'));
        t.same(
          outcomes.map(({ got }) => got),
          expected,
          `${server.name}:${port} for ${everybody.join(', ')}`,
        );
        const refused = outcomes.find(({ got }) => got !== 'ok');
        if (refused === undefined) continue;
        const seen = await stage.line(server.node, {
          'src.addr': refused.source,
          'dst.workload': server.name,
        });
        t.match(seen, { ...denied, ...line }, `and the access line says why`);
      }
    }
  });
}

t.test('each side tells of a refusal, and counts it', async t => {
  await stage.apply('objects.yaml', [authorizationPolicy({ action: 'DENY', rules: [to(9090)] })]);
  const [denials, plain] = ['culvert_denied_connections_total', 'culvert_plaintext_connections_total'];
  const before = await stage.agent('node-b').metric(denials, { policy: 'shop/test', direction: 'inbound' });
  const { got, source } = await outcome(stage.pod('client'), far.address, 9090);
  t.equal(got, 'ECONNRESET');
  t.match(await stage.line('node-a', { 'src.addr': source }), {
    code: 'PEER_DENIED',
    direction: 'outbound',
    'src.identity': 'spiffe://cluster.local/ns/shop/sa/client',
    'dst.identity': 'spiffe://cluster.local/ns/shop/sa/web',
    fix: /access log names the policy/,
  });
  const after = await stage.agent('node-b').metric(denials, { policy: 'shop/test', direction: 'inbound' });
  t.equal(after - before, 1, denials);
  t.ok((await stage.agent('node-b').metric(plain, { direction: 'inbound' })) > 0, plain);
});
