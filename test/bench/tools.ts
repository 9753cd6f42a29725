/**
 * The load programs over loopback: their numbers are plausible, and the pattern checker finds what a bad path does.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { histogramOf, percentile } from '../../bench/distribution.ts';
import { buildTools } from '../../bench/tools/build.ts';

const tools = await buildTools();
const run = promisify(execFile);

t.test('load measures round trips, streams and connections over IPv4 and IPv6', async t => {
  const { port } = await serverOf(t, tools.load);
  for (const host of ['127.0.0.1', '::1']) {
    const rtt = await load('rtt', host, port, '0.1', '100');
    t.match(rtt, { measure: 'rtt', bytes: 100 });
    t.ok(
      0 < n(rtt, 'p50_us') && n(rtt, 'p50_us') <= n(rtt, 'p90_us') && n(rtt, 'p99_us') <= n(rtt, 'max_us'),
    );
    const told = await load('rtt', host, port, '0.1', '100', 'histogram');
    const histogram = histogramOf(told);
    t.ok(histogram !== null && sum(histogram.counts) === n(told, 'count'), 'each is in one bucket');
    t.ok(histogram !== null && Math.abs(percentile(histogram, 50) / n(told, 'p50_us') - 1) < 0.02);
    const small = await load('stream', host, port, '0.1', 'up', '64');
    t.ok(n(small, 'bytes') > 0 && n(small, 'bytes') % 64 === 0, 'writes of that size');
    for (const direction of ['up', 'down']) {
      const stream = await load('stream', host, port, '0.1', direction);
      t.match(stream, { measure: 'stream', direction });
      t.ok(n(stream, 'bytes') > 0 && n(stream, 'gbit_per_second') > 0);
    }
    t.ok(n(await load('connect', host, port, '0.1'), 'per_second') > 0);
    t.match(await load('connect', host, port, '100', '4', '40'), { clients: 4, count: 40 });
  }
});

t.test('load fails when the server is not there or ends', async t => {
  const closing = net.createServer(socket => socket.destroy()).listen(0, '127.0.0.1');
  await once(closing, 'listening');
  t.teardown(() => closing.close());
  const { port } = closing.address() as net.AddressInfo;
  for (const mode of ['rtt', 'stream', 'connect'])
    await t.rejects(load(mode, '127.0.0.1', port, '1'), { code: 1 });
  await t.rejects(load('rtt', '127.0.0.1', await freePort(), '1'), { code: 1, stderr: /refused/ });
});

t.test('paced counts every answer, and fails on a wrong one', async t => {
  let status = 200;
  const server = http.createServer((_, answer) =>
    answer.writeHead(status, { 'content-length': 2 }).end('ok'),
  );
  t.teardown(() => server.close());
  const port = String(await listening(server));
  const { stdout } = await run(tools.paced, ['127.0.0.1', port, '0.5', '200', '4']);
  const told = JSON.parse(stdout) as Record<string, unknown>;
  t.match(told, { measure: 'paced' });
  t.ok(Math.abs(n(told, 'count') - 90) <= 1);
  t.ok(0 < n(told, 'p50_us') && n(told, 'p50_us') <= n(told, 'p99_us'));
  status = 503;
  await t.rejects(run(tools.paced, ['127.0.0.1', port, '0.5', '200', '4']), { code: 1, stderr: /503/ });
});

t.test('pattern passes on a good path, with every way to end', async t => {
  const { port } = await serverOf(t, tools.pattern);
  const variants = [
    ['--up', '0', '--down', '0'],
    ['--up', '3000000', '--down', '0'],
    ['--up', '0', '--down', '3000000', '--first-end', 'server'],
    ['--up', '2000000', '--down', '100000', '--first-end', 'server'],
    ['--sessions', '6', '--parallel', '3', '--pauses'],
  ];
  for (const variant of variants) {
    const { stdout } = await run(tools.pattern, ['client', '127.0.0.1', String(port), ...variant]);
    const sessions = lines(stdout);
    t.ok(sessions.length > 0 && sessions.every(session => session['ok'] === true), variant.join(' '));
  }
});

t.test('pattern finds a wrong byte, a lost end, an early end, an extra byte and a stall', async t => {
  const server = await serverOf(t, tools.pattern);
  // Whichever end loses patience first resets the other, or what the proxy makes of a reset.
  const stalled = /stalled|reset|ended too early/i;
  const flaws: Readonly<Record<string, { readonly path: Path; readonly wrong: RegExp }>> = {
    'a flipped bit': {
      path: { down: (chunk, at) => flip(chunk, 500_000 - at) },
      wrong: /wrong byte/,
    },
    'a flipped bit on the way up': {
      path: { up: (chunk, at) => flip(chunk, 500_000 - at) },
      wrong: /reset|broken pipe|ended too early/i,
    },
    'an early end': {
      path: { down: (chunk, at) => (at > 500_000 ? null : chunk) },
      wrong: /ended too early/,
    },
    'a byte too many': {
      path: {
        down: (chunk, at) =>
          at + chunk.length === (1 << 20) + 1 ? Buffer.concat([chunk, Buffer.alloc(1)]) : chunk,
      },
      wrong: /more bytes/,
    },
    'bytes that are left out': {
      path: { down: (chunk, at) => (at > 500_000 ? 'nothing' : chunk) },
      wrong: /ended too early/,
    },
    'an end that is not passed on': { path: { keepsEnds: true }, wrong: stalled },
    'bytes that do not come': {
      path: { down: (chunk, at) => (at > 500_000 ? 'nothing' : chunk), keepsEnds: true },
      wrong: stalled,
    },
  };
  for (const [name, { path, wrong }] of Object.entries(flaws)) {
    const port = await proxyOf(t, server.port, path);
    const failed = run(tools.pattern, ['client', '127.0.0.1', String(port), '--stall', '400']);
    const { stdout, code } = (await failed.catch((error: unknown) => error)) as {
      stdout: string;
      code?: number;
    };
    t.equal(code, 1, name);
    t.match(lines(stdout)[0], { ok: false, wrong }, name);
  }
});

t.test('idle holds connections, proves them alive, and both ends end with their input', async t => {
  const server = await serverOf(t, tools.idle);
  const client = spawn(tools.idle, ['client', '127.0.0.1', String(server.port), '500'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const said = linesOf(client);
  t.same(await said(), { open: 500 });
  client.stdin.write('exchange\n');
  t.same(await said(), { alive: 500 });
  server.child.stdin?.write('count\n');
  t.same(await server.said(), { open: 500 });
  client.stdin.end();
  t.same(await once(client, 'exit'), [0, null]);
  server.child.stdin?.end();
  t.same(await once(server.child, 'exit'), [0, null]);
});

type Line = Readonly<Record<string, unknown>>;

function lines(text: string): Line[] {
  return text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Line);
}

function n(line: Line, name: string): number {
  return Number(line[name]);
}

function sum(counts: ReadonlyMap<number, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0);
}

async function load(mode: string, host: string, port: number, ...more: string[]): Promise<Line> {
  const { stdout } = await run(tools.load, [mode, host, String(port), ...more]);
  return lines(stdout)[0] ?? {};
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function linesOf(child: ChildProcess): () => Promise<Line> {
  const { stdout } = child;
  if (stdout === null) throw new Error('no standard output');
  const iterator = createInterface({ input: stdout })[Symbol.asyncIterator]();
  return async () => JSON.parse(String((await iterator.next()).value)) as Line;
}

async function serverOf(t: Test, program: string) {
  const port = await freePort();
  const child = spawn(program, ['server', String(port)], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.teardown(() => child.kill('SIGKILL'));
  const said = linesOf(child);
  t.same(await said(), { listening: port });
  return { child, port, said };
}

/** What a path does to a chunk that begins at a position: changes it, ends here (null), or swallows it. */
type Change = (chunk: Buffer, at: number) => Buffer | null | 'nothing';

