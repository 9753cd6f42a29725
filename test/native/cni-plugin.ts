/**
 * The CNI plugin as a runtime starts it: every command and version of the specification, an agent that answers, refuses,
 * is slow, talks nonsense or is not there, and input that nobody should send. Under AddressSanitizer.
 */
import { execFileSync, spawn } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import * as fc from 'fast-check';
import t from 'tap';
import {
  type CniAnswer,
  type CniQuestion,
  decodeQuestion,
  encodeAnswer,
  isEnrolled,
  mayStart,
} from '../../agent/cluster/cni-protocol.ts';
import { CniServer } from '../../agent/cluster/cni-server.ts';
import type { CniTimes } from '../../agent/cluster/cni-times.ts';
import { createLogger } from '../../base/log.ts';

const source = join(import.meta.dirname, '../../native/cni');
execFileSync('make', ['-s', '-C', source, 'all', 'checked']);
const plugin = join(source, 'build/culvert-cni-checked');
const log = createLogger({ component: 'test', level: 'silent' });
const directory = t.testdir();
const namespaces = join(directory, 'namespaces');
writeFileSync(namespaces, 'bank\nshop\n');

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Environment = Readonly<Record<string, string>>;

const inShop: Environment = {
  CNI_CONTAINERID: 'box-1',
  CNI_NETNS: '/run/netns/cni-1',
  CNI_IFNAME: 'eth0',
  CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=uid-1',
};

function run(environment: Environment, input: string | Buffer, binary = plugin): Promise<Outcome> {
  return new Promise(resolve => {
    const child = spawn(binary, [], { env: environment });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', chunk => (stdout += chunk));
    child.stderr.on('data', chunk => (stderr += chunk));
    // It need not read what it refuses.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.on('close', code => resolve({ code, stdout, stderr }));
  });
}

const previous =
  '{ "cniVersion":"1.0.0",  "ips":[{"address":"10.1.0.7/24"},{"address":"fd00::7/64"}], "x":"\\u00e9" }';

function configuration(socket: string, more: object = {}): string {
  const rest = {
    cniVersion: '1.0.0',
    name: 'net',
    type: 'culvert-cni',
    socket,
    enrolledNamespaces: namespaces,
  };
  // By hand, so that it is seen whether the result is passed on byte for byte.
  return `${JSON.stringify({ ...rest, ...more }).slice(0, -1)},"prevResult":${previous}}`;
}

const nobody = join(directory, 'nobody.sock');
let sockets = 0;

/** An agent that answers each question so, and what it was asked. */
async function agent(
  answer: (question: CniQuestion, signal: AbortSignal) => Promise<CniAnswer>,
): Promise<{ readonly socket: string; readonly asked: CniQuestion[]; readonly times: CniTimes }> {
  const socket = join(directory, `${(sockets += 1)}.sock`);
  const asked: CniQuestion[] = [];
  const server = new CniServer({
    socket,
    answer: (question, signal) => {
      asked.push(question);
      return answer(question, signal);
    },
    log,
  });
  await server.start();
  t.teardown(() => server.close());
  return { socket, asked, times: server.times };
}

/** Something that listens and is no agent. */
async function stranger(talk: (socket: Socket) => void): Promise<string> {
  const path = join(directory, `${(sockets += 1)}.sock`);
  const server = createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', () => {});
    talk(socket);
  });
  await new Promise<void>(resolve => server.listen(path, resolve));
  t.teardown(() => server.close());
  return path;
}

const add = (socket: string, environment: Environment = inShop, more: object = {}): Promise<Outcome> =>
  run({ ...environment, CNI_COMMAND: 'ADD' }, configuration(socket, more));

/** What a runtime reads of a failure. */
const failure = ({ stdout }: Outcome): object => JSON.parse(stdout) as object;

