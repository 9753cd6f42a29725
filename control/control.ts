/**
 * The control plane: puts its parts together and runs them. Watch → build → serve, the authority beside it.
 *
 * construct (reads credentials, nothing else) → start (follows the cluster, opens the authority, listens) → ready → drain →
 * stop. Every replica serves; the one that holds the lease writes. While the API server is away all of them go on with what
 * they know.
 */
import { setTimeout } from 'node:timers/promises';
import { Registry } from 'prom-client';
import { describeError } from '../base/errors.ts';
import { createLogger, type Logger } from '../base/log.ts';
import { Ready } from '../base/ready.ts';
import { followedKinds } from '../model/kinds/registry.ts';
import { servedTypes } from './ads-types.ts';
import type { ClusterAuthority } from './authority-store.ts';
import { IncrementalBuilder, type ObjectChanges } from './build-incremental.ts';
import { serviceAccountOf } from './build-workloads.ts';
import { type Api, KubeApi } from './cluster/api.ts';
import { Lease } from './cluster/lease.ts';
import { NamedObjects } from './cluster/named-objects.ts';
import { ClusterObjects } from './cluster/objects.ts';
import { hasEnded, PodIndex, type PodObject } from './cluster/pod-index.ts';
import { RedirectionWriter } from './cluster/redirection.ts';
import { SecretBundle } from './cluster/secrets.ts';
import { StatusWriter } from './cluster/status.ts';
import { ClusterWatch } from './cluster/watch.ts';
import { type ControlConfig, controlService } from './control-config.ts';
import { controlMetrics } from './control-metrics.ts';
import { offersOf } from './encode.ts';
import { type Finding, compareFindings } from './finding.ts';
import { FindingLog } from './finding-log.ts';
import { type LocatedObject } from './located.ts';
import { NewPods } from './new-pods.ts';
import { openAuthority } from './open-authority.ts';
import { ResourceStore } from './resources.ts';
import { type Serving, serving } from './serving.ts';
import { type Waypoints, waypoints } from './waypoints.ts';

/** How often it is noted which agents still report here. */
const agentsMs = 1_000;
/** Pods that are built at one go when they are new no more. */
const settleAtOnce = 500;

export class Control {
  readonly config: ControlConfig;
  readonly log: Logger;
  readonly ready = new Ready(ready => this.log.info(ready ? 'ready' : 'not ready'));
  readonly registry = new Registry();
  readonly metrics = controlMetrics(this.registry);
  readonly startedAt = Date.now();
  readonly api: Api;
  readonly resources = new ResourceStore(servedTypes.map(({ typeUrl }) => typeUrl));
  readonly builder = new IncrementalBuilder({ mode: 'cluster' });
  readonly pods = new PodIndex();
  readonly objects: ClusterObjects;
  readonly watch: ClusterWatch;
  readonly lease: Lease;
  readonly redirection: RedirectionWriter;
  readonly status: StatusWriter;
  readonly #secrets: SecretBundle;
  readonly #named: NamedObjects;
  readonly #findingLog: FindingLog;
  readonly #tasks = { objects: this.ready.task('objects'), serving: this.ready.task('serving') };
  /** What the builder says, by object. */
  readonly #built = new Map<string, readonly Finding[]>();
  readonly #stop = new AbortController();
  readonly #newPods: NewPods;
  readonly #waypoints: Waypoints;
  #closeApi: () => void = () => {};
  /** Someone on the admin port wants this process to end; set by whoever owns it. */
  onShutdownRequest: () => void = () => {};
  #serving: Serving | null = null;
  #agentsTimer: NodeJS.Timeout | undefined;
  #port = 0;
  #draining = false;
  #problem: string | null = null;
  #builds = { count: 0, seconds: 0, lastAt: 0 };

