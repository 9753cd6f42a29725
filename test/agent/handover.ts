/** What two agents say to each other, and when one may take the place of the other. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { defaultPodPorts } from '../../agent/config.ts';
import { Channel } from '../../agent/handover/channel.ts';
import { agree, type Greeting, isGreeting, type Standing } from '../../agent/handover/protocol.ts';
import { CulvertError } from '../../base/errors.ts';

const standing: Standing = {
  protocols: [1, 2, 3],
  build: '1.0.0',
  node: 'node-a',
  layout: 4,
  podPorts: defaultPodPorts,
};
const greeting: Greeting = { type: 'greeting', ...standing, build: '2.0.0', descriptors: 'take-1' };

/** The protocol, or the code of the refusal. */
function outcome(said: Partial<Greeting>): number | string {
  const agreed = agree(standing, { ...greeting, ...said });
  return agreed instanceof CulvertError ? agreed.code : agreed;
}

t.test('the best protocol that both speak, or none', async t => {
  t.equal(outcome({}), 3);
  t.equal(outcome({ protocols: [2, 1, 9] }), 2);
  t.equal(outcome({ protocols: [4, 5] }), 'HANDOVER_VERSION');
  t.equal(outcome({ protocols: [] }), 'HANDOVER_VERSION');
});

t.test('what must be the same', async t => {
  t.equal(outcome({ layout: 5 }), 'HANDOVER_LAYOUT');
  t.equal(outcome({ node: 'node-b' }), 'HANDOVER_REFUSED');
  t.equal(outcome({ podPorts: { ...defaultPodPorts, dns: 5353 } }), 'HANDOVER_REFUSED');
});

t.test('a greeting of any version is one, and nothing that leads out of the directory', async t => {
  t.ok(isGreeting(greeting));
  t.ok(isGreeting({ ...greeting, more: 'than we know' } as Greeting));
  const wrong = [{ type: 'ready' }, { ...greeting, protocols: 1 }, { ...greeting, descriptors: '../x' }];
  for (const said of wrong) t.notOk(isGreeting(said), JSON.stringify(said));
});

interface Said {
  readonly type: string;
}

/** A channel, and the bare socket at its other end. */
async function pair(t: Test): Promise<{ channel: Channel<Said, Said>; other: Socket }> {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-channel-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const server = createServer();
  t.teardown(() => server.close());
  await new Promise<void>(resolve => server.listen(join(directory, 's'), resolve));
  const accepted = new Promise<Socket>(resolve => server.once('connection', resolve));
  const other = connect(join(directory, 's'));
  other.on('error', () => {});
  const channel = new Channel<Said, Said>(await accepted);
  t.teardown(() => channel.close());
  t.teardown(() => other.destroy());
  return { channel, other };
}

t.test('messages come one by one, however they were cut', async t => {
  const { channel, other } = await pair(t);
  other.write('{"type":"one"}\n{"type":"two"}\n{"ty');
  t.same(await channel.receive(null), { type: 'one' });
  t.same(await channel.receive(null), { type: 'two' });
  other.write('pe":"three"}\n');
  t.same(await channel.expect(['three'], null), { type: 'three' });
});

t.test('what ends a conversation', async t => {
  const cases: readonly (readonly [string, (other: Socket) => void, string])[] = [
    ['the other one goes', other => other.destroy(), 'HANDOVER_LOST'],
    ['nonsense', other => other.write('what?\n'), 'HANDOVER_PROTOCOL'],
    ['a line without an end', other => other.write('x'.repeat(1_100_000)), 'HANDOVER_PROTOCOL'],
    ['something else', other => other.write('{"type":"else"}\n'), 'HANDOVER_PROTOCOL'],
    ['nothing', () => {}, 'HANDOVER_TIMEOUT'],
  ];
  for (const [what, act, code] of cases) {
    const { channel, other } = await pair(t);
    act(other);
    await t.rejects(channel.expect(['this'], what === 'nothing' ? 20 : 10_000), { code }, what);
    t.notOk(channel.open);
    t.match(await channel.closed, { code });
    await t.rejects(channel.receive(null), { code }, 'and stays so');
  }
});
