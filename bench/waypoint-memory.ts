/**
 * What a waypoint of a cluster weighs while nothing comes: a real process, told by a whole control plane on loopback of a
 * mesh of so many workloads. `node bench/waypoint-memory.ts [workloads]` prints its resident and proportional set size.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ClusterWorld } from '../test/waypoint/cluster-world.ts';

const launcher = fileURLToPath(new URL('../cli/culvert', import.meta.url));
const workloads = Number(process.argv[2] ?? 100);
const directory = mkdtempSync(join(tmpdir(), 'culvert-waypoint-memory-'));
const endings: (() => unknown)[] = [() => rmSync(directory, { recursive: true })];
const world = await ClusterWorld.create({
  testdir: () => directory,
  teardown: ending => endings.unshift(ending),
});
for (let at = 0; at < workloads; at += 1) {
  const app = `app-${Math.floor(at / 5)}`;
  if (at % 5 === 0) world.service(app, `10.97.${at >> 8}.${at & 255}`, 80, 8080);
  world.pod(`${app}-${at % 5}`, app, `10.1.${at >> 8}.${at & 255}`, 8080);
}
const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
const { address, rootPath, tokenPath } = world.endpoint(`${uid},wp-1,shop:wp`);
const options = ['--control', address, '--control-root', rootPath ?? '', '--token', tokenPath ?? ''];
const ports = [
  '--hbone-port',
  '25008',
  '--admin-port',
  '25000',
  '--metrics-port',
  '25020',
  '--ready-port',
  '25021',
];
const waypoint = spawn(launcher, ['waypoint', 'run', ...options, '--name', 'shop/wp', ...ports], {
  env: { ...process.env, POD_NAME: 'wp-1', POD_NAMESPACE: 'shop' },
  stdio: ['ignore', 'ignore', 'inherit'],
});
const isReady = async (): Promise<boolean> =>
  fetch('http://127.0.0.1:25021/healthz/ready').then(
    ({ ok }) => ok,
    () => false,
  );
while (!(await isReady()) && waypoint.exitCode === null) await setTimeout(100);
// By then it has settled.
await setTimeout(10_000);
const text = readFileSync(`/proc/${waypoint.pid}/smaps_rollup`, 'utf8');
const mb = (name: string): number =>
  Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 102.4) / 10;
process.stdout.write(`${JSON.stringify({ workloads, rssMb: mb('Rss'), pssMb: mb('Pss') })}\n`);
waypoint.kill();
for (const ending of endings) await ending();
process.exit();
