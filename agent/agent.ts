/**
 * One agent: its state, what it does when configuration, shards or pods change, and its life from start to stop.
 *
 * The constructor does no I/O. `start` puts the parts together (parts.ts) and leaves nothing behind when it fails;
 * `drain` stops accepting and waits; `stop` ends. Connections themselves live in the shards.
 */
import { CulvertError } from '../base/errors.ts';
import { createLogger, logDestination, setLevels, type Logger } from '../base/log.ts';
import { Ready } from '../base/ready.ts';
import { settle } from '../base/settle.ts';
import { Mesh } from '../model/mesh.ts';
import type { IssuedCertificate } from '../tunnel/certificates.ts';
import { answerInquiry } from './answer-inquiry.ts';
import type { AgentConfig } from './config.ts';
import type { MeshUpdate, WantedPod } from './mesh-source.ts';
import type { FromShard, ShardMeshSettings, ToShard } from './messages.ts';
import { openParts, type Parts, type Undo } from './parts.ts';
import { ShardLedger } from './shard-ledger.ts';

/** How often namespaces are looked at, and failed enrolments tried again. */
const recheckMs = 1_000;
/** After the start, when the first connections have come and gone. */
const settleAfterMs = 2_000;

export class Agent {
  readonly config: AgentConfig;
  readonly log: Logger;
  readonly ready = new Ready();
  readonly tasks = {
    redirection: this.ready.task('redirection'),
    configuration: this.ready.task('configuration'),
    shards: this.ready.task('shards'),
    pods: this.ready.task('pods'),
    capture: this.ready.task('capture'),
  };
  readonly mesh = new Mesh();
  /** Since the start of the process. */
  readonly certificateEvents = { renewals: 0, failures: 0 };
  readonly ledger = new ShardLedger();
  readonly #serials = new Map<string, string>();
  readonly #undo: Undo[] = [];
  #settings: ShardMeshSettings | null = null;
  #wanted: readonly WantedPod[] = [];
  #parts: Parts | null = null;
  #draining = false;

  constructor(config: AgentConfig) {
    this.config = config;
    this.log = createLogger({ component: 'agent', level: config.logLevel });
  }

  /** What runs; throws before `start` has come that far. */
  get parts(): Parts {
    if (this.#parts === null) throw new CulvertError('NOT_STARTED', 'the agent does not run');
    return this.#parts;
  }

  /** Settings of the mesh in force; null before the first. */
  get settings(): ShardMeshSettings | null {
    return this.#settings;
  }

  /** Pods of this node that the configuration in force enrols. */
  get wanted(): readonly WantedPod[] {
    return this.#wanted;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Someone on the admin port wants this process to end; set by whoever owns it. */
  onShutdownRequest: () => void = () => {};

  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    this.#parts = await openParts(this, this.#undo);
    const { redirect, source, shards, pods, capture } = this.#parts;
    // From here on, however long the rest of the start takes: pods that an earlier agent enrolled depend on it.
    this.#every(Math.floor(this.config.limits.heartbeatTimeoutMs / 5), () => redirect.heartbeat());
    this.tasks.redirection.done();
    await shards.start();
    this.tasks.shards.done();
    if (source.names !== null)
      source.names.onGivenUp = names => shards.broadcast({ type: 'forgotten', names });
    const updates: MeshUpdate[] = [];
    source.onUpdate = update => updates.push(update);
    this.#adopt(await source.start());
    for (const update of updates) this.#adopt(update);
    this.tasks.configuration.done();
    source.onUpdate = update => {
      const before = this.#wanted;
      this.#adopt(update);
      // Most changes of a large mesh are about pods elsewhere.
      if (this.#wanted !== before) void this.#reconcile();
    };
    await this.#reconcile();
    this.tasks.pods.done();
    capture.start();
    const collecting = setTimeout(() => shards.broadcast({ type: 'settle' }), settleAfterMs);
    const settling = setTimeout(settle, 1.5 * settleAfterMs);
    this.#undo.push(() => [collecting, settling].forEach(clearTimeout));
    this.#every(recheckMs, () => void pods.recheck().then(() => this.#tellEnrolments()));
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

  /** A certificate came: counted and passed on. The same one comes again when only the roots changed. */
  certificateIssued(identity: string, certificate: IssuedCertificate): void {
    if (this.#serials.get(identity) !== certificate.serial) this.certificateEvents.renewals += 1;
    this.#serials.set(identity, certificate.serial);
    this.log.debug({ identity, until: new Date(certificate.notAfter).toISOString() }, 'certificate issued');
    this.#parts?.shards.broadcast({ type: 'certificate', certificate });
  }

  /** No pod of this node has the identity any more. */
  identityGone(identity: string): void {
    this.#serials.delete(identity);
    this.#parts?.shards.broadcast({ type: 'certificateGone', identity });
  }

  /** Everything that a new shard must be told, in order. */
  introduce(shard: number): ToShard[] {
    const { certificates, pods } = this.parts;
    const messages: ToShard[] = [];
    if (this.#settings !== null) messages.push({ type: 'settings', settings: this.#settings });
    messages.push({ type: 'mesh', delta: this.mesh.snapshot() });
    for (const { identity } of certificates.state()) {
      const certificate = certificates.current(identity);
      if (certificate !== null) messages.push({ type: 'certificate', certificate });
    }
    for (const pod of pods.introduce(shard)) {
      this.ledger.lend(shard, pod.netnsFd);
      messages.push({ type: 'podAdd', pod });
    }
    return messages;
  }

  fromShard(shard: number, message: FromShard): void {
    if (message.type === 'podAdded') this.ledger.answered(shard, message.podUid, message.error);
    else if (message.type === 'podRemoved') this.ledger.giveBack(shard, message.netnsFd);
    else if (message.type === 'drained') this.#onDrained();
    else if (message.type === 'inquire') void this.#inquire(shard, message);
  }

  #onDrained: () => void = () => {};

  async #inquire(
    shard: number,
    { id, names, patient }: Extract<FromShard, { type: 'inquire' }>,
  ): Promise<void> {
    const { source, shards } = this.parts;
    const timeoutMs = patient ? this.config.limits.inquiryMs : this.config.limits.hintMs;
    const answer = await answerInquiry(source.names, names, { patient, timeoutMs });
    shards.send(shard, { type: 'inquired', id, ...answer });
  }

  /** Puts a new state into force: the shards get what changed. */
  #adopt({ delta, settings, wanted }: MeshUpdate): void {
    const { shards } = this.parts;
    this.mesh.apply(delta);
    this.#wanted = wanted;
    if (JSON.stringify(this.#settings) !== JSON.stringify(settings)) {
      this.#settings = settings;
      shards.broadcast({ type: 'settings', settings });
    }
    shards.broadcast({ type: 'mesh', delta });
  }

  async #reconcile(): Promise<void> {
    await this.parts.pods.reconcile(this.#wanted);
    await this.#tellEnrolments();
  }

  async #tellEnrolments(): Promise<void> {
    const { pods, capture, source } = this.parts;
    source.enrolled(pods.states());
    await capture.follow();
  }

  #every(ms: number, act: () => void): void {
    const timer = setInterval(act, ms);
    this.#undo.push(() => clearInterval(timer));
  }
}
