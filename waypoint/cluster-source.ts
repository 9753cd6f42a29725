/**
 * The mesh of a waypoint in a cluster: everything from the control plane over one discovery stream, and certificates for
 * its own service account from the certificate service.
 *
 * What was heard last stays in force while the control plane is away. The token is that of the pod, so that it can ask for
 * nobody else.
 */
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { versionString } from '../base/version.ts';
import { L7Store } from '../model/l7-store.ts';
import { Mesh, type MeshDelta } from '../model/mesh.ts';
import type { MeshSettings } from '../model/node-pod.ts';
import { podUid } from '../model/workload.ts';
import { CertificateService } from '../xds/certificate-service.ts';
import type { ControlEndpoint } from '../xds/channel.ts';
import { XdsClient } from '../xds/client.ts';
import { l7Name, type Barred } from '../xds/codec-l7.ts';
import { discoveryNode } from '../xds/node.ts';
import type { XdsUpdate } from '../xds/reading.ts';
import type { XdsState } from '../xds/state.ts';
import type { ClusterConfig } from './config.ts';
import type { SourceState, WaypointSource, WaypointUpdate } from './mesh-source.ts';

/** Of certificates, before the first settings. */
const defaultTtlMs = 24 * 3_600_000;

export class ClusterSource implements WaypointSource {
  readonly signer: CertificateService;
  readonly #pod: ClusterConfig['pod'];
  readonly #xds: XdsClient;
  readonly #store = new L7Store();
  /** What can not be read, by the name of the resource. */
  readonly #barred = new Map<string, Barred>();
  /** What has come before the whole was there. */
  #early: Mesh | null = new Mesh();
  #settings: MeshSettings | null = null;
  #begin: (update: WaypointUpdate) => void = () => {};
  #generation = 0;
  #appliedAt = 0;
  onUpdate: (update: WaypointUpdate) => void = () => {};

  constructor({ control, pod }: ClusterConfig, log: Logger) {
    const { address, root, token, serverName, clusterId } = control;
    const endpoint: ControlEndpoint = {
      address,
      rootPath: root,
      tokenPath: token,
      serverName,
      headers: { clusterid: clusterId },
    };
    this.#pod = pod;
    this.signer = new CertificateService({
      endpoint,
      ttlMs: () => this.#settings?.certificateTtlMs ?? defaultTtlMs,
      forOthers: false,
    });
    this.#xds = new XdsClient({
      endpoint,
      node: discoveryNode({
        type: 'waypoint',
        nodeName: pod.node,
        podName: pod.name,
        podNamespace: pod.namespace,
        serviceAccount: pod.serviceAccount,
        podIp: pod.address,
        clusterId,
        version: versionString(),
      }),
      subscriptions: ['settings', 'waypointCredential', 'waypointResource', 'address'],
      log,
      onUpdate: update => this.#received(update),
      onState: state => this.#heard(state),
    });
  }

  start(): Promise<WaypointUpdate> {
    const first = new Promise<WaypointUpdate>(resolve => (this.#begin = resolve));
    this.#xds.start();
    return first;
  }

  state(): SourceState {
    const { connected, since, lastError, types } = this.#xds.state();
    return {
      generation: this.#generation,
      appliedAt: this.#appliedAt,
      connected,
      since,
      trouble: lastError === null ? null : describeError(lastError),
      resources: Object.fromEntries(
        Object.entries(types).map(([type, { resources, synced }]) => [type, synced ? resources : null]),
      ),
      refused: Object.values(types).flatMap(({ refused }) => refused),
    };
  }

  /** The control plane has them. */
  findings(): readonly never[] {
    return [];
  }

  async close(): Promise<void> {
    this.#xds.close();
    this.signer.close();
  }

  #received({ delta, settings, l7 }: XdsUpdate): void {
    if (settings !== null) this.#settings = settings;
    this.#store.apply(l7.changes);
    for (const name of [...l7.changes.map(({ list, key }) => l7Name(list, key)), ...l7.removed])
      this.#barred.delete(name);
    for (const barred of l7.barred) this.#barred.set(barred.name, barred);
    if (this.#early !== null) this.#early.apply(delta);
    else if (this.#settings !== null) this.onUpdate(this.#updateOf(delta, this.#settings));
  }

  /** The first time that everything is known is the beginning. */
  #heard(state: XdsState): void {
    if (this.#early === null || !state.synced || this.#settings === null) return;
    const delta = this.#early.snapshot();
    this.#early = null;
    this.#begin(this.#updateOf(delta, this.#settings));
  }

  #updateOf(mesh: MeshDelta, settings: MeshSettings): WaypointUpdate {
    const { trustDomain, network, clusterDomain, clusterId } = settings;
    this.#generation += 1;
    this.#appliedAt = Date.now();
    return {
      mesh,
      l7: this.#store.state,
      barred: [...this.#barred.values()],
      names: { trustDomain, network, clusterDomain },
      self: podUid(clusterId, this.#pod.namespace, this.#pod.name),
    };
  }
}
