/**
 * What the UDP and the TCP side of the DNS server share: the options, the pods, and the decision about one packet.
 */
import type { Socket } from 'node:net';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { nameNeeds, type DnsMesh } from '../../model/dns-names.ts';
import type { Mesh } from '../../model/mesh.ts';
import { rule, type DnsProtocol, type Ruling } from './answer.ts';
import { rcodeOf, readQuery, readQuestion, serverFailure, nameError, type Question } from './codec.ts';
import type { DnsMetrics, DnsRow } from './metrics.ts';
import { writeFailure } from './reply.ts';

export interface DnsEndpoint {
  readonly address: string;
  readonly port: number;
}

/** A descriptor of a socket that is bound (UDP) or listens (TCP) on the DNS port inside the pod's namespace. */
export interface DnsListener {
  readonly fd: number;
  readonly family: 4 | 6;
}

export interface DnsPod {
  /** Cookie of the pod's network namespace; identifies the pod here. */
  readonly cookie: bigint;
  readonly workloadUid: string;
  readonly namespace: string;
  readonly udp: readonly DnsListener[];
  readonly tcp: readonly DnsListener[];
}

/** Caps and deadlines; each protects the node from one pod, or one pod from a server that sleeps. */
export interface DnsLimits {
  /** From a query that is passed on to its answer, milliseconds. */
  readonly queryMs: number;
  /** UDP queries under way, for one pod and for the shard; the oldest gives way and gets SERVFAIL. */
  readonly udpQueriesPerPod: number;
  readonly udpQueries: number;
  readonly tcpConnectionsPerPod: number;
  /** Queries under way on one TCP connection; more are not read. */
  readonly tcpQueriesPerConnection: number;
  /** TCP connection without a complete query, milliseconds (RFC 7766 §6.2.3). */
  readonly tcpIdleMs: number;
}

const defaultDnsLimits: DnsLimits = {
  queryMs: 5_000,
  udpQueriesPerPod: 256,
  udpQueries: 4_096,
  tcpConnectionsPerPod: 64,
  tcpQueriesPerConnection: 64,
  tcpIdleMs: 10_000,
};

export interface DnsServerOptions {
  readonly mesh: DnsMesh & Pick<Mesh, 'workload'>;
  readonly log: Logger;
  readonly metrics: Pick<DnsMetrics, 'row'>;
  /** Counts what an operator may want to know, by code (docs/metrics.md has the DNS_ ones). */
  readonly count: (code: string) => void;
  /** Read for each query, since it may change: the cluster's domain and the network of this node. */
  readonly settings: () => { readonly clusterDomain: string; readonly network: string };
  /** Where the client of this pod that sends from `clientPort` meant its query to go; null when it came here by itself. */
  readonly originalServerUdp: (cookie: bigint, clientPort: number, family: 4 | 6) => DnsEndpoint | null;
  readonly originalServerTcp: (socket: Socket) => DnsEndpoint | null;
  /** A new UDP socket inside the pod's namespace, bound to a random port; the server closes it. */
  readonly upstreamSocket: (pod: DnsPod, family: 4 | 6) => number;
  /** A socket inside the pod's namespace that is on its way to the given server. */
  readonly upstreamTcp: (pod: DnsPod, address: string, port: number) => Socket;
  /**
   * Where the mesh is not known as a whole: asks for services by key until `needs` names none, or that is in vain, and then
   * calls `done`.
   */
  readonly learn?: (pod: DnsPod, needs: () => readonly string[], done: () => void) => void;
  readonly limits?: Partial<DnsLimits>;
  /** Of the answers from the mesh; 30 unless given. */
  readonly ttlSeconds?: number;
  /** As Math.random. */
  readonly random?: () => number;
}

/** One query that was understood or not, and what is to happen with it. */
export interface Incoming {
  readonly packet: Buffer;
  readonly question: Question;
  readonly ruling: Ruling;
  readonly row: DnsRow;
}

export class DnsContext {
  readonly options: DnsServerOptions;
  readonly limits: DnsLimits;
  readonly #ttlSeconds: number;
  readonly #random: () => number;

  constructor(options: DnsServerOptions) {
    this.options = options;
    this.limits = { ...defaultDnsLimits, ...options.limits };
    this.#ttlSeconds = options.ttlSeconds ?? 30;
    this.#random = options.random ?? Math.random;
  }

  /** Calls back when all is known that an answer depends on: at once but for names that the mesh may have and nobody used. */
  prepare(pod: DnsPod, packet: Buffer, done: () => void): void {
    const { learn, mesh, settings } = this.options;
    const query = learn === undefined ? null : readQuery(packet);
    if (learn === undefined || query === null) {
      done();
      return;
    }
    const needs = (): readonly string[] => {
      const { clusterDomain, network } = settings();
      return nameNeeds(mesh, { namespace: pod.namespace, network }, query.name, clusterDomain);
    };
    learn(pod, needs, done);
  }

  /** Reads and judges one query (`isQuery`). Never throws: what we fail to understand is passed on. */
  receive(pod: DnsPod, packet: Buffer, protocol: DnsProtocol): Incoming {
    const { mesh, metrics, log, settings } = this.options;
    const question = readQuestion(packet);
    const row = metrics.row(mesh.workload(pod.workloadUid), question.type, protocol);
    row.requests += 1;
    try {
      const { clusterDomain, network } = settings();
      const answering = { mesh, domain: clusterDomain, ttlSeconds: this.#ttlSeconds, random: this.#random };
      const ruling = rule(answering, { namespace: pod.namespace, network }, packet, protocol);
      return { packet, question, row, ruling };
    } catch (error) {
      this.options.count('DNS_INTERNAL_ERROR');
      log.error(
        { code: 'DNS_INTERNAL_ERROR', pod: pod.workloadUid, err: describeError(error) },
        'query passed on after an internal error',
      );
      return { packet, question, row, ruling: { kind: 'forward', instead: null } };
    }
  }
}

/** What the client gets when its server can't be asked. */
export function failureFor({ packet, ruling }: Incoming): Buffer {
  const instead = ruling.kind === 'forward' ? ruling.instead : null;
  return instead ?? writeFailure(packet, serverFailure);
}

/** What the client gets of its server's reply: all of it, unless that denies a name that the mesh knows. */
export function relayed({ ruling }: Incoming, reply: Buffer): Buffer {
  if (ruling.kind !== 'forward' || ruling.instead === null) return reply;
  return rcodeOf(reply) === nameError ? ruling.instead : reply;
}
