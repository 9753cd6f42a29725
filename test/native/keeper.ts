/**
 * The keeper as a container or an operator starts it: agents that end in every way, what is kept over it and what is not, and
 * what no agent should say. Under AddressSanitizer.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';

const source = join(import.meta.dirname, '../../native/keeper');
execFileSync('make', ['-s', '-C', source, 'all', 'checked']);
const keeper = join(source, 'build/culvert-keeper-checked');
const agent = join(import.meta.dirname, 'kept-agent.ts');
const patient = '60000';
const directory = t.testdir();

interface Said {
  readonly port?: number;
  readonly took?: readonly string[] | null;
  readonly said?: string;
  readonly pid?: number;
  readonly component?: string;
  readonly code?: string;
  readonly ended?: string;
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

class Kept implements Disposable {
  readonly #process: ChildProcess;
  readonly #exited: Promise<Ended>;
  #stdout = '';
  #stderr = '';

  constructor(command: readonly string[]) {
    const process = spawn(keeper, command, { stdio: ['ignore', 'pipe', 'pipe'] });
    process.stdout.on('data', (text: Buffer) => (this.#stdout += text.toString()));
    process.stderr.on('data', (text: Buffer) => (this.#stderr += text.toString()));
    this.#process = process;
    this.#exited = new Promise(resolve => process.once('close', (code, signal) => resolve({ code, signal })));
  }

  /** What agent and keeper have said so far. */
  get said(): Said[] {
    const lines = this.#stdout.split('\n').slice(0, -1);
    return lines.map(line => JSON.parse(line) as Said);
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Waits for a line that has this. */
  async says<Key extends keyof Said>(key: Key): Promise<Exclude<Said[Key], undefined>> {
    const line = await eventually(() => this.said.find(said => said[key] !== undefined), {
      what: `"${key}"`,
    });
    return line[key] as Exclude<Said[Key], undefined>;
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** The exit code; fails where the sanitizer has found something. */
  async code(): Promise<number | null> {
    const { code, signal } = await this.#exited;
    if (signal !== null || this.#stderr.includes('Sanitizer')) throw new Error(`${signal} ${this.#stderr}`);
    return code;
  }

  get stderr(): string {
    return this.#stderr;
  }

  [Symbol.dispose](): void {
    this.#process.kill('SIGKILL');
  }
}

/** A keeper of an agent that lives like this, life by life. */
function kept(waitMs: string, ...lives: string[]): Kept {
  return new Kept([process.execPath, agent, waitMs, ...lives]);
}

/** Of what waits for a file: lets it go on. */
let flags = 0;
function flag(): { readonly path: string; readonly raise: () => void } {
  const path = join(directory, `flag-${++flags}`);
  return { path, raise: () => writeFileSync(path, '') };
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(socket)).once('error', reject);
  });
}

/** Everything that comes, or the error that ends it. */
function answer(socket: Socket): Promise<string> {
  let text = '';
  return new Promise(resolve => {
    socket.on('data', (bytes: Buffer) => (text += bytes.toString()));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    socket.once('end', () => resolve(text));
  });
}

t.test('an agent that ends by itself ends its keeper', async t => {
  for (const [life, code] of [
    ['exit=0', 0],
    ['exit=64', 64],
    ['serve settled exit=0', 0],
    ['serve settled exit=69', 69],
    ['exit=1', 1],
  ] as const) {
    using keeper = kept(patient, life, 'say=again');
    t.equal(await keeper.code(), code, life);
    t.notOk(keeper.said.some(line => line.said === 'again'));
  }
});

t.test(
  'as does one that crashes before it serves, when it serves no more, or when nothing is to wait',
  async t => {
    for (const [wait, life, code] of [
      [patient, 'crash', 137],
      [patient, 'port settled abort', 134],
      [patient, 'serve port clear crash', 137],
      ['0', 'serve port settled crash', 137],
    ] as const) {
      using keeper = kept(wait, life, 'say=again');
      t.equal(await keeper.code(), code, life);
      t.notOk(keeper.said.some(line => line.said === 'again'));
    }
  },
);

t.test('a program that is not there', async t => {
  using keeper = new Kept([join(directory, 'nothing')]);
  t.equal(await keeper.code(), 127);
  t.match(keeper.stderr, /nothing: No such file/);
  using idle = new Kept([]);
  t.equal(await idle.code(), 64);
});

t.test('a connection waits for the agent after the one that has crashed', async t => {
  for (const [end, ended] of [
    ['crash', 'SIGKILL'],
    ['abort', 'SIGABRT'],
    ['exit=1', 'code 1'],
  ] as const) {
    const go = flag();
    using keeper = kept(patient, `serve port settled ${end}`, `until=${go.path} take serve forever`);
    const port = await keeper.says('port');
    t.equal(await keeper.says('ended'), ended);
    const waiting = answer(await dial(port));
    go.raise();
    t.equal(await waiting, 'served');
    t.equal(await answer(await dial(port)), 'served', 'and so is the next one');
    t.same(await keeper.says('took'), []);
  }
});

