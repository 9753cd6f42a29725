/**
 * The stage of the act of the waypoint: pods that join a mesh which runs, what runs in them, and YAML that is waited for.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CulvertError } from '../../../base/errors.ts';
import { eventually } from '../eventually.ts';
import { type KubernetesObject, podObject } from '../kubernetes.ts';
import type { LabPod } from '../pod.ts';
import type { LabProcess } from '../process.ts';
import { nodeNames } from './cast.ts';
import { startNginx } from './programs.ts';
import type { AccessLine, Stage } from './stage.ts';
import { collectorPort, waypointObjects, waypointPods } from './waypoint-cast.ts';

const launcher = fileURLToPath(new URL('../../../cli/culvert', import.meta.url));
const collector = fileURLToPath(new URL('collector.ts', import.meta.url));

export class WaypointStage {
  readonly stage: Stage;
  /** As a person would type it in the pod. */
  readonly command: string;
  readonly #accessLog: string;
  #collector: LabProcess | null = null;

  private constructor(stage: Stage) {
    this.stage = stage;
    this.command = 'culvert waypoint run --config DIR --name shop/waypoint';
    this.#accessLog = join(stage.lab.directory, 'waypoint.log');
  }

  /** Returns when the waypoint and the programs beside it are ready, and nobody uses it yet. */
  static async setUp(stage: Stage): Promise<WaypointStage> {
    const made = new WaypointStage(stage);
    const pods = await stage.lab.pods(waypointPods);
    const agents = nodeNames.map(node => () => stage.generation(node));
    await applied(agents, () =>
      stage.write('waypoint.yaml', [...waypointObjects(), ...pods.map(pod => podObject(pod))]),
    );
    await Promise.all([made.#startPrograms(), made.#startWaypoint()]);
    return made;
  }

  /** Writes a file, and returns when agents and waypoint have read it. */
  async apply(file: string, objects: readonly KubernetesObject[]): Promise<void> {
    const readers = [...nodeNames.map(node => () => this.stage.generation(node)), () => this.#generation()];
    await applied(readers, () => this.stage.write(file, objects));
  }

  /** What the waypoint has written about requests so far. */
  accessLines(): AccessLine[] {
    if (!existsSync(this.#accessLog)) return [];
    const lines = readFileSync(this.#accessLog, 'utf8').split('\n').slice(0, -1);
    return lines.map(line => JSON.parse(line) as AccessLine);
  }

  /** Spans as the collector has got them, one JSON object a line. */
  spans(): string[] {
    return this.#collector?.stdout().split('\n').slice(0, -1) ?? [];
  }

  async #startPrograms(): Promise<void> {
    const { lab } = this.stage;
    const broken = { '/cart': 'return 503 "the cart of web-v2 is broken\\n";' };
    const nginx = startNginx(this.#pod('web-v2'), lab.directory, 'page of web-v2', broken);
    this.#collector = this.#pod('traces').spawn(process.execPath, [collector, String(collectorPort)]);
    await Promise.all([nginx, this.#collector.listensOn(collectorPort)]);
  }

  async #startWaypoint(): Promise<void> {
    const args = ['waypoint', 'run', '--config', this.stage.configDir, '--name', 'shop/waypoint'];
    const waypoint = this.#pod('waypoint').spawn(launcher, [...args, '--access-log', this.#accessLog]);
    const isReady = async (): Promise<boolean> =>
      !waypoint.running || (await this.#get(15021, '/healthz/ready')) !== null;
    await eventually(isReady, { timeoutMs: 20_000, what: 'readiness of the waypoint' });
    if (waypoint.running) return;
    const said = (waypoint.stderr().trim() || waypoint.stdout().trim()).slice(-3_000);
    throw new CulvertError('DEMO_STAGE', `the waypoint ended instead of becoming ready: ${said}`);
  }

  async #generation(): Promise<number> {
    const status = JSON.parse((await this.#get(15000, '/status')) ?? '{}') as {
      readonly configuration?: { readonly generation: number };
    };
    return status.configuration?.generation ?? 0;
  }

  async #get(port: number, path: string): Promise<string | null> {
    const url = `http://127.0.0.1:${port}${path}`;
    const result = await this.#pod('waypoint').run('curl', ['-sf', '--max-time', '5', url], { check: false });
    return result.code === 0 ? result.stdout : null;
  }

  #pod(name: (typeof waypointPods)[number]['name']): LabPod {
    return this.stage.pod(name);
  }
}

/** Writes, and waits until each reader has read something that is newer than what it had. */
async function applied(readers: readonly (() => Promise<number>)[], write: () => void): Promise<void> {
  const before = await Promise.all(readers.map(read => read()));
  write();
  for (const [index, read] of readers.entries()) {
    await eventually(async () => (await read()) > (before[index] ?? 0), {
      intervalMs: 5,
      what: 'the YAML in force',
    });
  }
}
