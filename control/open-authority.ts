/** The certificate authority of a cluster at the start of a control plane: opened, however long the API server takes. */
import { setTimeout } from 'node:timers/promises';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { ClusterAuthority } from './authority-store.ts';
import type { Api } from './cluster/api.ts';
import { Backoff } from './cluster/backoff.ts';
import { distributedRoots } from './cluster/root-config-map.ts';
import type { SecretBundle } from './cluster/secrets.ts';

export interface OpenAuthorityOptions {
  readonly api: Api;
  readonly namespace: string;
  /** The Secret that it is in. */
  readonly store: SecretBundle;
  /** Ends the waiting; then it rejects. */
  readonly signal: AbortSignal;
  /** Told of each attempt that failed. */
  readonly onFailure: (why: string) => void;
  readonly log: Logger;
}

/** Tries for as long as it takes: without an authority there is nothing to serve with. */
export async function openAuthority(options: OpenAuthorityOptions): Promise<ClusterAuthority> {
  const { api, namespace, store, signal, onFailure, log } = options;
  const backoff = new Backoff({ minMs: 500, maxMs: 10_000 });
  for (;;) {
    try {
      const distributedPem = await distributedRoots(api, namespace);
      return await ClusterAuthority.open({
        store,
        distributedPem,
        onProblem: problem => {
          if (problem === null) log.info('the certificate authority can be used again');
          else log.error({ code: problem.code }, describeError(problem));
        },
      });
    } catch (error) {
      signal.throwIfAborted();
      onFailure(describeError(error));
      log.error({ err: describeError(error) }, 'the certificate authority can not be opened: trying again');
      await setTimeout(backoff.next(), undefined, { signal, ref: false });
    }
  }
}
