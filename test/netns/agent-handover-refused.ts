/**
 * Handovers that must not happen, or break off at each of their steps: the agent that runs goes on, and whoever talks
 * meanwhile does not notice.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Channel } from '../../agent/handover/channel.ts';
import { receiveEstate } from '../../agent/handover/estate.ts';
import { type FromNew, type FromOld, type Greeting, spoken } from '../../agent/handover/protocol.ts';
import { defaultPodPorts } from '../../agent/config.ts';
import { abi } from '../../agent/redirect-abi.ts';
import * as native from '../../native/native.ts';
import { AgentLab } from '../help/agent-lab.ts';
import type { AgentProcessOptions } from '../lab/agent-process.ts';
import { Steady } from '../help/steady.ts';
import { eventually } from '../lab/eventually.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const stage = await AgentLab.create({
  name: 'handover-refused',
  nodes: ['node-a'],
  pods: [
    { name: 'client', namespace: 'shop', node: 'node-a', serviceAccount: 'client' },
    { name: 'near', namespace: 'shop', node: 'node-a', serviceAccount: 'near' },
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, near] = [stage.pod('client'), stage.pod('near')];
const port = 8080;
await (await stage.sockets(near)).serve('::', port);

/** A new agent as far as the old one can see: this test. */
class Pretender implements Disposable {
  readonly channel: Channel<FromOld, FromNew>;
  readonly #descriptors: number;
  readonly #path: string;

  private constructor(channel: Channel<FromOld, FromNew>, descriptors: number, path: string) {
    this.channel = channel;
    this.#descriptors = descriptors;
    this.#path = path;
  }

  static async greet(said: Partial<Greeting> = {}): Promise<Pretender> {
    const directory = stage.agent('node-a').stateDirectory;
    const socket = connect(join(directory, 'handover.sock'));
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const name = `take-${randomBytes(4).toString('hex')}`;
    const channel = new Channel<FromOld, FromNew>(socket);
    const path = join(directory, name);
    const pretender = new Pretender(channel, native.descriptorSocket(path), path);
    channel.send({
      type: 'greeting',
      protocols: spoken,
      build: 'test',
      node: 'node-a',
      layout: abi,
      podPorts: defaultPodPorts,
      descriptors: name,
      ...said,
    });
    return pretender;
  }