t.test('of a pod the newest sockets are kept, and none of one that has left', async t => {
  using keeper = kept(
    patient,
    'serve pod=first pod=third pod=seventh pod=first drop=7 settled crash',
    'take drop=5 serve settled crash',
    'take exit=0',
  );
  t.equal(await keeper.code(), 0);
  t.same(
    keeper.said.filter(line => line.took !== undefined).map(line => line.took),
    [['first 5'], []],
    '5: first and third are pods of one namespace, one after the other',
  );
});

t.test('nobody waits for an agent that does not come', async t => {
  const go = flag();
  using keeper = kept(
    '300',
    'serve port settled crash',
    `until=${go.path} take say=on serve settled crash`,
    'exit=0',
  );
  const port = await keeper.says('port');
  await keeper.says('ended');
  t.equal(await answer(await dial(port)), 'ECONNRESET', 'who waits is told');
  await t.rejects(dial(port), { code: 'ECONNREFUSED' }, 'and nobody else comes');
  t.ok(keeper.said.some(line => line.code === 'AGENT_ABSENT'));
  go.raise();
  t.equal(await keeper.code(), 0, 'one that comes late is an agent like any other');
});

t.test('of an agent that tells nothing any more nothing is kept', async t => {
  using keeper = kept(patient, 'serve port settled hangup say=up forever');
  const port = await keeper.says('port');
  await keeper.says('said');
  t.equal(await answer(await dial(port)), 'ECONNRESET');
  await t.rejects(dial(port), { code: 'ECONNREFUSED' });
  t.ok(keeper.said.some(({ component, code }) => component === 'keeper' && code === 'KEEPER_FAILED'));
});

t.test('told to stop, nothing is started again', async t => {
  for (const [life, code] of [
    ['onterm=0 serve port settled say=up forever', 0],
    ['onterm=1 serve port settled say=up forever', 1],
    ['serve port settled say=up forever', 143],
  ] as const) {
    using keeper = kept(patient, life, 'say=again exit=3');
    const port = await keeper.says('port');
    await keeper.says('said');
    keeper.kill('SIGTERM');
    t.equal(await keeper.code(), code, life);
    await t.rejects(dial(port), { code: 'ECONNREFUSED' });
  }
});

t.test('an agent does not outlive its keeper', async () => {
  using keeper = kept(patient, 'serve say=up forever');
  const pid = await keeper.says('pid');
  keeper.kill('SIGKILL');
  await eventually(() => !existsSync(`/proc/${pid}`) || /^State:\s+Z/m.test(status(pid)), {
    what: 'its end',
  });
});

t.test('it has a megabyte at most', async t => {
  const program = join(source, 'build/culvert-keeper');
  const ask = "sed -n 's/^VmRSS:[^0-9]*//p' /proc/$PPID/status";
  const [kilobytes = ''] = execFileSync(program, ['sh', '-c', ask], { encoding: 'utf8' }).split(' ');
  t.ok(Number(kilobytes) > 0 && Number(kilobytes) < 1024, `${kilobytes} kB`);
});

function status(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return 'State: Z';
  }
}

/** Python has no start-up to speak of. */
const say = (text: string, end: string): string[] => [
  'python3',
  '-Sc',
  `import os, socket, signal, sys
fds = [int(fd) for fd in os.environ["CULVERT_KEEPER"].split()]
lines = socket.socket(fileno=fds[0])
lines.setblocking(True)
answers = lines.makefile()
lines.sendall(sys.argv[1].encode())
for _ in range(sys.argv[1].count("\\n")): print(answers.readline(), end="", flush=True)
${end}`,
  text,
];

t.test('an agent that crashes all the time is left to somebody else', async t => {
  const hello = '{"type":"hello","protocol":1,"build":"x","waitMs":60000}\n';
  using keeper = new Kept(say(hello, 'os.kill(os.getpid(), signal.SIGKILL)'));
  t.equal(await keeper.code(), 137);
  const codes = keeper.said.flatMap(({ code }) => code ?? []);
  t.equal(codes.at(-1), 'AGENT_CRASHES');
  t.ok(codes.length > 20, `after ${codes.length} crashes`);
});

t.test('what no agent says is refused, and changes nothing', async t => {
  const wrong = [
    'nonsense',
    '[]',
    '{}',
    '{"type":7}',
    '{"type":"elsewhere"}',
    `{"type":"${'x'.repeat(5_000)}"}`,
    '{"type":"listeners","dns":false}',
    '{"type":"keep"}',
    '{"type":"port","address":"127.0.0.1","port":1}',
    '{"type":"pod","cookie":"0"}',
    '{"type":"pod","cookie":"-1"}',
    '{"type":"pod","cookie":"18446744073709551616"}',
    '{"type":"drop","cookie":7}',
    '{"type":"hello"}',
    '{"type":"hello","waitMs":-1}',
    `{"type":"hello","build":"${'x'.repeat(2_000)}","waitMs":1}`,
  ];
  using keeper = new Kept(say(`${wrong.join('\n')}\n`, 'sys.exit(7)'));
  t.equal(await keeper.code(), 7);
  t.same(
    keeper.said.map(({ code }) => code),
    wrong.map(() => 'KEEPER_FAILED'),
  );
});

t.test('nor is a line without an end listened to', async t => {
  using keeper = new Kept(say('', 'lines.sendall(b"x" * (1 << 22))'));
  t.equal(await keeper.code(), 1);
  t.match(keeper.stderr, 'BrokenPipeError', 'the conversation is over');
});