t.test('how long pods waited is counted by what came of it', async t => {
  const { socket, times } = await agent(async () => isEnrolled);
  await add(socket);
  await run({ ...inShop, CNI_COMMAND: 'DEL' }, configuration(socket));
  const refusing = await agent(async () => ({ code: 101, message: 'no', details: 'no' }));
  await add(refusing.socket);
  const of = ({ samples }: { samples: ReturnType<CniTimes['samples']> }, outcome: string, name: string) =>
    samples
      .filter(sample => sample.labels['outcome'] === outcome && sample.name === name)
      .map(({ value, extra }) => ({ value, ...extra }));
  const enrolled = { samples: times.samples('x') };
  t.match(of(enrolled, 'enrolled', 'x_count'), [{ value: 1 }], 'one that goes is not counted');
  t.match(of(enrolled, 'enrolled', 'x_bucket').at(-1), { le: '+Inf', value: 1 });
  t.match(of(enrolled, 'refused', 'x_count'), [{ value: 0 }]);
  t.match(of({ samples: refusing.times.samples('x') }, 'refused', 'x_count'), [{ value: 1 }]);
  t.match(JSON.parse(JSON.stringify(times)), { enrolled: { count: 1 }, refused: { count: 0 } });
});

t.test('a pod that may start: what came before is passed on byte for byte', async t => {
  const { socket, asked } = await agent(async () => mayStart);
  const outcome = await add(socket);
  t.same(outcome, { code: 0, stdout: `${previous}\n`, stderr: '' });
  t.same(asked, [
    {
      command: 'ADD',
      sandboxId: 'box-1',
      netns: '/run/netns/cni-1',
      interfaceName: 'eth0',
      pod: { uid: 'uid-1', namespace: 'shop', name: 'web' },
      addresses: ['10.1.0.7', 'fd00::7'],
    },
  ]);
});

t.test('the static build does the same', async t => {
  const { socket } = await agent(async () => mayStart);
  const outcome = await run(
    { ...inShop, CNI_COMMAND: 'ADD' },
    configuration(socket),
    join(source, 'build/culvert-cni'),
  );
  t.same(outcome, { code: 0, stdout: `${previous}\n`, stderr: '' });
});

t.test('a pod that may not: the words of the agent', async t => {
  const words = 'not "now"\n\u0001 – später';
  const { socket } = await agent(async () => ({ code: 101, message: words, details: 'x'.repeat(9_000) }));
  const outcome = await add(socket);
  t.equal(outcome.code, 1);
  t.match(failure(outcome), { cniVersion: '1.0.0', code: 101, msg: words });
  // Cut where there is no more room, between two characters.
  const brief = await agent(async () => ({ code: 11, message: 'é'.repeat(600), details: '' }));
  t.match(failure(await add(brief.socket)), { code: 11, msg: 'é'.repeat(255) });
});

t.test('no agent: a pod of the mesh waits, every other starts', async t => {
  const outcome = await add(nobody);
  t.equal(outcome.code, 1);
  t.match(failure(outcome), { code: 11, msg: /does not answer/, details: /nobody\.sock: No such file/ });
  const elsewhere = (args: string): Environment => ({ ...inShop, CNI_ARGS: args });
  for (const args of [
    'K8S_POD_NAMESPACE=sho',
    'K8S_POD_NAMESPACE=shops',
    'K8S_POD_NAMESPACE=',
    '',
    'X=shop',
  ]) {
    t.match(await add(nobody, elsewhere(args)), { code: 0, stdout: `${previous}\n` }, args);
  }
  t.equal((await add(nobody, elsewhere('a;K8S_POD_NAMESPACE=bank'))).code, 1);
  t.equal((await add(nobody, inShop, { enrolledNamespaces: join(directory, 'none') })).code, 0, 'no file');
  t.equal((await add(nobody, inShop, { enrolledNamespaces: directory })).code, 1, 'one that cannot be read');
});

