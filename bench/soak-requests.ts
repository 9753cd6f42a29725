/**
 * `make soak-requests`: a million requests of all kinds through agents and a waypoint. Every one of them must be answered as it
 * should be, and memory must stay as it is.
 *
 *   node bench/soak-requests.ts [--requests 1000000] [--cpu 1] [--json FILE]
 *
 * client → agent → waypoint → agent → server, on one CPU. Requests come in batches; after each of them memory is read. What
 * each process has in the last third may be little more than in the first: caches fill and heaps find their size, but
 * what is kept of every request would grow and grow.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { AgentLab } from '../test/help/agent-lab.ts';
import { parseMetrics } from '../test/lab/agent-process.ts';
import type { LabProcess } from '../test/lab/process.ts';
import { quantile } from './compare.ts';
import { residentBytes } from './process-account.ts';
import type { Asked } from './soak/askers.ts';
import { echoPorts, requestObjects, requestPods, web } from './soak/request-objects.ts';

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '1000000' },
    cpu: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
});
const wanted = Number(values.requests);
const cpus = values.cpu;
const launcher = fileURLToPath(new URL('../cli/culvert', import.meta.url));
const program = (name: string): string => join(import.meta.dirname, 'soak', name);
const batches = 60;
const batchTimeoutMs = 600_000;
/** Until what a batch left behind has been given back, as far as it will be. */
const settleMs = 500;
/** How much larger the median of the last third may be than that of the first. */
const growthAllowed = 1.1;

type Memory = Readonly<Record<'waypoint' | 'node-a' | 'node-b', number>>;

interface Growth {
  readonly process: string;
  /** Medians of the first and of the last third, megabytes resident. */
  readonly first: number;
  readonly last: number;
}

/** The first batches, in which code is compiled and everything is met for the first time, are not compared. */
function growth(memory: readonly Memory[]): Growth[] {
  const third = Math.floor(memory.length / 3);
  return (['waypoint', 'node-a', 'node-b'] as const).map(process => {
    const median = (of: readonly Memory[]): number =>
      quantile(
        of.map(one => one[process]),
        0.5,
      );
    return { process, first: median(memory.slice(0, third)), last: median(memory.slice(-third)) };
  });
}

async function askers(stage: AgentLab): Promise<(count: number) => Promise<Asked>> {
  const asking = stage.pod('client').spawn(process.execPath, [program('askers.ts'), web.address], { cpus });
  let answers = 0;
  return async count => {
    asking.stdin.write(`${count}\n`);
    answers += 1;
    const [, line = ''] = await asking.says(new RegExp(`^(?:.*\\n){${answers - 1}}(.*)\\n`), batchTimeoutMs);
    return JSON.parse(line) as Asked;
  };
}

async function serve(stage: AgentLab): Promise<LabProcess> {
  for (const name of ['one', 'two']) {
    const server = stage.pod(name).spawn(process.execPath, [program('echo.ts'), name], { cpus });
    for (const port of Object.values(echoPorts)) await server.listensOn(port);
  }
  const log = join(stage.lab.directory, 'waypoint.log');
  const flags = ['--config', stage.configDir, '--name', 'shop/waypoint', '--access-log', log];
  const waypoint = stage.pod('waypoint').spawn(launcher, ['waypoint', 'run', ...flags], { cpus });
  await waypoint.listensOn(15_008);
  return waypoint;
}

/** Requests that the waypoint has counted so far. */
async function counted(stage: AgentLab): Promise<number> {
  const { stdout } = await stage.pod('waypoint').run('curl', ['-sSf', 'http://127.0.0.1:15020/metrics']);
  return parseMetrics(stdout)
    .filter(({ name }) => name === 'istio_requests_total')
    .reduce((sum, { value }) => sum + value, 0);
}

await using stage = await AgentLab.create({
  name: 'soak-requests',
  pods: requestPods,
  objects: requestObjects(),
  agent: { cpus, shards: 1, logLevel: 'warn' },
});
const waypoint = await serve(stage);
const ask = await askers(stage);
const size = Math.ceil(wanted / batches);
await ask(size);
await delay(settleMs);
const before = await counted(stage);
const begun = performance.now();
const memory: Memory[] = [];
const all: Asked[] = [];
for (let batch = 0; batch < batches; batch += 1) {
  const asked = await ask(size);
  all.push(asked);
  await delay(settleMs);
  const now = {
    waypoint: residentBytes(waypoint.pid) / 1e6,
    'node-a': stage.agent('node-a').residentBytes() / 1e6,
    'node-b': stage.agent('node-b').residentBytes() / 1e6,
  };
  memory.push(now);
  const cells = Object.entries(now).map(([process, mb]) => `${process} ${mb.toFixed(1)} MB`);
  process.stderr.write(`${(batch + 1) * size} requests · wrong ${asked.wrong} · ${cells.join(' · ')}\n`);
  for (const example of asked.examples) process.stderr.write(`  ${example}\n`);
}
const sum = (of: (asked: Asked) => number): number => all.reduce((total, asked) => total + of(asked), 0);
const result = {
  requests: sum(({ asked }) => asked),
  counted: (await counted(stage)) - before,
  wrong: sum(({ wrong }) => wrong),
  seconds: Math.round((performance.now() - begun) / 1000),
  memory: growth(memory),
};
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ ...result, batches: memory }, null, 2)}\n`);
const isFlat = result.memory.every(({ first, last }) => last <= first * growthAllowed);
// Every one was seen by the waypoint, or something else than what is claimed was measured.
process.exitCode = result.wrong === 0 && result.counted === result.requests && isFlat ? 0 : 1;
