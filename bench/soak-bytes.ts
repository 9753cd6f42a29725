/**
 * `make soak-bytes`: not one byte wrong on the kernel path, whatever happens meanwhile.
 *
 *   node bench/soak-bytes.ts [--minutes 60] [--limits 4096,16384,65536,262144,1048576] [--json FILE]
 *
 * Sockets are joined. For each limit the byte-pattern programs run in every variant they have, for the same part of the
 * minutes, while every two seconds the agent is replaced, killed and started again, or given another policy that allows
 * what goes on. A run is void unless the kernel carried it.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CulvertError } from '../base/errors.ts';
import { KernelPathLab } from '../test/help/kernel-path-lab.ts';
import { authorizationPolicy, to } from '../test/help/policies.ts';
import { type Tally, Patterns } from './soak/patterns.ts';
import { buildTools } from './tools/build.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    limits: { type: 'string', default: '4096,16384,65536,262144,1048576' },
    json: { type: 'string' },
  },
});
const node = 'node-a';
const limits = values.limits.split(',').filter(Boolean).map(Number);
const tools = await buildTools();

interface Part extends Tally {
  readonly limit: number;
  readonly seconds: number;
  readonly replaced: number;
  readonly killed: number;
  readonly policies: number;
  readonly joined: number;
  readonly toTcp: number;
  readonly toJoin: number;
}

/** All variants at one limit, for so many milliseconds. */
async function carry(limit: number, ms: number): Promise<Part> {
  const stage = await KernelPathLab.create('soak-bytes', { mode: 'join', limit });
  try {
    const begun = performance.now();
    const patterns = await Patterns.start(stage, tools.pattern);
    const [replaced, killed, policies] = await disturb(stage, begun + ms);
    const tally = await patterns.end();
    const { joined, toTcp, toJoin } = await sums(stage);
    const seconds = Math.round((performance.now() - begun) / 1000);
    return { limit, seconds, replaced, killed, policies, joined, toTcp, toJoin, ...tally };
  } finally {
    await stage[Symbol.asyncDispose]();
  }
}

/** Counters live in a pinned map: they go on from agent to agent. */
async function sums(stage: KernelPathLab): Promise<{ joined: number; toTcp: number; toJoin: number }> {
  const now = await stage.decisions();
  const joined = now('path_joined');
  if (joined === 0) throw new CulvertError('BENCH_VOID', 'the kernel joined nothing');
  return { joined, toTcp: now('path_to_tcp'), toJoin: now('path_to_join') };
}

async function disturb(stage: KernelPathLab, until: number): Promise<[number, number, number]> {
  const { agents } = stage;
  let [replaced, killed, policies] = [0, 0, 0];
  for (let n = 0; performance.now() < until; n += 1) {
    const pause = new Promise(resolve => setTimeout(resolve, 2_000));
    if (n % 3 === 0) {
      const { old } = await agents.replaceAgent(node);
      await old.process.exited;
      replaced += 1;
    } else if (n % 3 === 1) {
      await agents.crashAgent(node);
      killed += 1;
    } else {
      // Concerns the same pods: their verdicts are judged anew, and stand.
      const other = authorizationPolicy({ action: 'DENY', rules: [to(9_000 + (n % 900))] });
      await agents.apply('policy.yaml', [other]);
      policies += 1;
    }
    await pause;
  }
  return [replaced, killed, policies];
}

const parts: Part[] = [];
for (const limit of limits) {
  const part = await carry(limit, (Number(values.minutes) * 60_000) / limits.length);
  parts.push(part);
  const cells = Object.entries(part).map(([figure, value]) => `${figure} ${String(value)}`);
  process.stdout.write(`${cells.join(' · ')}\n`);
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(parts, null, 2)}\n`);
process.exitCode = parts.every(({ wrong, failed }) => wrong + failed === 0) ? 0 : 1;
