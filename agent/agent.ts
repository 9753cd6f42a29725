/**
 * One agent: its state, what it does when configuration, shards or pods change, and its life from start to stop.
 *
 * The constructor does no I/O. `start` puts the parts together (parts.ts) and leaves nothing behind when it fails;
 * `drain` stops accepting and waits; `stop` ends. Connections themselves live in the shards.
 */
import { join } from 'node:path';
import { CulvertError, describeError } from '../base/errors.ts';
import { createLogger, logDestination, setLevels, type Logger } from '../base/log.ts';
import { Ready } from '../base/ready.ts';
import { settle } from '../base/settle.ts';
import { Mesh } from '../model/mesh.ts';
import type { IssuedCertificate } from '../tunnel/certificates.ts';
import { answerInquiry } from './answer-inquiry.ts';
import type { AgentConfig } from './config.ts';
import { Ending } from './ending.ts';
import type { Inheritance } from './handover/estate.ts';
import { Place } from './handover/place.ts';
import type { Predecessor } from './handover/predecessor.ts';
import { type Outcome, Successors } from './handover/successors.ts';
import type { MeshUpdate, WantedPod } from './mesh-source.ts';
import type { FromShard, ShardMeshSettings, ToShard } from './messages.ts';
import { openParts, type Parts, standingOf, type Undo } from './parts.ts';
import { ShardLedger } from './shard-ledger.ts';

