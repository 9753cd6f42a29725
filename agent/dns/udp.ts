/**
 * DNS over UDP for one shard: packets that pods send to port 53 arrive here, are answered, or go on to the server that
 * was meant.
 *
 * Each query that goes on has a socket of its own in the pod's namespace: a random port and the client's own id, so the
 * bytes stay as they are, and connected, so that the kernel drops what comes from anybody else and reports refusals.
 */
import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from 'node:dgram';
import { closeSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { describeError } from '../../base/errors.ts';
import {
  failureFor,
  relayed,
  type DnsContext,
  type DnsEndpoint,
  type DnsListener,
  type DnsPod,
  type Incoming,
} from './context.ts';
import { isQuery, isReplyTo } from './codec.ts';

/** Sends one packet to the client it belongs to. */
type Reply = (packet: Buffer) => void;

/** The listeners and the queries under way of one pod. */
export class UdpPod {
  readonly #context: DnsContext;
  readonly #pod: DnsPod;
  readonly #sockets: Socket[] = [];
  /** Oldest first. */
  readonly #own = new Set<Exchange>();
  /** Of all pods of the shard. */
  readonly #all: Set<Exchange>;
  #closed = false;
  #retiring = false;
  /** Queries of which it is not known yet whether they go on. */
  #preparing = 0;

  /** Takes over the descriptors. Throws when one is no UDP socket; all of them are closed then. */
  constructor(context: DnsContext, pod: DnsPod, all: Set<Exchange>) {
    this.#context = context;
    this.#pod = pod;
    this.#all = all;
    for (const [index, listener] of pod.udp.entries()) {
      try {
        this.#listen(listener);
      } catch (error) {
        for (const { fd } of pod.udp.slice(index + 1)) closeQuietly(fd);
        this.close();
        throw error;
      }
    }
  }

  /**
   * Stops to take queries at the first moment when none is under way: until then the sockets are needed for the answers,
   * and what has been read from them by then can be answered by nobody else.
   */
  retire(): void {
    this.#retiring = true;
    this.#closeWhenIdle();
  }

  close(): void {
    this.#closed = true;
    for (const socket of this.#sockets.splice(0)) socket.close();
    for (const exchange of this.#own) exchange.abandon();
  }

  #closeWhenIdle(): void {
    if (!this.#retiring || this.#own.size + this.#preparing > 0) return;
    for (const socket of this.#sockets.splice(0)) socket.close();
  }

  #listen({ fd, family }: DnsListener): void {
    const socket = adopt(fd, family);
    this.#sockets.push(socket);
    socket.on('message', (packet, client) => this.#receive(socket, packet, client));
    socket.on('error', error => {
      const { count, log } = this.#context.options;
      count('DNS_LISTENER_ERROR');
      log.warn(
        { code: 'DNS_LISTENER_ERROR', pod: this.#pod.workloadUid, err: error.message },
        'dns socket failed',
      );
    });
  }

  #receive(socket: Socket, packet: Buffer, client: RemoteInfo): void {
    if (!isQuery(packet)) {
      this.#context.options.count('DNS_NOT_A_QUERY');
      return;
    }
    this.#preparing += 1;
    this.#context.prepare(this.#pod, packet, () => {
      this.#preparing -= 1;
      if (!this.#closed) this.#take(socket, packet, client);
    });
  }

  #take(socket: Socket, packet: Buffer, client: RemoteInfo): void {
    const { count, log } = this.#context.options;
    const reply: Reply = bytes => {
      // A client that has gone is no error.
      socket.send(bytes, client.port, client.address, () => {});
      this.#closeWhenIdle();
    };
    const incoming = this.#context.receive(this.#pod, packet, 'udp');
    try {
      if (incoming.ruling.kind === 'answer') reply(incoming.ruling.reply);
      else this.#forward(incoming, client, reply);
    } catch (error) {
      count('DNS_INTERNAL_ERROR');
      log.error(
        { code: 'DNS_INTERNAL_ERROR', pod: this.#pod.workloadUid, err: describeError(error) },
        'query failed',
      );
      reply(failureFor(incoming));
    }
  }

  #forward(incoming: Incoming, client: RemoteInfo, reply: Reply): void {
    const { options, limits } = this.#context;
    const server = options.originalServerUdp(this.#pod.cookie, client.port, familyOf(client.address));
    if (server === null) {
      options.count('DNS_NO_SERVER');
      reply(failureFor(incoming));
      return;
    }
    if (this.#own.size >= limits.udpQueriesPerPod) first(this.#own)?.giveWay();
    else if (this.#all.size >= limits.udpQueries) first(this.#all)?.giveWay();
    incoming.row.upstream += 1;
    try {
      const family = isIPv6(server.address) ? 6 : 4;
      const socket = adopt(options.upstreamSocket(this.#pod, family), family);
      new Exchange(this.#context, incoming, socket, reply, [this.#own, this.#all]).start(server);
    } catch (error) {
      incoming.row.failures += 1;
      options.count('DNS_NO_SOCKET');
      options.log.debug(
        { code: 'DNS_NO_SOCKET', pod: this.#pod.workloadUid, err: describeError(error) },
        'query not passed on',
      );
      reply(failureFor(incoming));
    }
  }
}

/** One query under way to the server that was meant. */
export class Exchange {
  readonly #context: DnsContext;
  readonly #incoming: Incoming;
  readonly #socket: Socket;
  readonly #reply: Reply;
  readonly #lists: readonly Set<Exchange>[];
  readonly #timer: NodeJS.Timeout;
  readonly #startedAt = performance.now();
  #over = false;

  /** @param lists that the exchange stands in until it is over */
  constructor(
    context: DnsContext,
    incoming: Incoming,
    socket: Socket,
    reply: Reply,
    lists: readonly Set<Exchange>[],
  ) {
    this.#context = context;
    this.#incoming = incoming;
    this.#socket = socket;
    this.#reply = reply;
    this.#lists = lists;
    for (const list of lists) list.add(this);
    this.#timer = setTimeout(() => this.#fail('DNS_UPSTREAM_TIMEOUT'), context.limits.queryMs);
    socket.on('error', () => this.#fail('DNS_UPSTREAM_FAILED'));
    socket.on('message', packet => this.#receive(packet));
  }

  start(server: DnsEndpoint): void {
    this.#socket.connect(server.port, server.address, (error?: Error) => {
      if (this.#over) return;
      if (error instanceof Error) this.#fail('DNS_UPSTREAM_FAILED');
      else
        this.#socket.send(
          this.#incoming.packet,
          failed => failed !== null && this.#fail('DNS_UPSTREAM_FAILED'),
        );
    });
  }

  /** Makes room for a newer query. */
  giveWay(): void {
    this.#fail('DNS_QUERY_LIMIT');
  }

  /** The pod is gone: nobody waits any more. */
  abandon(): void {
    this.#end();
  }

  #receive(packet: Buffer): void {
    if (!isReplyTo(packet, this.#incoming.question)) {
      this.#context.options.count('DNS_WRONG_REPLY');
      return;
    }
    this.#incoming.row.observe((performance.now() - this.#startedAt) / 1000);
    this.#end();
    this.#reply(relayed(this.#incoming, packet));
  }

  #fail(code: string): void {
    if (this.#over) return;
    this.#end();
    this.#incoming.row.failures += 1;
    this.#context.options.count(code);
    this.#reply(failureFor(this.#incoming));
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    for (const list of this.#lists) list.delete(this);
    this.#socket.close();
  }
}

/** Makes the descriptor a socket of the event loop; it is closed when it can't be. */
function adopt(fd: number, family: 4 | 6): Socket {
  // Addresses are numbers always: nothing may be looked up on the way to looking something up.
  const lookup: SocketOptions['lookup'] = (address, _, done) => done(null, address, family);
  const socket = createSocket({ type: family === 6 ? 'udp6' : 'udp4', lookup });
  try {
    return socket.bind({ fd, exclusive: true });
  } catch (error) {
    socket.close();
    closeQuietly(fd);
    throw error;
  }
}

export function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // It was no descriptor to begin with, which is what the caller reports.
  }
}

/** An IPv6 socket may serve both families and then shows IPv4 clients as mapped addresses. */
function familyOf(address: string): 4 | 6 {
  return isIPv6(address) && !/^::ffff:\d+\./.test(address) ? 6 : 4;
}

function first<T>(items: ReadonlySet<T>): T | undefined {
  return items.values().next().value;
}
