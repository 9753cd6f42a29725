/**
 * An agent as far as its keeper can see, for keeper.ts: does what its life says, and says what came of it in lines of JSON.
 *
 *   kept-agent.ts WAIT_MS LIFE...        one LIFE for each start, the last one for all that follow; words of `steps` below
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Keeper } from '../../agent/handover/keeper.ts';
import type { PodEstate } from '../../agent/handover/estate.ts';
import { createLogger } from '../../base/log.ts';
import { fdOf } from '../../agent/socket-handle.ts';
import * as native from '../../native/native.ts';

const [waitMs = '', ...lives] = process.argv.slice(2);
const crashes = Number(process.env['CULVERT_KEEPER_CRASHES']);
const life = (lives[crashes] ?? lives.at(-1) ?? '').split(' ');
const log = createLogger({ component: 'test', level: 'warn', destination: { write: say } });
const stateDir = mkdtempSync(join(tmpdir(), 'culvert-kept-'));
const keeper = Keeper.open({ waitMs: Number(waitMs), stateDir, log });
process.on('exit', () => rmSync(stateDir, { recursive: true, force: true }));

function say(line: string): void {
  process.stdout.write(`${line.trim()}\n`);
}

function tell(what: object): void {
  say(JSON.stringify(what));
}

async function listener(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  const fd = native.duplicate(fdOf(server as unknown as net.Socket));
  server.close();
  return fd;
}

async function pod(name: string, cookie: bigint): Promise<PodEstate> {
  const [outbound, plaintext, hbone] = [await listener(), await listener(), await listener()];
  return {
    wanted: {
      workloadUid: name,
      podUid: name,
      name,
      namespace: 'shop',
      identity: `spiffe://cluster.local/ns/shop/sa/${name}`,
      netns: '/nowhere',
      addresses: ['10.0.0.1'],
      failMode: 'closed',
      dnsCapture: false,
    },
    cookie,
    timeWaitReuse: '2',
    sets: [{ outbound, plaintext, hbone, dnsUdp: null, dnsTcp: null }],
  };
}

/** Answers on a socket that was kept. */
function answerOn(fd: number): void {
  net.createServer(socket => socket.end('served')).listen({ fd });
}

const steps: Readonly<Record<string, (argument: string) => unknown>> = {
  port: async () => {
    const fd = await listener();
    tell({ port: native.socketAddress(fd).port });
    keeper?.keepPort({ address: '127.0.0.1', port: 1, fd });
    native.close(fd);
  },
  pod: async name => keeper?.keepPod(await pod(name, BigInt(name.length))),
  drop: length => keeper?.dropPod(BigInt(length)),
  clear: () => keeper?.clear(),
  serve: () => keeper?.serving(),
  settled: () => keeper?.settled,
  take: async () => {
    const inheritance = (await keeper?.take()) ?? null;
    tell({ took: inheritance?.pods().map(({ wanted, cookie }) => `${wanted.name} ${cookie}`) ?? null });
    const fd = inheritance?.takePort('127.0.0.1', 1) ?? null;
    if (fd !== null) answerOn(fd);
  },
  until: async file => {
    while (!existsSync(file)) await delay(5);
  },
  hangup: () => keeper?.close(),
  onterm: code => process.on('SIGTERM', () => process.exit(Number(code))),
  say: text => tell({ said: text, pid: process.pid }),
  crash: () => process.kill(process.pid, 'SIGKILL'),
  abort: () => process.abort(),
  exit: code => process.exit(Number(code)),
  forever: () => setInterval(() => {}, 1 << 30),
};

for (const step of life) {
  const [name = '', argument = ''] = step.split('=');
  await steps[name]?.(argument);
}