/** After the start, when the first connections have come and gone. */
const settleAfterMs = 2_000;
/** The one before serves meanwhile, so there is time; but one identity that nobody signs holds up no agent. */
const certificatesMs = 10_000;

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
  #inheritance: Inheritance | null = null;
  #successors: Successors | null = null;
  readonly place: Place;
  readonly ending = new Ending(this);
  /** Times that this agent gave its place, refused to, or was given it. */
  readonly handovers: Record<Outcome | 'taken', number> = {
    taken: 0,
    given: 0,
    refused: 0,
    failed: 0,
    returned: 0,
  };

  constructor(config: AgentConfig) {
    this.config = config;
    this.log = createLogger({ component: 'agent', level: config.logLevel });
    this.place = new Place(this, join(config.stateDir, 'agent.lock'));
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

  /** Who may take over; null before this agent serves. */
  get successors(): Successors | null {
    return this.#successors;
  }

  /** A server socket of the agent before, which is the caller's from then on. */
  inheritedPort(address: string, port: number): number | null {
    return this.#inheritance?.takePort(address, port) ?? null;
  }

  /** The agent serves at all of its ports: others that were inherited are nobody's. */
  portsTaken(): void {
    this.#inheritance?.closePorts();
  }

  /** No other agent is there, and the mesh may take long to be learnt; set by whoever owns this one. */
  onAlone: () => Promise<void> = async () => {};

  /** Another agent serves, and nothing is left to do here; set by whoever owns this one. */
  onRetired: () => void = () => {};

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
    const { source, shards, predecessor } = this.#parts;
    if (predecessor === null) {
      // However long the rest of the start takes.
      this.place.beat();
      await this.onAlone();
      await source.begin();
    }
    this.tasks.redirection.done();
    await shards.start();
    this.tasks.shards.done();
    if (source.names !== null)
      source.names.onGivenUp = names => shards.broadcast({ type: 'forgotten', names });
    const updates: MeshUpdate[] = [];
    source.onUpdate = update => updates.push(update);
    this.#adopt(await source.start());
    for (const update of updates.splice(0)) this.#adopt(update);
    this.tasks.configuration.done();
    const prefetched = predecessor === null ? await this.#takeKept() : await this.#takeOver(predecessor);
    for (const update of updates) this.#adopt(update);
    source.onUpdate = update => {
      const before = this.#wanted;
      this.#adopt(update);
      // Most changes of a large mesh are about pods elsewhere.
      if (this.#wanted !== before) void this.recheck();
    };
    await this.recheck();
    if (predecessor !== null) await this.#serveInPlaceOf(predecessor);
    for (const identity of prefetched) this.#release(identity);
    this.tasks.pods.done();
    this.place.look();
    const collecting = setTimeout(() => shards.broadcast({ type: 'settle' }), settleAfterMs);
    const settling = setTimeout(settle, 1.5 * settleAfterMs);
    this.#undo.push(() => [collecting, settling].forEach(clearTimeout));
    this.#offerPlace();
    this.parts.keeper?.serving();
  }

  /** The agent before has crashed: what its keeper has kept, and waits in there, is ours. */
  async #takeKept(): Promise<ReadonlySet<string>> {
    try {
      const inheritance = (await this.parts.keeper?.take()) ?? null;
      if (inheritance === null) return new Set();
      this.log.info({ pods: inheritance.pods().length }, 'took what was kept of the agent before');
      this.#inheritance = inheritance;
      await this.parts.pods.inherit(inheritance);
    } catch (error) {
      this.log.warn({ err: describeError(error) }, 'what was kept of the agent before is lost');
      await this.parts.keeper?.clear();
    }
    return new Set();
  }

  /**
   * Everything is prepared; now the agent before stops accepting, and what waits in its sockets is ours. Returns the
   * identities that are held until their pods are enrolled.
   */
  async #takeOver(predecessor: Predecessor): Promise<ReadonlySet<string>> {
    const { certificates, pods, keeper } = this.parts;
    const identities = new Set(this.#wanted.map(pod => pod.identity));
    await certificates.ready(identities, certificatesMs);
    // Where one of ours has crashed meanwhile, the agent that is there has taken its place back.
    await keeper?.clear();
    try {
      this.#inheritance = await predecessor.take();
      this.place.inherit();
      await pods.inherit(this.#inheritance);
    } catch (error) {
      // One that has died is no reason to fail; one that its keeper starts again, or that has thought better of it, holds the lock.
      this.log.warn({ err: describeError(error) }, 'the agent before has not given its place');
      await this.place.claim();
    }
    this.place.beat();
    return identities;
  }

  #release(identity: string): void {
    if (this.parts.certificates.release(identity)) this.identityGone(identity);
  }

  async #serveInPlaceOf(predecessor: Predecessor): Promise<void> {
    await this.parts.source.begin();
    if (!this.place.held)
      throw new CulvertError('HANDOVER_LOST', 'the agent before has taken its place back', {
        fix: 'its log says why',
      });
    predecessor.serving();
    this.handovers.taken += 1;
    this.log.info({ build: predecessor.build }, 'took over from the agent before');
  }

  #offerPlace(): void {
    const { config, log } = this;
    const successors = new Successors({
      directory: config.stateDir,
      standing: standingOf(config),
      giver: this.place,
      log,
      count: outcome => (this.handovers[outcome] += 1),
    });
    successors.listen();
    this.#undo.push(() => successors.close());
    this.#successors = successors;
  }

  /** Accepts nothing new and waits for connections to end; the rest is cut at the deadline. */
  async drain(): Promise<void> {
    if (this.#draining || this.#parts === null) return;
    await this.ending.untilNobodyComes();
    this.#draining = true;
    await this.ending.drain();
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
    if (shard === 0 && this.parts.kernelPath.settled) messages.push({ type: 'books' });
    return messages;
  }

  fromShard(shard: number, message: FromShard): void {
    if (message.type === 'podAdded') this.ledger.answered(shard, message.podUid, message.error);
    else if (message.type === 'neighbour') this.parts.kernelPath.learn(this, message.neighbour);
    else if (message.type === 'podRemoved') this.ledger.giveBack(shard, message.netnsFd);
    else if (message.type === 'drained') this.ending.drained();
    else if (message.type === 'inquire') void this.#inquire(shard, message);
    else if (message.type === 'kept') this.parts.shards.broadcast(message, shard);
  }

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
    const { shards, kernelPath } = this.parts;
    this.mesh.apply(delta);
    // The kernel first: shards end what goes on, and nothing may begin meanwhile.
    kernelPath.follow(this);
    this.#wanted = wanted;
    if (JSON.stringify(this.#settings) !== JSON.stringify(settings)) {
      this.#settings = settings;
      shards.broadcast({ type: 'settings', settings });
    }
    shards.broadcast({ type: 'mesh', delta });
  }

  /** Makes what is enrolled equal to what is wanted, and says what came of it; for one that serves. */
  async recheck(): Promise<void> {
    const { pods, capture, source } = this.parts;
    await pods.reconcile(this.#wanted);
    if (!this.place.held) return;
    if (this.parts.kernelPath.settle(this)) this.parts.shards.send(0, { type: 'books' });
    source.enrolled(pods.states());
    await capture.follow();
  }
}
