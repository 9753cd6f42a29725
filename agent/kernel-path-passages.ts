/**
 * The books of connections that the kernel carries: one shard reads the kernel's events and has a Connection for each
 * passage, so that metrics, access lines, policy changes and pods that go work as for all others.
 *
 * The map `passages` is the truth, events only say where to look: an agent that starts, a shard that was replaced and an
 * event that found no room are made good by reading the map. A short connection is often over before it is heard of.
 */
import { type CulvertError, describeError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import { judge } from './authorise.ts';
import type { Connection } from './connections.ts';
import { BriefPassages } from './kernel-path-brief.ts';
import { type Leaving, LeavingEnds } from './kernel-path-leaving.ts';
import { carry, errorOf, policyChanged } from './kernel-path-outcome.ts';
import { SettledPassages } from './kernel-path-settled.ts';
import {
  decodeGrantSerial,
  decodePassage,
  encodePassageId,
  encodeSlot,
  type Passage,
  PathEvents,
} from './kernel-path-abi.ts';
import type { Service } from '../model/service.ts';
import type { Observer } from './observe.ts';
import type { Pod } from './pod.ts';
import type { Maps } from './redirect-programs.ts';
import { clientOf, workloadOf, type ShardContext } from './shard-context.ts';

export type PassageMaps = Pick<Maps, 'passages' | 'joined' | 'path_events' | 'grants'>;

/** Between two looks at the events. */
const lookEveryMs = 50;
/** By then the shard has heard of the change of policy that the kernel has followed already. */
const revokedMs = 200;
/** Bytes of passages that stay open are read this often, and what was not told is found. */
const scanEveryMs = 5_000;
/** What belongs to no pod that is known by then belongs to none. */
const strangerMs = 30_000;

interface Entry {
  readonly passage: Passage;
  readonly connection: Connection;
  readonly neighbour: Pod;
  /** It is over, and its record ends when it is known why. */
  ending: boolean;
}

export class Passages {
  readonly #context: ShardContext;
  readonly #maps: PassageMaps;
  readonly #observer: Observer;
  #reader: native.RingbufReader | null = null;
  readonly #open = new Map<bigint, Entry>();
  readonly #settled = new SettledPassages();
  /** Events, or the table, are being gone through: what comes next is for afterwards. */
  #reading = false;
  /** Null where nothing is joined. */
  readonly #unreadProgram: number | null;
  #leaving: LeavingEnds | null = null;
  #timers: readonly NodeJS.Timeout[] = [];
  #startedAt = 0;
  /** Pods have come since the last scan, and may own what was nobody's. */
  #scanSoon = true;
  /** Ends of passages whose pods are not known: after a start, pods come one after the other. */
  #ownerless: { readonly passage: Passage; readonly atNs: bigint }[] = [];

  /** @param unreadProgram bpf/unread.bpf.c, where sockets are joined */
  constructor(context: ShardContext, maps: PassageMaps, unreadProgram: number | null, observer: Observer) {
    this.#context = context;
    this.#observer = observer;
    this.#maps = maps;
    this.#unreadProgram = unreadProgram;
  }

  /** Begins to keep the books, which nobody else may do from now on. */
  keep(): void {
    if (this.#reader !== null) return;
    this.#reader = new native.RingbufReader(this.#maps.path_events);
    if (this.#unreadProgram !== null)
      this.#leaving = new LeavingEnds(this.#maps.joined, this.#unreadProgram, (leaving, why) =>
        this.#cutUnserved(leaving, why),
      );
    this.#startedAt = performance.now();
    this.#scanSoon = true;
    this.#timers = [
      setInterval(() => this.look(), lookEveryMs).unref(),
      setInterval(() => this.scan(), scanEveryMs).unref(),
    ];
  }

  /** A pod has come. */
  podAdded(): void {
    this.#scanSoon = true;
  }

  /** Takes in what has happened; to be called before anything is decided about all connections. */
  look(): void {
    this.#follow(this.#reader?.read() ?? null);
    this.#leaving?.look();
    if (this.#scanSoon) this.scan();
  }

  /** Compares the table with the kernel's: bytes, what opened or closed unheard of, and what belongs to nobody. */
  scan(): void {
    if (this.#reader === null) return;
    this.#scanSoon = false;
    this.#whileReading(() => this.#scanAll());
  }

  #scanAll(): void {
    for (const { passage, atNs } of this.#ownerless.splice(0)) this.#closed(passage, atNs);
    const { count, keys, values, keySize, valueSize } = native.mapEntriesBatch(this.#maps.passages);
    const present = new Set<bigint>();
    for (let at = 0; at < count; at += 1) {
      const id = keys.readBigUInt64LE(at * keySize);
      const passage = decodePassage(id, values.subarray(at * valueSize, (at + 1) * valueSize));
      present.add(id);
      const entry = this.#open.get(id);
      if (entry !== undefined) carry(entry.connection, passage);
      else if (this.#settled.has(id)) this.#destroy(passage);
      else if (passage.accepted) this.#begin(passage);
      else if (this.#isStray(passage)) this.#destroy(passage);
    }
    for (const [id, entry] of this.#open)
      if (!present.has(id) && !entry.ending) {
        this.#settled.add(id, entry.connection);
        this.#end(entry, entry.passage, null);
      }
    this.#settled.prune(present);
  }

  /** Another agent serves, or none: the passages go on, and their books are the next one's. */
  letGo(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.look();
    this.#reader?.close();
    this.#reader = null;
    this.#leaving?.close();
    this.#leaving = null;
    for (const { connection, neighbour } of this.#open.values()) {
      this.#context.connections.forget(connection);
      neighbour.connections.delete(connection);
    }
    this.#open.clear();
    this.#settled.clear();
  }

  #follow(bytes: Buffer | null): void {
    if (bytes !== null) this.#whileReading(() => this.#followAll(bytes));
  }

  #whileReading(read: () => void): void {
    this.#reading = true;
    try {
      read();
    } finally {
      this.#reading = false;
    }
  }

  #followAll(bytes: Buffer): void {
    const events = new PathEvents(bytes);
    const brief = new BriefPassages(bytes);
    const over = new Set<bigint>();
    for (let at = 0; at < events.count; at += 1) if (events.kind(at) === 'closed') over.add(events.id(at));
    for (let at = 0; at < events.count; at += 1) {
      const kind = events.kind(at);
      const id = events.id(at);
      if (kind === 'blocks') native.mapDelete(this.#maps.joined, encodePassageId(id));
      else if (kind === 'leaves')
        this.#leaving?.add({ end: id, blind: events.blind(at), passage: events.passage(at) });
      else if (kind === 'opened' && !over.has(id)) this.#begin(events.passage(at));
      else if (kind === 'closed') this.#heardClosed(events, brief, at);
    }
  }

  #heardClosed(events: PathEvents, brief: BriefPassages, at: number): void {
    const id = events.id(at);
    const settled = this.#settled.take(id);
    if (settled !== null) {
      // One that is just being cut wants its last numbers.
      if (settled.state !== 'closed') carry(settled, events.passage(at));
      return;
    }
    if (!this.#open.has(id) && brief.add(at)) return;
    const ended = this.#closed(events.passage(at), events.atNs(at));
    if (ended !== null) brief.learn(at, ended, this.#observer.kindOf(ended));
  }

  /** Returns the connection where there was nothing about its end that others like it need not have as well. */
  #closed(passage: Passage, atNs: bigint): Connection | null {
    const entry = this.#open.get(passage.id) ?? this.#begin(passage);
    if (entry === null) {
      if (this.#isStarting && this.#isOwnerless(passage)) this.#ownerless.push({ passage, atNs });
      return null;
    }
    if (this.#isRevoked(passage)) {
      this.#endRevoked(entry, passage, atNs);
      return null;
    }
    this.#end(entry, passage, atNs);
    return errorOf(passage) === null ? entry.connection : null;
  }

  /** Opens the record. Null where the pods are not known (yet). */
  #begin(passage: Passage): Entry | null {
    const known = this.#open.get(passage.id);
    if (known !== undefined) return known;
    if (this.#settled.has(passage.id)) return null;
    const context = this.#context;
    const [pod, neighbour] = [this.#pod(passage.sourceNetns), this.#pod(passage.targetNetns)];
    if (pod === null || neighbour === null) {
      if (this.#isStray(passage)) this.#destroy(passage);
      return null;
    }
    const connection = context.connections.start(
      'local',
      pod,
      { ...passage.source, workload: clientOf(context, pod), identity: pod.identity },
      { ...passage.target, workload: workloadOf(context, neighbour), identity: neighbour.identity },
    );
    connection.security = 'kernel';
    connection.service = serviceOf(context, pod, passage);
    connection.began(Number(native.monotonicNs() - passage.openedNs) / 1e6);
    neighbour.connections.add(connection);
    const entry: Entry = { passage, connection, neighbour, ending: false };
    this.#open.set(passage.id, entry);
    connection.cut = () => {
      if (!entry.ending) this.#settled.add(passage.id, connection);
      this.#destroy(passage);
      this.#readLast(entry);
      this.#forget(entry);
    };
    carry(connection, passage);
    const decision = judge(context, neighbour.workloadUid, connection);
    if (passage.accepted) connection.opened();
    if (!decision.allowed) {
      // It began on a verdict that is gone by now.
      const error = policyChanged(decision.reason);
      context.count(error.code);
      connection.cut(error);
      connection.closed(error);
      return null;
    }
    return entry;
  }

  /** Of a leg nothing is known here but its addresses; its shard sees it broken by the application. */
  #cutUnserved({ end, passage }: Leaving, why: CulvertError): void {
    const context = this.#context;
    const entry = this.#open.get(end & ~1n);
    const pod = this.#pod(passage.targetNetns);
    context.count(why.code);
    context.log.warn(
      { code: why.code, pod: (entry?.connection.pod ?? pod)?.name, err: why.message },
      'connection ended',
    );
    if (entry === undefined) {
      this.#destroy(passage);
      return;
    }
    entry.connection.cut(why);
    entry.connection.closed(why);
  }

  #end(entry: Entry, passage: Passage, atNs: bigint | null, why: CulvertError | null = null): void {
    const { connection } = entry;
    this.#forget(entry);
    carry(connection, passage);
    if (atNs !== null) connection.began(Number(atNs - passage.openedNs) / 1e6);
    if (why !== null) this.#context.count(why.code);
    connection.closed(why ?? errorOf(passage));
  }

  /** The kernel has refused it on the main thread's word, which says why a moment later. */
  #endRevoked(entry: Entry, passage: Passage, atNs: bigint): void {
    entry.ending = true;
    const end = (): void => {
      // Cut meanwhile by what this shard has heard.
      if (!this.#open.has(passage.id)) return;
      const decision = judge(this.#context, entry.neighbour.workloadUid, entry.connection);
      this.#end(entry, passage, atNs, decision.allowed ? null : policyChanged(decision.reason));
    };
    setTimeout(end, revokedMs).unref();
  }

  #isRevoked({ slot, serial }: Passage): boolean {
    const grant = native.mapLookup(this.#maps.grants, encodeSlot(slot));
    return grant !== null && decodeGrantSerial(grant) !== serial;
  }

  #forget({ passage, connection, neighbour }: Entry): void {
    this.#open.delete(passage.id);
    neighbour.connections.delete(connection);
  }

  /** The kernel counts to the last byte when it closes an end: in the table, or told of where both are closed by now. */
  #readLast({ passage, connection }: Entry): void {
    const now = native.mapLookup(this.#maps.passages, encodePassageId(passage.id));
    if (now !== null) carry(connection, decodePassage(passage.id, now));
    else if (!this.#reading) this.#follow(this.#reader?.read() ?? null);
  }

  /** Resets it: the server's end is taken away, so the client hears what it would hear from a server that ended it. */
  #destroy({ source, target, sourceNetns, targetNetns }: Passage): void {
    try {
      const server = this.#pod(targetNetns);
      if (server !== null && native.destroyConnection(server.netnsFd, target, source)) return;
      const client = this.#pod(sourceNetns);
      if (client !== null) native.destroyConnection(client.netnsFd, source, target);
    } catch (error) {
      this.#context.count('DESTROY_FAILED');
      this.#context.log.error(
        { code: 'DESTROY_FAILED', err: describeError(error) },
        'a connection could not be ended',
      );
    }
  }

  get #isStarting(): boolean {
    return performance.now() - this.#startedAt < strangerMs;
  }

  #isOwnerless({ sourceNetns, targetNetns }: Passage): boolean {
    return this.#pod(sourceNetns) === null || this.#pod(targetNetns) === null;
  }

  /** Its destination is no pod of this agent: whoever has answered there is not who the verdict was about. */
  #isStray({ targetNetns }: Passage): boolean {
    return !this.#isStarting && this.#pod(targetNetns) === null;
  }

  #pod(cookie: bigint): Pod | null {
    for (const pod of this.#context.pods.values()) if (pod.cookie === cookie) return pod;
    return null;
  }
}

/** The Service that the client has asked for, as it is now. */
function serviceOf(context: ShardContext, pod: Pod, { service }: Passage): Service | null {
  if (service === null) return null;
  return context.mesh.serviceFor(clientOf(context, pod).network, service.address, pod.namespace);
}
