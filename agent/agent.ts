/**
 * One agent, put together: configuration, certificates, redirection, shards, and what shows them to the outside.
 *
 * The constructor does no I/O. `start` goes in the order in which things depend on each other and leaves nothing behind
 * when it fails; `drain` stops accepting and waits; `stop` ends. Connections themselves live in the shards.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cgroup2MountPoint, enterCgroup, leaveCgroup } from '../base/cgroup.ts';
import { CulvertError } from '../base/errors.ts';
import { lock } from '../base/lock.ts';
import { createLogger, logDestination, setLevels, type Logger } from '../base/log.ts';
import { Ready } from '../base/ready.ts';
import { settle } from '../base/settle.ts';
import type { BuildResult } from '../control/build.ts';
import { Configuration } from '../control/configuration.ts';
import { diff, emptyMesh, Mesh, type MeshDelta } from '../model/mesh.ts';
import { workloadIdentity } from '../model/workload.ts';
import * as native from '../native/native.ts';
import { Authority } from '../tunnel/authority.ts';
import { Certificates } from '../tunnel/certificates.ts';
import { CaptureWatch } from './capture-watch.ts';
import type { AgentConfig } from './config.ts';
import type { FromShard, ShardMeshSettings, ToShard } from './messages.ts';
import { Pods, type WantedPod } from './pods.ts';
import { Redirect } from './redirect.ts';
import { Shards } from './shards.ts';

/** How often namespaces are looked at, and failed enrolments tried again. */
const recheckMs = 1_000;
/** After the start, when the first connections have come and gone. */
const settleAfterMs = 2_000;

