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
import { entriesName, resourceTypes } from '../../xds/codec.ts';
import type { XdsUpdate } from '../../xds/reading.ts';
import type { XdsState } from '../../xds/state.ts';
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
import type { ClusterState } from './cluster-state.ts';
import { Runtime } from './cri.ts';
import { EnrolledNamespaces } from './enrolled-namespaces.ts';
import { visibleNetns } from './netns-path.ts';
import { type CniOptions, NodeDuties } from './node-duties.ts';
import { NodePods } from './node-pods.ts';
import type { Sandbox } from './sandbox.ts';

export interface ClusterSourceOptions {
  readonly endpoint: ControlEndpoint;
  /** Who signs: the same, or another server of the certificate service. */
  readonly certificates: ControlEndpoint;
  /** Who this agent says it is; see xds/node.ts. */
  readonly node: WireNode;
  /** Socket of the container runtime; null: the usual ones are looked for. */
  readonly criSocket: string | null;
  readonly cni: CniOptions;
  readonly admission: AdmissionLimits;
  /** Of the mesh only what is asked for, and what is on this node. */
  readonly onDemand: boolean;
  readonly log: Logger;
}

/** Of certificates, before the first settings. */
const defaultTtlMs = 24 * 3_600_000;

export class ClusterSource implements MeshSource {
  readonly signer: CertificateService;
  readonly names: MeshNames | null;
  readonly #options: ClusterSourceOptions;
  readonly #pods = new NodePods();
  readonly #namespaces: EnrolledNamespaces;
  readonly #admission: Admission;
  readonly #duties: NodeDuties;
  readonly #runtime: Runtime;
  readonly #xds: XdsClient;
  /** What has come before the whole was there. */
  #early: Mesh | null = new Mesh();
  #begin: (update: MeshUpdate) => void = () => {};
  #wanted: readonly WantedPod[] = [];
  /** The container runtime has said what runs. Until then nobody knows which pods an earlier agent has left redirected. */
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
        this.#pods.setSandboxes(sandboxes.flatMap(asSeenHere), Date.now());
        this.#listed = true;
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
    this.#duties = new NodeDuties({
      endpoint,
      channel: this.#xds.channel,
      cni,
      enrolMs: admission.enrolMs,
      answer: (question, signal) => this.#answer(question, signal),
      log,
    });
  }

  /** Throws CNI_SOCKET, CNI_INSTALL. */
  begin(): Promise<void> {
    return this.#duties.begin();
  }

  end(): Promise<void> {
    return this.#duties.end();
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
    this.#duties.report(this.#pods.report());
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
    const { lastError, ...xds } = this.#xds.state();
    return {
      xds: { ...xds, trouble: lastError === null ? null : describeError(lastError) },
      xdsCounters: this.#xds.counters(),
      names: this.#xds.wanted(),
      typeUrls: resourceTypes,
      runtime: this.#runtime.state,
      pods: this.#pods.counts(),
      ...this.#duties.state(),
    };
  }

  async close(): Promise<void> {
    await this.#duties.close();
    this.#runtime.close();
    this.#xds.close();
    this.signer.close();
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
    if (!isWhole || !this.#listed || this.#pods.settings === null) return;
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

function forShards({
  trustDomain,
  network,
  clusterDomain,
  clusterId,
  accessLog,
}: ShardMeshSettings): ShardMeshSettings {
  return { trustDomain, network, clusterDomain, clusterId, accessLog };
}