t.test('an agent that does not answer is none', async t => {
  const silent = await stranger(() => {});
  const hung = await add(silent, inShop, { timeoutMs: 50 });
  t.match(failure(hung), { code: 11, details: /no answer in time/ });
  const other = { ...inShop, CNI_ARGS: 'K8S_POD_NAMESPACE=other' };
  t.equal((await add(silent, other, { timeoutMs: 50 })).code, 0);
  t.match(failure(await add(await stranger(socket => socket.destroy()))), { code: 11 });
  const frames = [
    Buffer.from('nonsense, and not short'),
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([255, 255, 255, 255]),
    Buffer.from([0, 0, 0, 5, 0, 0, 0, 9, 48]),
    encodeAnswer({ code: 0, message: '', details: '' }).subarray(0, -1),
    Buffer.concat([Buffer.from([0, 0, 0, 17]), Buffer.from([0, 0, 0, 2, 45, 49]), Buffer.alloc(11)]),
  ];
  for (const frame of frames) {
    const socket = await stranger(it => void it.end(frame));
    t.match(failure(await add(socket)), { code: 11 }, frame.toString('hex'));
  }
  const dribble = await stranger(it => {
    it.once('data', () => {
      for (const byte of encodeAnswer(mayStart)) it.write(Buffer.from([byte]));
    });
  });
  t.equal((await add(dribble)).code, 0, 'an answer in pieces is one');
});

t.test('a runtime that gives up on a pod', async t => {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  const { socket } = await agent(
    (_question, signal) =>
      new Promise(answer => {
        signal.addEventListener('abort', () => {
          resolve();
          answer(mayStart);
        });
        child.kill('SIGKILL');
      }),
  );
  const child = spawn(plugin, [], { env: { ...inShop, CNI_COMMAND: 'ADD' } });
  child.stdin.end(configuration(socket));
  await gone;
  t.pass('the agent hears of it');
});

t.test('DEL tells the agent, and never fails', async t => {
  const { socket, asked } = await agent(async () => ({ code: 101, message: 'no', details: '' }));
  const del = { ...inShop, CNI_COMMAND: 'DEL' };
  t.same(await run(del, configuration(socket)), { code: 0, stdout: '', stderr: '' });
  t.match(asked, [{ command: 'DEL', sandboxId: 'box-1' }]);
  t.equal((await run(del, configuration(nobody))).code, 0);
  t.equal((await run(del, 'no JSON')).code, 0);
  t.equal((await run({ CNI_COMMAND: 'DEL' }, '')).code, 0);
});

t.test('the other commands', async t => {
  const { socket, asked } = await agent(async () => ({ code: 101, message: 'no', details: '' }));
  const versions = await run({ CNI_COMMAND: 'VERSION' }, '{"cniVersion":"0.1.0"}');
  t.same(failure(versions), {
    cniVersion: '1.1.0',
    supportedVersions: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'],
  });
  const command = (CNI_COMMAND: string, cniVersion: string): Promise<Outcome> =>
    run({ ...inShop, CNI_COMMAND }, configuration(socket, { cniVersion }));
  t.match(failure(await command('CHECK', '0.4.0')), { code: 101 });
  t.match(asked, [{ command: 'CHECK' }]);
  t.match(failure(await command('CHECK', '0.3.1')), { code: 1 }, 'came with 0.4.0');
  for (const name of ['STATUS', 'GC']) {
    t.same(await command(name, '1.1.0'), { code: 0, stdout: '', stderr: '' }, 'nothing to wait for');
    t.match(failure(await command(name, '1.0.0')), { code: 1 }, 'came with 1.1.0');
  }
  t.match(failure(await command('REBOOT', '1.0.0')), { code: 4 });
  t.match(failure(await run({}, '')), { code: 4, details: /CNI_COMMAND/ });
});

t.test('every version of the specification, and no other', async t => {
  const { socket } = await agent(async () => mayStart);
  for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
    t.equal((await add(socket, inShop, { cniVersion })).code, 0, cniVersion);
  }
  for (const cniVersion of ['0.1.0', '0.2.0', '0.3.0', '1.2.0', '2', '']) {
    t.match(failure(await add(socket, inShop, { cniVersion })), { code: 1 }, cniVersion);
  }
});

