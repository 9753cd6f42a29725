/**
 * What one agent of a node does for the cluster and no second one may: it answers the CNI plugin, keeps it installed, and
 * reports which pods are enrolled. Begins when an agent serves and ends when another takes its place, which may be given back.
 */
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ControlChannel, ControlEndpoint } from '../../xds/channel.ts';
import { pluginName } from './cni-conf.ts';
import { CniInstall, type CniPlaces } from './cni-install.ts';
import type { CniAnswer, CniQuestion } from './cni-protocol.ts';
import { CniServer } from './cni-server.ts';
import type { ClusterState } from './cluster-state.ts';
import type { PodReport } from './node-pods.ts';
import { Reports } from './reports.ts';

export interface CniOptions {
  /** Where the plugin finds the agent. */
  readonly socket: string;
  /** File of namespaces whose new pods wait while no agent answers. */
  readonly enrolledNamespaces: string;
  /** The same file by the path that it has on the node. */
  readonly enrolledNamespacesOnNode: string;
  /** Null: the plugin is not installed from here. */
  readonly install: CniPlaces | null;
}

export interface NodeDutiesOptions {
  readonly endpoint: ControlEndpoint;
  readonly channel: ControlChannel;
  readonly cni: CniOptions;
  /** How long the agent takes at most to say whether a new pod may start. */
  readonly enrolMs: number;
  readonly answer: (question: CniQuestion, signal: AbortSignal) => Promise<CniAnswer>;
  readonly log: Logger;
}

/** A pod of the mesh waits this much longer than the agent takes to say no. */
const pluginSlackMs = 5_000;
export class NodeDuties {
  readonly #options: NodeDutiesOptions;
  #server: CniServer;
  #install: CniInstall | null;
  #reports: Reports;

  constructor(options: NodeDutiesOptions) {
    this.#options = options;
    this.#server = serverOf(options);
    this.#install = installOf(options);
    this.#reports = reportsOf(options);
  }

  /** Throws CNI_SOCKET, CNI_INSTALL. */
  async begin(): Promise<void> {
    // Whoever asks finds somebody, before anybody is sent here.
    await this.#server.start();
    this.#install?.start();
    this.#reports.start();
  }

  /** May begin again. */
  async end(): Promise<void> {
    const [server, install, reports] = [this.#server, this.#install, this.#reports];
    this.#server = serverOf(this.#options);
    this.#install = installOf(this.#options);
    this.#reports = reportsOf(this.#options);
    install?.close();
    reports.close();
    await server.close();
  }

  report(pods: readonly PodReport[]): void {
    this.#reports.set(pods);
  }

  state(): Pick<
    ClusterState,
    'cni' | 'cniAsked' | 'cniTimes' | 'cniInserted' | 'cniWaiting' | 'reportsTrouble'
  > {
    const { trouble } = this.#reports;
    return {
      cni: this.#install?.state ?? null,
      cniAsked: this.#server.asked,
      cniTimes: this.#server.times,
      cniInserted: this.#install?.inserted ?? 0,
      cniWaiting: this.#server.waiting,
      reportsTrouble: trouble === null ? null : describeError(trouble),
    };
  }

  /** For good. */
  async close(): Promise<void> {
    this.#install?.close();
    this.#reports.close();
    await this.#server.close();
  }
}

function serverOf({ cni: { socket }, answer, log }: NodeDutiesOptions): CniServer {
  return new CniServer({ socket, answer, log });
}

function installOf({ cni, enrolMs, log }: NodeDutiesOptions): CniInstall | null {
  const { socket, enrolledNamespacesOnNode: enrolledNamespaces, install } = cni;
  if (install === null) return null;
  const timeoutMs = enrolMs + pluginSlackMs;
  return new CniInstall({
    ...install,
    entry: { type: pluginName, socket, enrolledNamespaces, timeoutMs },
    log,
  });
}

function reportsOf({ endpoint, channel, log }: NodeDutiesOptions): Reports {
  return new Reports({ endpoint, channel, log });
}
