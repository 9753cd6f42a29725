/**
 * One enrolled pod as its shard holds it: who it is, its sockets, its listeners, its tunnels and its connections.
 */
import type { CulvertError } from '../base/errors.ts';
import type { TunnelPool } from '../tunnel/pool.ts';
import type { Connection } from './connections.ts';
import type { LegLoop } from './leg-loop.ts';
import type { ShardPodMessage } from './messages.ts';
import { PodSockets } from './sockets.ts';
import { Spread } from './spread.ts';

/** How long news may take to reach every agent. */
const leaveMs = 2_000;

export class Pod {
  readonly uid: string;
  readonly workloadUid: string;
  readonly name: string;
  readonly namespace: string;
  /** SPIFFE ID, fixed for the life of this object: a changed service account is another Pod. */
  readonly identity: string;
  readonly addresses: readonly string[];
  readonly cookie: bigint;
  readonly netnsFd: number;
  /** By which shards name it to each other: no two pods of an agent ever have the same. */
  readonly tag: number;
  /** Connections that its application or plain clients have opened, and tunnels of peers, by the shard that carries them. */
  readonly clients: Spread;
  readonly peers: Spread;
  readonly sockets: PodSockets;
  readonly connections = new Set<Connection>();
  /** Ends of inbound tunnels, so that they close with the pod. */
  readonly inboundTunnels = new Set<{ destroy(error?: CulvertError): void; goaway(): void }>();
  readonly listeners: { close(): void }[] = [];
  readonly pool: TunnelPool;
  gone = false;
  #leaving: NodeJS.Timeout | undefined;

  /** @param shard its index */
  constructor(message: ShardPodMessage, shard: number, legs: LegLoop, makePool: (pod: Pod) => TunnelPool) {
    this.uid = message.podUid;
    this.workloadUid = message.workloadUid;
    this.name = message.name;
    this.namespace = message.namespace;
    this.identity = message.identity;
    this.addresses = message.addresses;
    this.cookie = message.cookie;
    this.netnsFd = message.netnsFd;
    this.tag = message.tag;
    this.clients = new Spread(message.clients, shard);
    this.peers = new Spread(message.peers, shard);
    this.sockets = new PodSockets(message.netnsFd, legs);
    this.pool = makePool(this);
  }

  /** No new connections; the open ones go on. */
  stopAccepting(): void {
    for (const listener of this.listeners.splice(0)) listener.close();
  }

  /**
   * It leaves the mesh and lives on. Others may not have heard yet and come by tunnel: they are served a moment longer.
   * What is open stays open until `close`.
   */
  leave(): void {
    this.#leaving ??= setTimeout(() => {
      this.stopAccepting();
      this.pool.drain();
      for (const tunnel of this.inboundTunnels) tunnel.goaway();
    }, leaveMs);
  }

  /** Ends everything of this pod. */
  close(error: CulvertError): void {
    if (this.gone) return;
    this.gone = true;
    this.clients.end();
    this.peers.end();
    clearTimeout(this.#leaving);
    this.stopAccepting();
    for (const connection of this.connections) {
      connection.cut(error);
      connection.closed(error);
    }
    for (const tunnel of this.inboundTunnels) tunnel.destroy(error);
    this.pool.close(error);
    this.sockets.close();
  }
}
