/**
 * The mesh of an agent in a cluster: who is who from the control plane (xDS), certificates from its certificate service,
 * where pods run from the container runtime and the CNI plugin. Needs no right on the API server.
 *
 * What was heard last stays in force while any of them is away.
 */
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Finding } from '../../control/finding.ts';
import { emptyMesh, Mesh, type MeshDelta } from '../../model/mesh.ts';
import type { MeshSettings } from '../../model/node-pod.ts';
import type { WireNode } from '../../proto/messages.ts';
import { CertificateService } from '../../xds/certificate-service.ts';
import type { ControlEndpoint } from '../../xds/channel.ts';
import { XdsClient } from '../../xds/client.ts';
import { entriesName, resourceTypes, type ResourceType } from '../../xds/codec.ts';
import type { XdsUpdate } from '../../xds/reading.ts';
import type { XdsCounters, XdsState } from '../../xds/state.ts';
import type {
  EnrolmentStates,
  MeshNames,
  MeshSource,
  MeshSourceState,
  MeshUpdate,
  WantedPod,
} from '../mesh-source.ts';
import type { ShardMeshSettings } from '../messages.ts';
import { Admission, type AdmissionLimits } from './admission.ts';
import { type CniAnswer, type CniQuestion, mayStart } from './cni-protocol.ts';
import { CniInstall, type CniPlaces, type CniState } from './cni-install.ts';
import { pluginName } from './cni-conf.ts';
import { CniServer } from './cni-server.ts';
import type { CniTimes } from './cni-times.ts';
import { Runtime, type RuntimeState } from './cri.ts';
import { EnrolledNamespaces } from './enrolled-namespaces.ts';
import { visibleNetns } from './netns-path.ts';
import { NodePods } from './node-pods.ts';
import { Reports } from './reports.ts';
import type { Sandbox } from './sandbox.ts';

export interface ClusterSourceOptions {
  readonly endpoint: ControlEndpoint;
  /** Who signs: the same, or another server of the certificate service. */
  readonly certificates: ControlEndpoint;
  /** Who this agent says it is; see xds/node.ts. */
  readonly node: WireNode;
  /** Socket of the container runtime; null: the usual ones are looked for. */
  readonly criSocket: string | null;
  readonly cni: {
    /** Where the plugin finds the agent. */
    readonly socket: string;
    /** File of namespaces whose new pods wait while no agent answers. */
    readonly enrolledNamespaces: string;
    /** The same file by the path that it has on the node. */
    readonly enrolledNamespacesOnNode: string;
    /** Null: the plugin is not installed from here. */
    readonly install: CniPlaces | null;
  };
  readonly admission: AdmissionLimits;
  /** Of the mesh only what is asked for, and what is on this node. */
  readonly onDemand: boolean;
  readonly log: Logger;
}

/** For `culvert status` and metrics. */
export interface ClusterState {
  readonly xds: Omit<XdsState, 'lastError'> & { readonly trouble: string | null };
  readonly xdsCounters: XdsCounters;
  /** Names that were asked for, by what the control plane said; null where everything is known. */
  readonly names: { readonly found: number; readonly missing: number; readonly pending: number } | null;
  /** What the types of resources are called on the wire. */
  readonly typeUrls: Readonly<Record<ResourceType, string>>;
  readonly runtime: RuntimeState;
  /** Null where the plugin is not installed from here. */
  readonly cni: CniState | null;
  readonly cniAsked: number;
  readonly cniTimes: CniTimes;
  readonly cniInserted: number;
  readonly cniWaiting: number;
  readonly pods: { readonly known: number; readonly wanted: number; readonly sandboxes: number };
  /** Why the control plane does not hear which pods are enrolled; null while it does. */
  readonly reportsTrouble: string | null;
}

/** A pod of the mesh waits this much longer than the agent takes to say no. */
const pluginSlackMs = 5_000;
/** Of certificates, before the first settings. */
const defaultTtlMs = 24 * 3_600_000;

export class ClusterSource implements MeshSource {
  readonly signer: CertificateService;
  readonly names: MeshNames | null;
  readonly #options: ClusterSourceOptions;
  readonly #pods = new NodePods();
  readonly #namespaces: EnrolledNamespaces;
  readonly #admission: Admission;
  #server: CniServer;
  #install: CniInstall | null;
  readonly #runtime: Runtime;
  readonly #xds: XdsClient;
  #reports: Reports;
  /** Whether the runtime has said what runs. Until then nobody knows which pods an earlier agent has left redirected. */
  #isListed = false;
  /** What has come before the whole was there. */
  #early: Mesh | null = new Mesh();
  #begin: (update: MeshUpdate) => void = () => {};
  #wanted: readonly WantedPod[] = [];
  /** The container runtime has said what runs. */
  #listed = false;
  #generation = 0;
  #appliedAt = 0;
  onUpdate: (update: MeshUpdate) => void = () => {};