  receive() {
    return receiveEstate(this.channel, this.#descriptors);
  }

  [Symbol.dispose](): void {
    this.channel.close();
    native.close(this.#descriptors);
    rmSync(this.#path, { force: true });
  }
}

async function nobodyNotices(t: Test, act: () => Promise<void>): Promise<void> {
  const { pid } = await stage.status('node-a');
  const steady = await Steady.start(client, near.address, port, { streams: 2, life: 2 });
  await act();
  const { failed, lost } = await steady.end();
  t.same({ failed, lost }, { failed: {}, lost: {} });
  t.equal((await stage.status('node-a')).pid, pid, 'the same agent serves');
  t.ok((await stage.status('node-a')).ready);
}

/** How often the agent says that a handover came to this. */
const handovers = (outcome: string): Promise<number> =>
  stage.agent('node-a').metric('culvert_handovers_total', { outcome });

const misfits: Readonly<Record<string, Partial<Greeting>>> = {
  HANDOVER_VERSION: { protocols: [98, 99], build: '9.9.9' },
  HANDOVER_LAYOUT: { layout: abi + 1 },
  HANDOVER_REFUSED: { podPorts: { ...defaultPodPorts, hbone: 25_008 } },
};
for (const [code, said] of Object.entries(misfits)) {
  t.test(`refused with ${code}`, t =>
    nobodyNotices(t, async () => {
      using pretender = await Pretender.greet(said);
      const answer = await pretender.channel.receive(5_000);
      t.match(answer, { type: 'refused', code, fix: /stop the running agent first/ });
    }),
  );
}

t.test('what is no greeting is refused, and what says nothing is let go', t =>
  nobodyNotices(t, async () => {
    using wrong = await Pretender.greet({ type: 'ready' } as unknown as Greeting);
    t.match(await wrong.channel.receive(5_000), { type: 'refused', code: 'HANDOVER_PROTOCOL' });
    const silent = connect(join(stage.agent('node-a').stateDirectory, 'handover.sock'));
    await new Promise<void>(resolve => silent.once('close', () => resolve()).resume());
    t.pass('closed');
  }),
);

t.test('one at a time', t =>
  nobodyNotices(t, async () => {
    using first = await Pretender.greet();
    t.match(await first.channel.receive(5_000), { type: 'hello', protocol: spoken.at(-1) });
    using second = await Pretender.greet();
    t.match(await second.channel.receive(5_000), { type: 'refused', code: 'HANDOVER_BUSY' });
  }),
);

t.test('gone before it is ready', t =>
  nobodyNotices(t, async () => {
    const before = await handovers('failed');
    {
      using pretender = await Pretender.greet();
      t.match(await pretender.channel.receive(5_000), { type: 'hello' });
    }
    await eventually(async () => (await handovers('failed')) === before + 1, { what: 'the agent to know' });
  }),
);

t.test('a newer build that is gone with everything in its hands, before it serves', t =>
  nobodyNotices(t, async () => {
    const before = await handovers('failed');
    {
      using pretender = await Pretender.greet({ protocols: [...spoken, 99], build: '9.9.9' });
      t.match(
        await pretender.channel.receive(5_000),
        { type: 'hello', protocol: spoken.at(-1) },
        'what both speak',
      );
      pretender.channel.send({ type: 'ready' });
      const inheritance = await pretender.receive();
      t.same(
        inheritance
          .pods()
          .map(({ wanted }) => wanted.name)
          .sort(),
        ['client', 'near'],
      );
      inheritance.close();
    }
    await eventually(async () => (await handovers('failed')) === before + 1, { what: 'the agent to know' });
  }),
);

t.test('gone while it receives', t =>
  nobodyNotices(t, async () => {
    const before = await handovers('failed');
    {
      using pretender = await Pretender.greet();
      await pretender.channel.receive(5_000);
      pretender.channel.send({ type: 'ready' });
      t.match(await pretender.channel.receive(5_000), { type: 'port' });
    }
    await eventually(async () => (await handovers('failed')) === before + 1, { what: 'the agent to know' });
  }),
);

t.test('gone after it has served: the old one serves again', async t => {
  const { pid } = await stage.status('node-a');
  const before = await handovers('returned');
  {
    using pretender = await Pretender.greet();
    await pretender.channel.receive(5_000);
    pretender.channel.send({ type: 'ready' });
    const inheritance = await pretender.receive();
    pretender.channel.send({ type: 'serving' });
    await stage.agent('node-a').process.says(/another agent serves/);
    inheritance.close();
  }
  await eventually(async () => (await stage.agent('node-a').get(15_000, '/status')) !== null, {
    what: 'the old one to be back',
  });
  t.equal((await stage.status('node-a')).pid, pid);
  t.equal(await handovers('returned'), before + 1);
  await nobodyNotices(t, async () => {});
});

/** Starts another agent, which must end by itself; returns what it said. */
async function inVain(t: Test, options: Partial<AgentProcessOptions>): Promise<string> {
  const { configDir } = stage;
  const node = stage.lab.node('node-a');
  const agent = await stage.lab.agent(node, { configDir, ...options, waitUntilReady: false });
  t.not((await agent.process.exited).code, 0);
  return agent.process.stderr();
}

t.test('a new agent ends when it is refused', t =>
  nobodyNotices(t, async () => {
    t.match(await inVain(t, { args: ['--hbone-port', '25008'] }), 'HANDOVER_REFUSED');
  }),
);

t.test('a new agent that cannot start changes nothing', t =>
  nobodyNotices(t, async () => {
    t.match(await inVain(t, { configDir: join(stage.configDir, 'nowhere') }), 'CONFIG_DIR');
  }),
);

t.test('a running agent of a build that speaks otherwise is left alone', async t => {
  const agent = stage.agent('node-a');
  await agent.stop();
  const path = join(agent.stateDirectory, 'handover.sock');
  const greeted = new Promise<string>(resolve => {
    const server = createServer(socket => {
      socket.once('data', (bytes: Buffer) => {
        resolve(bytes.toString());
        const refusal = { type: 'refused', code: 'HANDOVER_VERSION', message: 'by protocol 99', fix: null };
        socket.end(`${JSON.stringify(refusal)}\n`);
      });
    }).listen(path);
    t.teardown(() => server.close());
  });
  await t.rejects(stage.startAgent('node-a'), {
    code: 'LAB_AGENT_ENDED',
    message: /HANDOVER_VERSION: by protocol 99/,
  });
  t.match(JSON.parse(await greeted), { type: 'greeting', protocols: spoken });
});