export class Agent {
  readonly config: AgentConfig;
  readonly log: Logger;
  readonly ready = new Ready();
  readonly #tasks = {
    configuration: this.ready.task('configuration'),
    redirection: this.ready.task('redirection'),
    shards: this.ready.task('shards'),
    pods: this.ready.task('pods'),
    capture: this.ready.task('capture'),
  };
  readonly mesh = new Mesh();
  /** Since the start of the process. */
  readonly certificateEvents = { renewals: 0, failures: 0 };
  readonly #serials = new Map<string, string>();
  readonly #undo: (() => void | Promise<void>)[] = [];
  #built: BuildResult | null = null;
  #current: MeshDelta = emptyMesh;
  #parts: Parts | null = null;
  #draining = false;

  constructor(config: AgentConfig) {
    this.config = config;
    this.log = createLogger({ component: 'agent', level: config.logLevel });
  }

  /** What runs; throws before `start` has succeeded. */
  get parts(): Parts {
    if (this.#parts === null) throw new CulvertError('NOT_STARTED', 'the agent does not run');
    return this.#parts;
  }

  /** The newest configuration that is in force. */
  get built(): BuildResult | null {
    return this.#built;
  }

  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { config } = this;
    mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
    this.#undo.push(lock(join(config.stateDir, 'agent.lock')));
    native.raiseFileLimit();

    const configuration = await Configuration.open(config.configDir, this.log);
    this.#undo.push(() => configuration.close());
    const first = configuration.current;
    this.#tasks.configuration.done();

    const authority = Authority.open({
      path: config.authority ?? join(config.configDir, '.culvert', 'authority.pem'),
      leafTtlMs: first.config.certificateTtlMs,
      onProblem: problem => {
        if (problem !== null)
          this.log.error(
            { code: problem.code, err: problem.message, fix: problem.fix },
            'certificate authority',
          );
      },
    });
    this.#undo.push(() => authority.close());
    authority.watch();
    const certificates = new Certificates({
      source: authority,
      onCertificate: (identity, certificate) => {
        // The same certificate comes again when only the roots changed.
        if (this.#serials.get(identity) !== certificate.serial) this.certificateEvents.renewals += 1;
        this.#serials.set(identity, certificate.serial);
        this.log.debug(
          { identity, until: new Date(certificate.notAfter).toISOString() },
          'certificate issued',
        );
        this.#parts?.shards.broadcast({ type: 'certificate', certificate });
      },
      onFailure: (identity, error, retryMs) => {
        this.certificateEvents.failures += 1;
        this.log.warn(
          { identity, code: error.code, err: error.message, fix: error.fix, retryMs },
          'no certificate',
        );
      },
    });
    this.#undo.push(() => certificates.close());

    const mount = config.cgroupRoot === null ? mountedCgroup2(config.stateDir) : null;
    const cgroupRoot = config.cgroupRoot ?? mount ?? '';
    const agentCgroup = enterCgroup(cgroupRoot, `culvert-agent-${config.node}`);
    this.#undo.push(() => leaveCgroup(agentCgroup, cgroup2MountPoint() ?? cgroupRoot));
    const redirect = Redirect.open({
      cgroupRoot,
      agentCgroup,
      bpffs: config.bpffs,
      instance: config.node,
      ports: config.podPorts,
      heartbeatTimeoutMs: config.limits.heartbeatTimeoutMs,
    });
    this.#undo.push(() => (config.detachOnExit ? redirect.detach() : redirect.close()));
    // From here on, however long the rest of the start takes: pods that an earlier agent enrolled depend on it.
    this.#every(Math.floor(config.limits.heartbeatTimeoutMs / 5), () => redirect.heartbeat());
    this.#tasks.redirection.done();

    const added = new Map<string, (error: string | null) => void>();
    const lent = new Map<number, Set<number>>();
    const shards = new Shards({
      count: config.shards,
      start: {
        config,
        originalDestinationMap: redirect.originalDestinationMap,
        peerNameMap: redirect.peerNameMap,
        dnsServersMap: redirect.dnsServersMap,
      },
      hangMs: config.limits.shardHangMs,
      log: this.log,
      introduce: index => this.#introduce(index, lent),
      onMessage: (index, message) => this.#fromShard(index, message, added, lent),
      onLost: index => {
        this.parts.lostShard(index);
        for (const [key, resolve] of added) if (key.startsWith(`${index} `)) resolve('the shard died');
        for (const fd of lent.get(index) ?? []) native.close(fd);
        lent.delete(index);
      },
    });
    this.#undo.push(() => shards.stop());
    const pods = new Pods({
      shards: config.shards,
      ports: config.podPorts,
      redirect,
      log: this.log,
      addToShard: (index, pod) =>
        new Promise(resolve => {
          lend(lent, index, pod.netnsFd);
          added.set(`${index} ${pod.podUid}`, resolve);
          if (!shards.send(index, { type: 'podAdd', pod })) resolve(null);
        }),
      removeFromShards: (podUid, reason) => shards.broadcast({ type: 'podRemove', podUid, reason }),
      holdIdentity: identity => certificates.hold(identity),
      releaseIdentity: identity => {
        if (!certificates.release(identity)) return;
        this.#serials.delete(identity);
        shards.broadcast({ type: 'certificateGone', identity });
      },
    });
    this.#undo.push(() => pods.close());
    const capture = new CaptureWatch({ pods, redirect, log: this.log, task: this.#tasks.capture });
    this.#undo.push(() => capture.stop());
    this.#parts = {
      configuration,
      authority,
      certificates,
      redirect,
      shards,
      pods,
      capture,
      cgroupRoot,
      lostShard: () => {},
    };

    this.#adopt(first);
    await shards.start();
    this.#tasks.shards.done();
    await pods.reconcile(this.wanted());
    this.#tasks.pods.done();
    await capture.follow();
    capture.start();
    configuration.onChange = built => {
      this.#adopt(built);
      void pods.reconcile(this.wanted()).then(() => capture.follow());
    };
    if (configuration.current !== first) configuration.onChange(configuration.current);
    const collecting = setTimeout(() => shards.broadcast({ type: 'settle' }), settleAfterMs);
    const settling = setTimeout(settle, 1.5 * settleAfterMs);
    this.#undo.push(() => [collecting, settling].forEach(clearTimeout));
    this.#every(recheckMs, () => void pods.recheck().then(() => capture.follow()));
  }

  /** Accepts nothing new and waits for connections to end; the rest is cut at the deadline. */
  async drain(): Promise<void> {
    if (this.#draining || this.#parts === null) return;
    this.#draining = true;
    const { shards, pods } = this.#parts;
    const { drainMs } = this.config.limits;
    this.log.info({ deadlineMs: drainMs }, 'draining');
    let waiting = shards.running;
    if (waiting === 0) return;
    const drained = new Promise<void>(resolve => {
      this.#onDrained = () => {
        waiting -= 1;
        if (waiting === 0) resolve();
      };
      setTimeout(resolve, drainMs + 1_000).unref();
    });
    shards.broadcast({ type: 'drain', deadlineMs: drainMs });
    await pods.stopListening();
    await drained;
  }

  /** Ends everything in the reverse order of its start. */
  async stop(): Promise<void> {
    for (const undo of this.#undo.splice(0).toReversed()) {
      try {
        await undo();
      } catch (error) {
        this.log.error({ err: String(error) }, 'could not end cleanly');
      }
    }
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Someone on the admin port wants this process to end; set by whoever owns it. */
  onShutdownRequest: () => void = () => {};

  /** Opens log files anew, after they were moved away. */
  reopenLogs(): void {
    logDestination().reopen();
    this.#parts?.shards.broadcast({ type: 'reopenLogs' });
  }

  /** Changes log levels everywhere; returns what is wrong with the words, or null. */
  setLogLevel(spec: string): string | null {
    const problem = setLevels(spec);
    if (problem === null) this.parts.shards.broadcast({ type: 'logLevel', level: spec });
    return problem;
  }

  #onDrained: () => void = () => {};

  /** Puts a built configuration into force: the shards get what changed. */
  #adopt(built: BuildResult): void {
    const before = this.#built;
    this.#built = built;
    const delta = diff(this.#current, built.mesh);
    this.#current = built.mesh;
    this.mesh.apply(delta);
    const { shards } = this.parts;
    if (before === null || JSON.stringify(settingsOf(before)) !== JSON.stringify(settingsOf(built))) {
      shards.broadcast({ type: 'settings', settings: settingsOf(built) });
    }
    shards.broadcast({ type: 'mesh', delta });
  }

  /** Pods of this node that the configuration in force enrols. */
  wanted(): WantedPod[] {
    const wanted: WantedPod[] = [];
    for (const enrolment of this.#built?.enrolments ?? []) {
      const workload = this.mesh.workload(enrolment.workloadUid);
      if (workload === null || workload.node !== this.config.node) continue;
      wanted.push({
        ...enrolment,
        name: workload.name,
        namespace: workload.namespace,
        identity: workloadIdentity(workload),
      });
    }
    return wanted;
  }

  #introduce(index: number, lent: Map<number, Set<number>>): ToShard[] {
    const messages: ToShard[] = [];
    if (this.#built !== null) messages.push({ type: 'settings', settings: settingsOf(this.#built) });
    messages.push({ type: 'mesh', delta: this.mesh.snapshot() });
    for (const { identity } of this.parts.certificates.state()) {
      const certificate = this.parts.certificates.current(identity);
      if (certificate !== null) messages.push({ type: 'certificate', certificate });
    }
    for (const pod of this.parts.pods.introduce(index)) {
      lend(lent, index, pod.netnsFd);
      messages.push({ type: 'podAdd', pod });
    }
    return messages;
  }

  #fromShard(
    index: number,
    message: FromShard,
    added: Map<string, (error: string | null) => void>,
    lent: Map<number, Set<number>>,
  ): void {
    if (message.type === 'podAdded') {
      const key = `${index} ${message.podUid}`;
      added.get(key)?.(message.error);
      added.delete(key);
    } else if (message.type === 'podRemoved') {
      if (lent.get(index)?.delete(message.netnsFd) === true) native.close(message.netnsFd);
    } else if (message.type === 'drained') {
      this.#onDrained();
    }
  }

  #every(ms: number, act: () => void): void {
    const timer = setInterval(act, ms);
    this.#undo.push(() => clearInterval(timer));
  }
}

/** The running pieces, for those who show them: metrics, admin, status. */
export interface Parts {
  readonly configuration: Configuration;
  readonly authority: Authority;
  readonly certificates: Certificates;
  readonly redirect: Redirect;
  readonly shards: Shards;
  readonly pods: Pods;
  readonly capture: CaptureWatch;
  readonly cgroupRoot: string;
  /** Told when a shard is lost, so that its counters are kept. */
  lostShard: (index: number) => void;
}

function lend(lent: Map<number, Set<number>>, index: number, fd: number): void {
  const fds = lent.get(index) ?? new Set();
  fds.add(fd);
  lent.set(index, fds);
}

function settingsOf({ config }: BuildResult): ShardMeshSettings {
  return {
    trustDomain: config.trustDomain,
    network: config.network,
    clusterDomain: config.clusterDomain,
    clusterId: config.clusterId,
    accessLog: config.accessLog,
  };
}

/** The cgroup v2 mount of this machine, or one of our own below the state directory. */
function mountedCgroup2(stateDir: string): string {
  const found = cgroup2MountPoint();
  if (found !== null) return found;
  const path = join(stateDir, 'cgroup2');
  mkdirSync(path, { recursive: true });
  native.mountCgroup2(path);
  return path;
}