  constructor(options: ClusterSourceOptions) {
    const { endpoint, node, log, cni, admission } = options;
    this.#options = options;
    this.signer = new CertificateService({
      endpoint: options.certificates,
      ttlMs: () => this.#pods.settings?.certificateTtlMs ?? defaultTtlMs,
    });
    this.#namespaces = new EnrolledNamespaces(cni.enrolledNamespaces);
    this.#admission = new Admission({
      pods: this.#pods,
      namespaces: this.#namespaces,
      connected: () => this.#mayHear(),
      onSandbox: () => this.#refresh(),
      limits: admission,
      log,
    });
    this.#runtime = new Runtime({
      socket: options.criSocket,
      onSandboxes: sandboxes => {
        this.#listed = true;
        this.#pods.setSandboxes(sandboxes.flatMap(asSeenHere), Date.now());
        this.#isListed = true;
        this.#heard(this.#xds.state());
        this.#refresh();
      },
      log,
    });
    this.#xds = new XdsClient({
      endpoint,
      node,
      subscriptions: ['settings', 'nodePod', 'authorization', 'address'],
      onDemand: options.onDemand,
      // Who looks up one of their hosts cannot know the namespace that is part of its name.
      always: [entriesName],
      onGivenUp: names => this.names?.onGivenUp(names),
      log,
      onUpdate: update => this.#received(update),
      onState: state => this.#heard(state),
    });
    this.names = options.onDemand ? namesOf(this.#xds) : null;
    this.#server = this.#newServer();
    this.#install = this.#newInstall();
    this.#reports = this.#newReports();
  }

  /** Throws CNI_SOCKET, CNI_INSTALL. */
  async begin(): Promise<void> {
    // Whoever asks finds somebody, before anybody is sent here.
    await this.#server.start();
    this.#install?.start();
    this.#reports.start();
  }

  async end(): Promise<void> {
    const [server, install, reports] = [this.#server, this.#install, this.#reports];
    this.#server = this.#newServer();
    this.#install = this.#newInstall();
    this.#reports = this.#newReports();
    install?.close();
    reports.close();
    await server.close();
  }

  /** Resolves with the first whole state of the mesh and of this node, however long control plane and runtime take. */
  async start(): Promise<MeshUpdate> {
    const first = new Promise<MeshUpdate>(resolve => (this.#begin = resolve));
    this.#runtime.start();
    this.#xds.start();
    return first;
  }

  get podsKnown(): boolean {
    return this.#generation > 0 && this.#listed;
  }

  enrolled(states: EnrolmentStates): void {
    this.#pods.setStates(states);
    this.#reports.set(this.#pods.report());
    this.#refresh();
  }

  state(): MeshSourceState {
    const { types } = this.#xds.state();
    const refused = Object.values(types).flatMap(type => type.refused.map(({ name }) => name));
    return {
      name: this.#options.endpoint.address,
      generation: this.#generation,
      appliedAt: this.#appliedAt,
      refused,
      findings: { error: 0, warning: 0, info: 0 },
    };
  }

  /** The control plane has them. */
  findings(): readonly Finding[] {
    return [];
  }

  clusterState(): ClusterState {
    const { trouble } = this.#reports;
    const { lastError, ...xds } = this.#xds.state();
    return {
      xds: { ...xds, trouble: lastError === null ? null : describeError(lastError) },
      xdsCounters: this.#xds.counters(),
      names: this.#xds.wanted(),
      typeUrls: resourceTypes,
      runtime: this.#runtime.state,
      cni: this.#install?.state ?? null,
      cniAsked: this.#server.asked,
      cniTimes: this.#server.times,
      cniInserted: this.#install?.inserted ?? 0,
      cniWaiting: this.#server.waiting,
      pods: this.#pods.counts(),
      reportsTrouble: trouble === null ? null : describeError(trouble),
    };
  }

  async close(): Promise<void> {
    this.#install?.close();
    await this.#server.close();
    this.#runtime.close();
    this.#reports.close();
    this.#xds.close();
    this.signer.close();
  }

  #newServer(): CniServer {
    const { cni, log } = this.#options;
    return new CniServer({
      socket: cni.socket,
      answer: (question, signal) => this.#answer(question, signal),
      log,
    });
  }

  #newInstall(): CniInstall | null {
    const { install } = this.#options.cni;
    return install === null ? null : installer(this.#options, install);
  }

  #newReports(): Reports {
    const { endpoint, log } = this.#options;
    return new Reports({ endpoint, channel: this.#xds.channel, log });
  }

  #received({ delta, settings, nodePods }: XdsUpdate): void {
    if (settings !== null) {
      this.#pods.setSettings(settings);
      this.#remember(settings);
    }
    this.#pods.setWishes(nodePods.set, nodePods.removed);
    if (this.#early === null) this.#tell(delta);
    else this.#early.apply(delta);
  }

  /** For the plugin, while no agent answers. The mesh works without, so that a full disk stops nothing. */
  #remember({ enrolledNamespaces, excludedNamespaces }: MeshSettings): void {
    try {
      this.#namespaces.set(enrolledNamespaces, excludedNamespaces);
    } catch (thrown) {
      this.#options.log.error(
        { code: 'CNI_NAMESPACES', err: String(thrown), path: this.#options.cni.enrolledNamespaces },
        'new pods of the mesh may start without it while no agent runs here',
      );
    }
  }

  /** The first time that everything is known is the beginning. */
  #heard(state: XdsState): void {
    if (this.#early === null) return;
    // On demand too the workloads of this node come first: nobody could be let in to them.
    const isWhole = state.synced && state.types.address?.synced === true;
    if (!isWhole || !this.#isListed || this.#pods.settings === null) return;
    const delta = this.#early.snapshot();
    this.#early = null;
    this.#tell(delta);
  }

  /** Something that is no change of the mesh may have changed who is wanted. */
  #refresh(): void {
    if (this.#early !== null) return;
    const before = this.#wanted;
    this.#look();
    if (this.#wanted === before) this.#admission.reconsider();
    else this.#tell(emptyMesh);
  }

  #tell(delta: MeshDelta): void {
    const { settings } = this.#pods;
    if (settings === null) return;
    this.#look();
    this.#generation += 1;
    this.#appliedAt = Date.now();
    const update = { delta, settings: forShards(settings), wanted: this.#wanted };
    if (this.#generation === 1) this.#begin(update);
    else this.onUpdate(update);
    this.#admission.reconsider();
  }

  /** The same list as before where it says the same. */
  #look(): void {
    const wanted = this.#pods.wanted();
    if (JSON.stringify(wanted) !== JSON.stringify(this.#wanted)) this.#wanted = wanted;
  }

  /** At the beginning the control plane may still speak; afterwards only over a connection. */
  #mayHear(): boolean {
    const { connected, lastError } = this.#xds.state();
    return connected || lastError === null;
  }

  async #answer(question: CniQuestion, signal: AbortSignal): Promise<CniAnswer> {
    const place = question.command === 'ADD' ? visibleNetns(question.netns) : 'missing';
    if (place === 'node') return mayStart;
    // Enrolling one that can't be seen fails, and says so.
    const netns = typeof place === 'object' ? place.path : question.netns;
    return this.#admission.answer({ ...question, netns }, signal);
  }
}

function namesOf(xds: XdsClient): MeshNames {
  return {
    get reachable() {
      return xds.state().connected;
    },
    want: (name, signal) => xds.want(name, signal),
    onGivenUp: () => {},
  };
}

function asSeenHere(sandbox: Sandbox): Sandbox[] {
  const place = visibleNetns(sandbox.netns);
  if (place === 'node') return [];
  return [place === 'missing' ? sandbox : { ...sandbox, netns: place.path }];
}

function installer({ cni, admission, log }: ClusterSourceOptions, places: CniPlaces): CniInstall {
  const { socket, enrolledNamespacesOnNode: enrolledNamespaces } = cni;
  const timeoutMs = admission.enrolMs + pluginSlackMs;
  return new CniInstall({
    ...places,
    entry: { type: pluginName, socket, enrolledNamespaces, timeoutMs },
    log,
  });
}

function forShards({
  trustDomain,
  network,
  clusterDomain,
  clusterId,
  accessLog,
}: ShardMeshSettings): ShardMeshSettings {
  return { trustDomain, network, clusterDomain, clusterId, accessLog };
}