interface Path {
  readonly up?: Change;
  readonly down?: Change;
  readonly keepsEnds?: boolean;
}

async function proxyOf(t: Test, to: number, path: Path): Promise<number> {
  const relay = (from: net.Socket, into: net.Socket, change: Change): void => {
    let at = 0;
    let ended = false;
    from.on('data', (chunk: Buffer) => {
      const changed = change(chunk, at);
      at += chunk.length;
      if (ended || changed === 'nothing') return;
      if (changed === null) {
        ended = true;
        into.end();
      } else {
        into.write(changed);
      }
    });
    from.on('end', () => path.keepsEnds !== true && !ended && into.end());
    from.on('error', () => into.destroy());
  };
  const server = net.createServer({ allowHalfOpen: true }, client => {
    const upstream = net.connect({ port: to, host: '127.0.0.1', allowHalfOpen: true });
    t.teardown(() => [client, upstream].forEach(socket => socket.destroy()));
    relay(client, upstream, path.up ?? (chunk => chunk));
    relay(upstream, client, path.down ?? (chunk => chunk));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

/** The chunk with one bit of this byte changed, when it has that byte. */
function flip(chunk: Buffer, index: number): Buffer {
  const copy = Buffer.from(chunk);
  if (index >= 0 && index < copy.length) copy.writeUInt8(copy.readUInt8(index) ^ 4, index);
  return copy;
}

async function listening(server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as net.AddressInfo).port;
}
