/**
 * One shard: the part of the data path that lives in one worker thread. Owns its listeners and its connections from
 * accept to close; learns everything else by messages and shares with other shards only how much each carries.
 */
import { CulvertError } from '../base/errors.ts';
import { createLogger, setLevels, type Logger } from '../base/log.ts';
import { collectGarbage } from '../base/settle.ts';
import { Affinity } from '../model/affinity.ts';
import { Mesh } from '../model/mesh.ts';
import { rejudge } from './authorise.ts';
import { Connections } from './connections.ts';
import { EndpointHealth } from '../tunnel/endpoint-health.ts';
import { EndpointNames } from './endpoint-names.ts';
import { Inquiries } from './inquiries.ts';
import { Passages } from './kernel-path-passages.ts';
import { VerdictRequests } from './kernel-path-requests.ts';
import { LegLoop } from './leg-loop.ts';
import { listen, listenToShards } from './listen.ts';
import type {
  FromShard,
  PodListeners,
  Question,
  ShardAnswer,
  ShardPodMessage,
  ShardStart,
  ToShard,
} from './messages.ts';
import { Observer } from './observe.ts';
import { Pod } from './pod.ts';
import { PodDns } from './pod-dns.ts';
import { CurrentCertificates } from '../tunnel/current-certificates.ts';
import type { ShardContext } from './shard-context.ts';
import { ShardDrain } from './shard-drain.ts';
import { ShardMetrics, type ShardGauges } from './shard-metrics.ts';
import { SourceCaps } from '../tunnel/source-caps.ts';
import { makePool } from './tunnel-out.ts';

/** Bytes of connections that stay open reach the metrics this often. */
const countEveryMs = 5_000;
/** With a successor there is time for what was accepted last to become a connection. */
const leastMs = 2_000;

export class Shard {
  readonly #context: ShardContext;
  readonly #send: (message: FromShard) => void;
  readonly #observer: Observer;
  readonly #dns: PodDns;
  readonly #log: Logger;
  readonly #metrics = new ShardMetrics();
  #draining: ShardDrain | null = null;
  /** One shard keeps the books of the kernel path. */
  readonly #passages: Passages | null;

