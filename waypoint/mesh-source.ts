/**
 * Where a waypoint learns the mesh and its routes, and who signs for it: a watched directory of YAML and an authority
 * whose key lies in a file.
 */
import { join } from 'node:path';
import type { Logger } from '../base/log.ts';
import type { BuildResult } from '../control/build.ts';
import { Configuration } from '../control/configuration.ts';
import { Authority } from '../tunnel/authority.ts';
import type { CertificateSource } from '../tunnel/certificate-exchange.ts';

export interface WaypointSource {
  readonly signer: CertificateSource;
  readonly configuration: Configuration;
  close(): Promise<void>;
}

export interface SourceOptions {
  readonly directory: string;
  readonly authority: string | null;
  readonly log: Logger;
  /** Told of the first state and of every further one. */
  readonly onState: (built: BuildResult) => void;
}

/** Reads directory and authority, and follows both. Throws CulvertError for either. */
export async function openSource({
  directory,
  authority,
  log,
  onState,
}: SourceOptions): Promise<WaypointSource> {
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
    onState(configuration.current);
    configuration.onChange = onState;
    return {
      signer,
      configuration,
      close: async () => {
        await configuration.close();
        signer.close();
      },
    };
  } catch (error) {
    await configuration.close();
    throw error;
  }
}
