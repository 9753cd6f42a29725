/** What two agents say to each other, and when one may take the place of the other. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { defaultPodPorts } from '../../agent/config.ts';
import { Channel } from '../../agent/handover/channel.ts';
import { agree, type Greeting, isGreeting, type Standing } from '../../agent/handover/protocol.ts';
import { type Giver, Successors } from '../../agent/handover/successors.ts';
import { announceKeeper, untilStartedAgain, withdrawKeeper } from '../../agent/handover/restart.ts';
import { CulvertError } from '../../base/errors.ts';
import { announce, lock } from '../../base/lock.ts';
import { createLogger } from '../../base/log.ts';
import { eventually } from '../lab/eventually.ts';

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

t.test('one that has given its place leaves the socket of the next one alone', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-successors-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'handover.sock');
  const nothing = async (): Promise<void> => {};
  const giver: Giver = {
    suspend: async () => ({ pods: [], ports: [] }),
    pause() {},
    retire: nothing,
    resume: nothing,
    forget: nothing,
    restore() {},
  };
  const [first, second] = [0, 1].map(
    () =>
      new Successors({
        directory,
        standing,
        giver,
        log: createLogger({ component: 'handover-test', level: 'silent' }),
        count: () => {},
      }),
  ) as [Successors, Successors];
  const answers = (): Promise<string> =>
    new Promise(resolve => {
      const socket = connect(path);
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
      socket.on('data', () => resolve('somebody'));
      socket.write('{"type":"no greeting"}\n');
    });
  const says = (who: string): Promise<boolean> =>
    eventually(async () => (await answers()) === who, { what: who });
  first.listen();
  await says('somebody');
  first.stopListening();
  t.equal(await answers(), 'ECONNREFUSED', 'the file may be that of the next one already: it stays');
  second.listen();
  await says('somebody');
  first.close();
  t.equal(await answers(), 'somebody');
  rmSync(path);
  second.look();
  await says('somebody');
  second.close();
  t.same(readdirSync(directory), []);
});

t.test('who comes while a keeper starts its agent again waits for that, and for nothing else', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-restart-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const lockPath = join(directory, 'agent.lock');
  await untilStartedAgain(directory, lockPath);
  announceKeeper(directory);
  await untilStartedAgain(directory, lockPath);
  t.pass('no keeper, or the own one');
  withdrawKeeper(directory);
  t.same(readdirSync(directory), []);

  for (const end of ['the agent has its place', 'the keeper gives up']) {
    const keeper = spawn('sleep', ['60']);
    await once(keeper, 'spawn');
    announce(join(directory, 'keeper.pid'), keeper.pid ?? 0);
    let over = false;
    const waiting = untilStartedAgain(directory, lockPath).then(() => (over = true));
    await delay(100);
    t.notOk(over, 'waits');
    withdrawKeeper(directory);
    const give = end.startsWith('the agent') ? lock(lockPath) : null;
    if (give === null) keeper.kill();
    await waiting;
    t.pass(end);
    give?.();
    if (give === null) continue;
    keeper.kill();
    await once(keeper, 'exit');
  }
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