t.test('what a runtime should not send', async t => {
  const { socket } = await agent(async () => mayStart);
  const adds = { ...inShop, CNI_COMMAND: 'ADD' };
  for (const name of ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME']) {
    const { [name]: _, ...others } = inShop;
    t.match(failure(await add(socket, others)), { code: 4, details: name });
  }
  t.match(failure(await add(socket, { ...inShop, CNI_ARGS: 'x'.repeat(5_000) })), { code: 4 });
  const inputs: readonly (readonly [string, number])[] = [
    ['', 6],
    ['[]', 6],
    ['{"cniVersion":"1.0.0"', 6],
    ['{"cniVersion":1}', 6],
    ['{"cniVersion":"1.0.0","socket":7}', 6],
    [`{"cniVersion":"1.0.0","socket":"${'x'.repeat(5_000)}"}`, 6],
    ['{"cniVersion":"1.0.0","enrolledNamespaces":[]}', 6],
    ['{"cniVersion":"1.0.0","timeoutMs":120000}', 6],
    ['{}', 1],
    ['{"cniVersion":"1.0.0"}', 7],
    ['{"cniVersion":"1.0.0","prevResult":null}', 7],
    [`{"cniVersion":"1.0.0","x":"${'x'.repeat(1 << 20)}"}`, 5],
  ];
  for (const [input, code] of inputs) {
    t.match(failure(await run(adds, input)), { code }, input.slice(0, 60));
  }
  const long = configuration(`/${'x'.repeat(300)}`);
  t.match(failure(await run(adds, long)), { code: 11, details: /File name too long/ });
});

t.test('damaged configurations never break it', async t => {
  const good = configuration(nobody);
  const damaged = fc
    .tuple(fc.nat(good.length), fc.nat(20), fc.uint8Array({ maxLength: 8 }))
    .map(([at, length, bytes]) =>
      Buffer.concat([Buffer.from(good.slice(0, at)), bytes, Buffer.from(good.slice(at + length))]),
    );
  for (const input of fc.sample(damaged, 60)) {
    const { code, stderr } = await run({ ...inShop, CNI_COMMAND: 'ADD' }, input);
    if (!(code === 0 || code === 1) || stderr !== '') t.fail(`${input.toString()}: ${code} ${stderr}`);
  }
  t.pass('60 of them');
});

t.test('the socket is for root, and a new agent takes over without a gap', async t => {
  const socket = join(directory, 'turn.sock');
  const serve = (code: number): CniServer =>
    new CniServer({ socket, answer: async () => ({ code, message: 'x', details: '' }), log });
  const [first, second] = [serve(101), serve(102)];
  await first.start();
  t.equal(statSync(socket).mode & 0o777, 0o600);
  t.match(failure(await add(socket)), { code: 101 });
  await second.start();
  t.match(failure(await add(socket)), { code: 102 });
  await first.close();
  t.match(failure(await add(socket)), { code: 102 }, 'the first leaves it alone when it ends');
  await second.close();
  t.match(failure(await add(socket)), { code: 11 });
  const closed = join(directory, 'closed');
  writeFileSync(closed, '');
  const nowhere = new CniServer({ socket: join(closed, 'x.sock'), answer: async () => mayStart, log });
  await t.rejects(nowhere.start(), { code: 'CNI_SOCKET' });
});

t.test('the server takes no nonsense', async t => {
  const { socket, asked } = await agent(async () => mayStart);
  const talk = (bytes: Buffer): Promise<string> =>
    new Promise(resolve => {
      let got = '';
      const client = connect(socket, () => client.write(bytes));
      client.on('data', chunk => (got += chunk.toString('latin1')));
      client.on('error', () => {});
      client.on('close', () => resolve(got));
    });
  t.equal(await talk(Buffer.from([255, 255, 255, 255])), '', 'longer than any question');
  for (const bytes of [
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([0, 0, 0, 3, 1, 2, 3]),
    Buffer.from([0, 0, 0, 5, 0, 0, 0, 9, 1]),
  ]) {
    t.match(await talk(bytes), /CNI_BAD_QUESTION/);
  }
  t.same(asked, []);
  const field = (text: string): Buffer => {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const question = (...fields: string[]): Buffer => Buffer.concat(fields.map(field));
  t.throws(() => decodeQuestion(question('2', 'ADD', '', '', '', '', '')), { code: 'CNI_BAD_QUESTION' });
  t.match(decodeQuestion(question('1', 'DEL', 'box', '', '', 'a;=b;c=', 'no JSON')), {
    pod: { uid: '', namespace: '', name: '' },
    addresses: [],
  });
});
