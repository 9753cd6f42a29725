/**
 * The mesh of an agent without a cluster: a watched directory of YAML, and an authority whose key lies in a file.
 */
import { join } from 'node:path';
import type { Logger } from '../base/log.ts';
import type { BuildResult } from '../control/build.ts';
import { Configuration } from '../control/configuration.ts';
import type { Finding } from '../control/finding.ts';
import { diff, emptyMesh, type MeshDelta } from '../model/mesh.ts';
import { workloadIdentity } from '../model/workload.ts';
import { Authority } from '../tunnel/authority.ts';
import type { MeshSource, MeshSourceState, MeshUpdate, WantedPod } from './mesh-source.ts';

export interface DirectorySourceOptions {
  readonly directory: string;
  /** File of the certificate authority; null: `.culvert/authority.pem` below the directory. */
  readonly authority: string | null;
  readonly node: string;
  readonly log: Logger;
}

export class DirectorySource implements MeshSource {
  readonly signer: Authority;
  readonly names = null;
  readonly podsKnown = true;
  readonly #options: DirectorySourceOptions;
  readonly #configuration: Configuration;
  #current: MeshDelta = emptyMesh;
  onUpdate: (update: MeshUpdate) => void = () => {};

  private constructor(options: DirectorySourceOptions, configuration: Configuration, signer: Authority) {
    this.#options = options;
    this.#configuration = configuration;
    this.signer = signer;
  }

  /** Reads directory and authority. Throws CulvertError for either. */
  static async open(options: DirectorySourceOptions): Promise<DirectorySource> {
    const { directory, log } = options;
    const configuration = await Configuration.open(directory, log);
    try {
      const signer = Authority.open({
        path: options.authority ?? join(directory, '.culvert', 'authority.pem'),
        leafTtlMs: configuration.current.config.certificateTtlMs,
        onProblem: problem => {
          if (problem !== null)
            log.error(
              { code: problem.code, err: problem.message, fix: problem.fix },
              'certificate authority',
            );
        },
      });
      signer.watch();
      return new DirectorySource(options, configuration, signer);
    } catch (error) {
      await configuration.close();
      throw error;
    }
  }

  /** Everything in a directory is for any number of readers. */
  begin(): Promise<void> {
    return Promise.resolve();
  }

  end(): Promise<void> {
    return Promise.resolve();
  }

  start(): Promise<MeshUpdate> {
    this.#configuration.onChange = built => this.onUpdate(this.#update(built));
    return Promise.resolve(this.#update(this.#configuration.current));
  }

  /** What is enrolled concerns nobody else here. */
  enrolled(): void {}

  state(): MeshSourceState {
    const { generation, appliedAt, findings } = this.#configuration.state();
    const refused = this.#configuration.refusedFiles();
    return { name: this.#options.directory, generation, appliedAt, refused, findings };
  }

  clusterState(): null {
    return null;
  }

  findings(): readonly Finding[] {
    return this.#configuration.findings();
  }

  async close(): Promise<void> {
    await this.#configuration.close();
    this.signer.close();
  }

  #update(built: BuildResult): MeshUpdate {
    const delta = diff(this.#current, built.mesh);
    this.#current = built.mesh;
    const { trustDomain, network, clusterDomain, clusterId, accessLog } = built.config;
    const settings = { trustDomain, network, clusterDomain, clusterId, accessLog };
    return { delta, settings, wanted: wantedOn(this.#options.node, built) };
  }
}

/** The pods of a node that the configuration enrols. */
function wantedOn(node: string, { mesh, enrolments }: BuildResult): WantedPod[] {
  const workloads = new Map(mesh.workloads.map(workload => [workload.uid, workload]));
  return enrolments.flatMap(enrolment => {
    const workload = workloads.get(enrolment.workloadUid);
    if (workload === undefined || workload.node !== node) return [];
    const { name, namespace } = workload;
    return [{ ...enrolment, name, namespace, identity: workloadIdentity(workload) }];
  });
}
