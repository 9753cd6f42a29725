/**
 * One TCP connection of a DNS client: takes its queries apart, answers those for the mesh, and passes the others on over
 * one connection of its own to the server that was meant.
 *
 * Queries may be pipelined (RFC 7766) and replies come in any order; a client that reads slowly holds back its own.
 */
import type { Socket } from 'node:net';
import { describeError } from '../../base/errors.ts';
import { headerSize, isQuery, isReplyTo } from './codec.ts';
import {
  failureFor,
  relayed,
  type DnsContext,
  type DnsEndpoint,
  type DnsPod,
  type Incoming,
} from './context.ts';
import { frame, FrameReader } from './frames.ts';

/** Zone transfers are answered with many messages. */
const transferTypes = new Set<number | null>([251, 252]);
/** Bytes that wait to be written before reading stops. */
const highWater = 128 * 1024;
/** Queries of one connection that are taken before others have their turn. */
const turn = 16;

interface Pending {
  readonly incoming: Incoming;
  readonly timer: NodeJS.Timeout;
  readonly startedAt: number;
  answered: boolean;
}

export class TcpSession {
  readonly #context: DnsContext;
  readonly #pod: DnsPod;
  readonly #client: Socket;
  readonly #server: DnsEndpoint | null;
  readonly #queries = new FrameReader();
  readonly #idle: NodeJS.Timeout;
  /** Queries that went on, oldest first. */
  #pending: Pending[] = [];
  /** Queries whose names the mesh is asked about. */
  #preparing = 0;
  #upstream: Socket | null = null;
  #ended = false;
  #nextTurn: NodeJS.Immediate | null = null;

  constructor(context: DnsContext, pod: DnsPod, client: Socket, server: DnsEndpoint | null) {
    this.#context = context;
    this.#pod = pod;
    this.#client = client;
    this.#server = server;
    this.#idle = setTimeout(() => this.#checkIdle(), context.limits.tcpIdleMs);
    client.on('data', (chunk: Buffer) => {
      this.#queries.push(chunk);
      this.#pump();
    });
    client.on('drain', () => {
      this.#upstream?.resume();
      this.#pump();
    });
    client.on('end', () => {
      this.#ended = true;
      this.#pump();
    });
    client.on('close', () => this.close());
  }

  close(): void {
    clearTimeout(this.#idle);
    if (this.#nextTurn !== null) clearImmediate(this.#nextTurn);
    for (const { timer } of this.#pending) clearTimeout(timer);
    this.#pending = [];
    this.#upstream?.destroy();
    this.#client.destroy();
  }

  /** Takes queries as long as there is room for their answers and it isn't others' turn. */
  #pump(): void {
    for (let taken = 0; !this.#client.destroyed; taken += 1) {
      if (taken === turn) {
        this.#client.pause();
        this.#nextTurn ??= setImmediate(() => {
          this.#nextTurn = null;
          this.#pump();
        });
        return;
      }
      if (!this.#hasRoom()) {
        this.#client.pause();
        return;
      }
      const packet = this.#queries.next();
      if (packet === null) break;
      this.#idle.refresh();
      this.#query(packet);
    }
    if (this.#ended && this.#underWay === 0) this.#client.end();
    this.#client.resume();
  }

  get #underWay(): number {
    return this.#pending.length + this.#preparing;
  }

  #hasRoom(): boolean {
    return (
      this.#underWay < this.#context.limits.tcpQueriesPerConnection &&
      this.#client.writableLength < highWater &&
      (this.#upstream?.writableLength ?? 0) < highWater
    );
  }

  #query(packet: Buffer): void {
    if (packet.length < headerSize || !isQuery(packet)) {
      this.#context.options.count('DNS_NOT_A_QUERY');
      this.close();
      return;
    }
    let isNow = true;
    this.#preparing += 1;
    this.#context.prepare(this.#pod, packet, () => {
      this.#preparing -= 1;
      if (this.#client.destroyed) return;
      this.#take(packet);
      if (!isNow) this.#pump();
    });
    isNow = false;
  }

  #take(packet: Buffer): void {
    const { count, log } = this.#context.options;
    const incoming = this.#context.receive(this.#pod, packet, 'tcp');
    try {
      if (incoming.ruling.kind === 'answer') this.#reply(incoming.ruling.reply);
      else this.#forward(incoming);
    } catch (error) {
      count('DNS_INTERNAL_ERROR');
      log.error(
        { code: 'DNS_INTERNAL_ERROR', pod: this.#pod.workloadUid, err: describeError(error) },
        'query failed',
      );
      this.#reply(failureFor(incoming));
    }
  }

  #forward(incoming: Incoming): void {
    if (this.#server === null) {
      this.#context.options.count('DNS_NO_SERVER');
      this.#reply(failureFor(incoming));
      return;
    }
    incoming.row.upstream += 1;
    this.#upstream ??= this.#connect(this.#server);
    const timer = setTimeout(() => this.#fail(pending, 'DNS_UPSTREAM_TIMEOUT'), this.#context.limits.queryMs);
    const pending: Pending = { incoming, timer, startedAt: performance.now(), answered: false };
    this.#pending.push(pending);
    this.#upstream.write(frame(incoming.packet));
  }

  #connect({ address, port }: DnsEndpoint): Socket {
    const upstream = this.#context.options.upstreamTcp(this.#pod, address, port);
    const replies = new FrameReader();
    upstream.on('data', (chunk: Buffer) => {
      replies.push(chunk);
      for (let packet = replies.next(); packet !== null; packet = replies.next()) this.#receive(packet);
      if (this.#client.writableLength >= highWater) upstream.pause();
    });
    upstream.on('drain', () => this.#pump());
    upstream.on('end', () => upstream.destroy());
    upstream.on('error', () => upstream.destroy());
    upstream.on('close', () => {
      if (this.#upstream !== upstream) return;
      this.#upstream = null;
      for (const pending of this.#pending.slice()) this.#fail(pending, 'DNS_UPSTREAM_FAILED');
      this.#pump();
    });
    return upstream;
  }

  #receive(packet: Buffer): void {
    const pending = this.#pending.find(({ incoming }) => isReplyTo(packet, incoming.question));
    if (pending === undefined) {
      this.#context.options.count('DNS_WRONG_REPLY');
      return;
    }
    if (!pending.answered) pending.incoming.row.observe((performance.now() - pending.startedAt) / 1000);
    pending.answered = true;
    this.#reply(relayed(pending.incoming, packet));
    if (transferTypes.has(pending.incoming.question.type)) pending.timer.refresh();
    else this.#settle(pending);
  }

  #fail(pending: Pending, code: string): void {
    // A transfer that has begun ends as it ends with its server: without a word.
    if (!pending.answered) {
      pending.incoming.row.failures += 1;
      this.#context.options.count(code);
      this.#reply(failureFor(pending.incoming));
    }
    this.#settle(pending);
  }

  #settle(pending: Pending): void {
    clearTimeout(pending.timer);
    this.#pending = this.#pending.filter(other => other !== pending);
    this.#idle.refresh();
    this.#pump();
  }

  #reply(packet: Buffer): void {
    if (!this.#client.destroyed) this.#client.write(frame(packet));
  }

  #checkIdle(): void {
    if (this.#underWay === 0) this.close();
    else this.#idle.refresh();
  }
}