  constructor(start: ShardStart, send: (message: FromShard) => void) {
    const { config } = start;
    this.#send = send;
    this.#log = createLogger({ component: 'shard', level: config.logLevel }).child({ shard: start.index });
    this.#observer = new Observer(config.accessLog, this.#metrics, this.#log);
    const mesh = new Mesh();
    const requests = start.kernelPath ? new VerdictRequests(send) : null;
    this.#context = {
      index: start.index,
      queues: start.queues,
      config,
      originalDestinationMap: start.originalDestinationMap,
      peerNameMap: start.peerNameMap,
      legProgram: start.legProgram,
      log: this.#log,
      mesh,
      certificates: new CurrentCertificates(),
      connections: new Connections(this.#observer),
      legs: new LegLoop(),
      health: new EndpointHealth(config.limits.endpointPenaltyMs),
      names: new EndpointNames(),
      caps: new SourceCaps(config.limits.handshakesPerSource, config.limits.tunnelsPerSource),
      agentPorts: new Set([
        config.podPorts.outbound,
        config.podPorts.plaintext,
        config.podPorts.hbone,
        config.podPorts.dns,
      ]),
      pods: new Map(),
      podsByWorkload: new Map(),
      podsByTag: new Map(),
      affinity: new Affinity(),
      send,
      inquiries:
        config.source.kind === 'cluster' && config.source.onDemand
          ? new Inquiries(config.limits, send)
          : null,
      settings: {
        trustDomain: 'cluster.local',
        network: '',
        clusterDomain: 'cluster.local',
        clusterId: 'Kubernetes',
        accessLog: true,
      },
      draining: false,
      metrics: this.#metrics,
      neighbour: (pod, reached, service) => requests?.ask(pod, reached, service),
      count: code => this.#metrics.event(code),
    };
    this.#dns = new PodDns(this.#context, start.dnsServersMap);
    this.#passages =
      start.index === 0
        ? new Passages(this.#context, start.passageMaps, start.unreadProgram, this.#observer)
        : null;
    setInterval(() => this.#observer.countOpen(this.#context.connections.all()), countEveryMs).unref();
  }

  receive(message: ToShard): void {
    const context = this.#context;
    switch (message.type) {
      case 'settings':
        context.settings = message.settings;
        this.#observer.accessLogEnabled = message.settings.accessLog;
        return;
      case 'mesh':
        context.mesh.apply(message.delta);
        // Those that have just begun are judged as well.
        this.#passages?.look();
        rejudge(context);
        return;
      case 'certificate':
        context.certificates.set(message.certificate);
        return;
      case 'certificateGone':
        context.certificates.forget(message.identity);
        return;
      case 'introduced':
        listenToShards(context);
        return;
      case 'books':
        this.#passages?.keep();
        return;
      case 'podAdd':
        this.#addPod(message.pod);
        return;
      case 'podLeave':
        context.pods.get(message.podUid)?.leave();
        return;
      case 'podRemove':
        this.#removePod(message.podUid, message.reason);
        return;
      case 'logLevel':
        setLevels(message.level);
        return;
      case 'reopenLogs':
        this.#observer.reopen();
        return;
      case 'inquired':
        context.inquiries?.answered(message.id, message.answered, message.missing);
        return;
      case 'kept':
        context.affinity.heard(message.kept, Date.now());
        return;
      case 'forgotten':
        context.inquiries?.forget(message.names);
        return;
      case 'settle':
        collectGarbage();
        return;
      case 'pause':
        this.#pause();
        return;
      case 'resume':
        this.#resume(message.pods);
        return;
      case 'drain':
        this.#drain(message.deadlineMs, message.successor);
        return;
      case 'ask':
        this.#send({ type: 'answer', id: message.id, answer: this.#answer(message.question) });
    }
  }

  #addPod(message: ShardPodMessage): void {
    const context = this.#context;
    let error: string | null = null;
    try {
      this.#removePod(message.podUid, 'enrolled anew');
      const pod = new Pod(message, context.index, context.legs, it => makePool(context, it));
      context.pods.set(pod.uid, pod);
      context.podsByWorkload.set(pod.workloadUid, pod);
      context.podsByTag.set(pod.tag, pod);
      listen(context, pod, message.listeners);
      this.#dns.add(pod, message.listeners);
      this.#passages?.podAdded();
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.message : String(thrown);
      this.#removePod(message.podUid, 'enrolment failed');
    }
    this.#send({ type: 'podAdded', podUid: message.podUid, error });
  }

  #removePod(podUid: string, reason: string): void {
    const pod = this.#context.pods.get(podUid);
    if (pod === undefined) return;
    this.#context.pods.delete(podUid);
    this.#context.podsByTag.delete(pod.tag);
    if (this.#context.podsByWorkload.get(pod.workloadUid) === pod)
      this.#context.podsByWorkload.delete(pod.workloadUid);
    this.#dns.remove(pod);
    pod.close(new CulvertError('POD_GONE', reason, { side: 'us' }));
    this.#send({ type: 'podRemoved', netnsFd: pod.netnsFd });
  }

  /** Leaves to another agent what waits in the listeners; all that was accepted goes on here. */
  #pause(): void {
    for (const pod of this.#context.pods.values()) pod.stopAccepting();
    this.#passages?.letGo();
    this.#dns.retire();
  }

  #resume(pods: readonly PodListeners[]): void {
    this.#draining?.cancel();
    this.#draining = null;
    for (const { podUid, listeners } of pods) {
      const pod = this.#context.pods.get(podUid);
      if (pod === undefined) continue;
      listen(this.#context, pod, listeners);
      this.#dns.add(pod, listeners);
    }
  }

  /** Accepts nothing more, lets connections end by themselves until the deadline, then cuts the rest. */
  #drain(deadlineMs: number, successor: boolean): void {
    const context = this.#context;
    // With a successor nobody is turned away: who is here already may still need a tunnel.
    context.draining = !successor;
    this.#passages?.letGo();
    for (const pod of context.pods.values()) {
      pod.stopAccepting();
      if (!successor) pod.pool.drain();
    }
    this.#draining?.cancel();
    this.#draining = new ShardDrain(context, {
      deadlineMs,
      leastMs: successor ? leastMs : 0,
      idle: () => !successor || (context.caps.empty && !this.#dns.busy),
      onDone: forced => {
        this.#observer.flush();
        this.#send({ type: 'drained', forced });
      },
    });
  }

  #answer(question: Question): ShardAnswer {
    if (question === 'ping') return { kind: 'ping' };
    this.#passages?.scan();
    if (question === 'connections')
      return { kind: 'connections', connections: this.#context.connections.views(this.#context.index) };
    const outbound = { tunnels: 0, streams: 0 };
    let inbound = 0;
    for (const pod of this.#context.pods.values()) {
      const { tunnels, streams } = pod.pool.count();
      outbound.tunnels += tunnels;
      outbound.streams += streams;
      inbound += pod.inboundTunnels.size;
    }
    this.#observer.countOpen(this.#context.connections.all());
    const gauges: ShardGauges = {
      connections: this.#context.connections.size,
      tunnels: { inbound, outbound: outbound.tunnels },
      streams: outbound.streams,
      accessLinesLost: this.#observer.linesLost,
    };
    return { kind: 'metrics', snapshot: this.#metrics.snapshot(gauges) };
  }
}