  /** Throws CONFIG_KUBECONFIG. */
  constructor(config: ControlConfig, api?: Api) {
    this.config = config;
    this.log = createLogger({ component: 'control', level: config.logLevel });
    if (api === undefined) {
      const made = KubeApi.load(config.kubeconfig);
      this.#closeApi = () => made.close();
      this.api = made;
    } else this.api = api;
    const { log, pods } = this;
    const { namespace, identity } = config;
    this.#findingLog = new FindingLog(log);
    this.redirection = new RedirectionWriter({ api: this.api, pods, log });
    this.objects = new ClusterObjects({
      onObject: (before, after) => this.#noteObject(before, after),
      onChange: changes => this.#adopt(changes),
    });
    this.#newPods = new NewPods({
      namespace: name => this.objects.get('Namespace', '', name),
      hasAgent: node => hasAgent(pods.on(node), config.agents),
      graceMs: config.limits.newPodMs,
      onSettled: uids => this.#settle(uids),
    });
    this.watch = new ClusterWatch({ api: this.api, store: this.objects, kinds: followedKinds, log });
    this.lease = new Lease({ api: this.api, namespace, name: controlService, identity, log });
    const { objects, builder, watch } = this;
    this.#waypoints = waypoints({
      config,
      api: this.api,
      objects,
      builder,
      watch,
      log,
      roots: () => this.#serving?.authority.roots() ?? null,
      mayWrite: () => this.lease.isLeader,
      onState: () => this.status.lead(),
    });
    this.status = new StatusWriter({
      api: this.api,
      knowledge: {
        ...this.#waypoints.knowledge,
        findingsOf: object => this.#built.get(object) ?? [],
        allocated: (namespace, name) => this.builder.allocated(namespace, name),
      },
      mayWrite: () => this.lease.isLeader,
      log,
    });
    this.#named = new NamedObjects({
      api: this.api,
      wanted: () => builder.wanted(),
      onChange: changes => this.#adopt(changes),
      log,
    });
    this.#secrets = new SecretBundle({ api: this.api, namespace, log });
  }

  /** Resolves when it serves. While the API server can not be reached it waits; rejects when stopped meanwhile. */
  async start(): Promise<void> {
    this.lease.onChange = leading => {
      if (!leading) return;
      this.status.lead();
      this.#waypoints.deployer.touch();
      this.#serving?.roots.touch();
    };
    this.lease.start();
    this.#secrets.start();
    await this.watch.start();
    await this.#named.start();
    this.#tasks.objects.done();
    const authority = await openAuthority({
      api: this.api,
      namespace: this.config.namespace,
      store: this.#secrets,
      signal: this.#stop.signal,
      onFailure: why => this.#tasks.serving.undo(why),
      log: this.log,
    });
    this.#serving = serving(this, authority);
    this.#port = await this.#serving.server.start();
    this.#serving.roots.start();
    this.#serving.authority.onRootsChanged(() => this.#waypoints.deployer.touch());
    this.#waypoints.deployer.start();
    this.#agentsTimer = setInterval(() => this.#keepAgents(), agentsMs).unref();
    this.#tasks.serving.done();
  }

  /** Where gRPC is served; 0 before it is. */
  get port(): number {
    return this.#port;
  }

  get draining(): boolean {
    return this.#draining;
  }

  get authority(): ClusterAuthority | null {
    return this.#serving?.authority ?? null;
  }

  /** Streams of clients, and agents that report here. */
  get clients(): { readonly streams: number; readonly agents: number } {
    return { streams: this.#serving?.ads.size ?? 0, agents: this.#serving?.reports.agents.length ?? 0 };
  }

  get builds(): { readonly count: number; readonly seconds: number; readonly lastAt: number } {
    return this.#builds;
  }

  /** What keeps this replica from doing all that it should; empty when nothing does. */
  problems(): string[] {
    const authority = this.#serving?.authority.status().problem ?? null;
    const roots = this.#serving?.roots.problem ?? null;
    return [
      ...(this.#problem === null ? [] : [this.#problem]),
      ...this.watch.problems(),
      ...(authority === null ? [] : [describeError(authority)]),
      ...(roots === null ? [] : [`ConfigMap culvert-root: ${roots}`]),
    ];
  }

  /** Everything that is wrong with the configuration of the cluster, by place. */
  findings(): Finding[] {
    return [...this.#everythingFound()].sort(compareFindings);
  }

  /** The same, counted. */
  findingCounts(): Record<Finding['severity'], number> {
    const counts = { error: 0, warning: 0, info: 0 };
    for (const { severity } of this.#everythingFound()) counts[severity] += 1;
    return counts;
  }

  /** Lets new clients go elsewhere, then those that are here, and waits for them. The rest is cut at the deadline. */
  async drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    const { noticeMs, drainMs } = this.config.limits;
    this.log.info({ noticeMs, deadlineMs: drainMs }, 'draining');
    // Whoever leads next need not wait for our lease to run out.
    await this.lease.stop();
    if (this.#serving === null) return;
    await setTimeout(noticeMs);
    const { ads, reports, server } = this.#serving;
    ads.close();
    reports.close();
    await server.drain(drainMs);
  }

  /** Ends everything in the reverse order of its start. */
  async stop(): Promise<void> {
    this.#draining = true;
    this.#stop.abort();
    clearInterval(this.#agentsTimer);
    if (this.#serving !== null) {
      const { ads, reports, server, certificate, roots, authority } = this.#serving;
      ads.close();
      reports.close();
      await server.drain(0);
      certificate.close();
      await roots.stop();
      authority.close();
    }
    await this.watch.stop();
    this.objects.close();
    this.#newPods.close();
    await Promise.all([this.#secrets.stop(), this.#named.stop(), this.#waypoints.deployer.stop()]);
    await Promise.all([this.lease.stop(), this.status.stop(), this.redirection.stop()]);
    this.#closeApi();
  }

  *#everythingFound(): Generator<Finding> {
    yield* this.watch.findings();
    yield* this.objects.findings();
    yield* this.#named.findings();
    for (const findings of this.#built.values()) yield* findings;
    yield* this.redirection.findings();
  }

  /** Pods that are new no more are built as they are. */
  #settle(uids: readonly string[]): void {
    const set = uids.flatMap(uid => this.pods.pod(uid) ?? []);
    for (let from = 0; from < set.length; from += settleAtOnce)
      setImmediate(() => this.#adopt({ set: set.slice(from, from + settleAtOnce), removed: [] }));
  }

  #noteObject(before: LocatedObject | null, after: LocatedObject | null): void {
    this.#waypoints.deployer.objectChanged(before, after);
    const was = before?.kind === 'Pod' ? before : null;
    const is = after?.kind === 'Pod' ? after : null;
    if (was === null && is === null) return;
    this.pods.apply(was, is);
    const former = was?.value.metadata.uid;
    if (former !== undefined && former !== is?.value.metadata.uid) this.#newPods.forget(former);
    this.redirection.podChanged(was, is);
  }

  /** Puts changes of the cluster into force. */
  #adopt(changes: ObjectChanges): void {
    const from = performance.now();
    try {
      const set = changes.set.map(object => (object.kind === 'Pod' ? this.#newPods.mark(object) : object));
      const change = this.builder.apply({ ...changes, set });
      for (const [object, findings] of change.findings) {
        if (findings.length === 0) this.#built.delete(object);
        else this.#built.set(object, findings);
        this.#findingLog.say(object, findings);
      }
      this.resources.apply(offersOf(change));
      this.#problem = null;
    } catch (error) {
      // Clients keep what they have; to end here would take from them what still works.
      this.#problem = `a change could not be taken in: ${describeError(error)}`;
      this.log.error({ err: error }, 'a change of the cluster could not be taken in');
    }
    const { count, seconds } = this.#builds;
    const took = (performance.now() - from) / 1_000;
    this.#builds = { count: count + 1, seconds: seconds + took, lastAt: Date.now() };
    this.status.update(this.objects.own());
    this.#named.touch();
  }

  #keepAgents(): void {
    if (this.#serving !== null) this.redirection.keep(this.#serving.reports.agents);
  }
}

/** Whether one of these pods is an agent, by its service account `namespace/name`. */
function hasAgent(pods: Iterable<PodObject>, agents: readonly string[]): boolean {
  for (const pod of pods)
    if (agents.includes(`${pod.namespace}/${serviceAccountOf(pod.value)}`) && !hasEnded(pod)) return true;
  return false;
}
