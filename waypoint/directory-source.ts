/** The mesh of a waypoint without a cluster: a watched directory of YAML, and an authority whose key lies in a file. */
import { join } from 'node:path';
import type { Logger } from '../base/log.ts';
import type { BuildResult } from '../control/build.ts';
import { Configuration } from '../control/configuration.ts';
import type { Finding } from '../control/finding.ts';
import { emptyL7, l7Changes, type L7State } from '../model/l7.ts';
import { L7Store } from '../model/l7-store.ts';
import { diff, emptyMesh, type MeshDelta } from '../model/mesh.ts';
import { Authority } from '../tunnel/authority.ts';
import type { CertificateSource } from '../tunnel/certificate-exchange.ts';
import type { DirectoryConfig } from '../xds/sources.ts';
import type { SourceState, WaypointSource, WaypointUpdate } from './mesh-source.ts';

export class DirectorySource implements WaypointSource {
  readonly #configuration: Configuration;
  readonly #authority: Authority;
  readonly #store = new L7Store();
  #mesh: MeshDelta = emptyMesh;
  #l7: L7State = emptyL7;
  onUpdate: (update: WaypointUpdate) => void = () => {};

  private constructor(configuration: Configuration, authority: Authority) {
    this.#configuration = configuration;
    this.#authority = authority;
    configuration.onChange = built => this.onUpdate(this.#updateOf(built));
  }

  /** Throws the CulvertError of the directory or of the authority. */
  static async open({ directory, authority }: DirectoryConfig, log: Logger): Promise<DirectorySource> {
    const configuration = await Configuration.open(directory, log);
    try {
      const signer = Authority.open({
        path: authority ?? join(directory, '.culvert', 'authority.pem'),
        leafTtlMs: configuration.current.config.certificateTtlMs,
        onProblem: problem => {
          if (problem === null) return;
          const { code, message, fix } = problem;
          log.error({ code, err: message, fix }, 'certificate authority');
        },
      });
      signer.watch();
      return new DirectorySource(configuration, signer);
    } catch (error) {
      await configuration.close();
      throw error;
    }
  }

  get signer(): CertificateSource {
    return this.#authority;
  }

  async start(): Promise<WaypointUpdate> {
    return this.#updateOf(this.#configuration.current);
  }

  state(): SourceState {
    return { ...this.#configuration.state() };
  }

  findings(): readonly Finding[] {
    return this.#configuration.findings();
  }

  async close(): Promise<void> {
    await this.#configuration.close();
    this.#authority.close();
  }

  #updateOf({ mesh, l7, config }: BuildResult): WaypointUpdate {
    const { trustDomain, network, clusterDomain } = config;
    const delta = diff(this.#mesh, mesh);
    this.#store.apply(l7Changes(this.#l7, l7));
    this.#mesh = mesh;
    this.#l7 = l7;
    return {
      mesh: delta,
      l7: this.#store.state,
      barred: [],
      names: { trustDomain, network, clusterDomain },
      self: null,
    };
  }
}
