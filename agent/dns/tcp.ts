/**
 * DNS over TCP for one pod: connections to port 53 arrive here, a bounded number at a time.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { describeError } from '../../base/errors.ts';
import type { DnsContext, DnsEndpoint, DnsListener, DnsPod } from './context.ts';
import { TcpSession } from './tcp-session.ts';

const backlog = 128;

export class TcpPod {
  readonly #context: DnsContext;
  readonly #pod: DnsPod;
  readonly #servers: Server[] = [];
  readonly #sessions = new Set<TcpSession>();

  constructor(context: DnsContext, pod: DnsPod) {
    this.#context = context;
    this.#pod = pod;
    for (const listener of pod.tcp) this.#listen(listener);
  }

  /** Accepts no more; sessions go on. */
  retire(): void {
    for (const server of this.#servers.splice(0)) server.close();
  }

  close(): void {
    this.retire();
    for (const session of this.#sessions) session.close();
  }

  #listen({ fd }: DnsListener): void {
    const { count, log } = this.#context.options;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, client => this.#accept(client));
    server.on('error', error => {
      count('DNS_LISTENER_ERROR');
      log.warn(
        { code: 'DNS_LISTENER_ERROR', pod: this.#pod.workloadUid, err: error.message },
        'dns listener failed',
      );
    });
    // Not within the options: there Node passes it over where a descriptor is given.
    server.listen({ fd }, backlog);
    this.#servers.push(server);
  }

  #accept(client: Socket): void {
    const { options, limits } = this.#context;
    client.on('error', () => client.destroy());
    if (this.#sessions.size >= limits.tcpConnectionsPerPod) {
      options.count('DNS_CONNECTION_LIMIT');
      client.resetAndDestroy();
      return;
    }
    let server: DnsEndpoint | null = null;
    try {
      server = options.originalServerTcp(client);
    } catch (error) {
      options.count('DNS_INTERNAL_ERROR');
      options.log.error(
        { code: 'DNS_INTERNAL_ERROR', pod: this.#pod.workloadUid, err: describeError(error) },
        'no original server',
      );
    }
    const session = new TcpSession(this.#context, this.#pod, client, server);
    this.#sessions.add(session);
    client.once('close', () => this.#sessions.delete(session));
  }
}
