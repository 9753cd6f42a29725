/**
 * What the L7 hop of a waypoint costs: wrk → hop → nginx over loopback, everything on one CPU, in turns with no hop at all and, where
 * its binary is given, with Envoy as the hop.
 *
 *   node bench/waypoint.ts [--cpu 1] [--rounds 5] [--seconds 4] [--envoy PATH] [--access-log FILE]
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { quantile } from './compare.ts';
import { nginxConfiguration } from './nginx.ts';

const { values } = parseArgs({
  options: {
    cpu: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    envoy: { type: 'string' },
    'access-log': { type: 'string', default: '' },
  },
});
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
writeFileSync(nginxFile, nginxConfiguration(ports.nginx, join(scratch, 'nginx')));
// One process: a master's worker would outlive a kill.
start('nginx', '-c', nginxFile, '-g', 'master_process off;');
const hop = start(
  process.execPath,
  join(import.meta.dirname, 'waypoint-hop.ts'),
  String(ports.culvert),
  String(ports.nginx),
  values['access-log'],
);
const systems: (keyof typeof ports)[] = ['nginx', 'culvert'];
if (values.envoy !== undefined) {
  const file = join(scratch, 'envoy.json');
  writeFileSync(file, JSON.stringify(envoyConfiguration));
  start(values.envoy, '-c', file, '--concurrency', '1', '--log-level', 'error');
  systems.push('envoy');
}
for (const system of systems) await listening(ports[system]);

/** Requests per second, and the 99th percentile in milliseconds. */
function measure(port: number): { rate: number; p99: number } {
  const args = [
    '-c',
    values.cpu,
    'wrk',
    '-t1',
    '-c64',
    `-d${values.seconds}s`,
    '--latency',
    `http://127.0.0.1:${port}/`,
  ];
  const text = execFileSync('taskset', args, { encoding: 'utf8' });
  if (/Non-2xx/.test(text)) throw new Error(text);
  const [, amount = '', unit = ''] = /99%\s+([\d.]+)(us|ms|s)/.exec(text) ?? [];
  const scale = { us: 0.001, ms: 1, s: 1_000 }[unit] ?? Number.NaN;
  return { rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]), p99: Number(amount) * scale };
}

const idle = residentMegabytes();
// The first requests are interpreted; what is measured is the state a waypoint is in for the rest of its life.
for (const system of systems) measure(ports[system]);
const results = new Map(systems.map(system => [system, [] as { rate: number; p99: number }[]]));
for (let round = 0; round < Number(values.rounds); round += 1) {
  for (const system of round % 2 === 0 ? systems : systems.toReversed())
    results.get(system)?.push(measure(ports[system]));
}
for (const [system, runs] of results) {
  const rate = quantile(
    runs.map(run => run.rate),
    0.5,
  );
  const p99 = quantile(
    runs.map(run => run.p99),
    0.5,
  );
  process.stdout.write(`${system.padEnd(8)} ${Math.round(rate)} requests/s   p99 ${p99.toFixed(2)} ms\n`);
}
const envoy = results.get('envoy');
if (envoy !== undefined) {
  const ratios = envoy.map((run, index) => (results.get('culvert')?.[index]?.rate ?? Number.NaN) / run.rate);
  process.stdout.write(`culvert / envoy ${quantile(ratios, 0.5).toFixed(3)} (median of pairs)\n`);
}
process.stdout.write(`memory ${idle} MB before, ${residentMegabytes()} MB after\n`);
hop.kill();
await once(hop, 'exit');
process.exit();

function residentMegabytes(): number {
  const status = readFileSync(`/proc/${hop.pid}/status`, 'utf8');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
}
