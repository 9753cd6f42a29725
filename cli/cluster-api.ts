/** The cluster that a command is about, as the user names it. */
import { KubeApi } from '../control/cluster/api.ts';

/** Options of every command about a cluster. */
export interface ClusterChoice {
  /** File; as for kubectl where there is none. */
  readonly kubeconfig?: string;
  /** Of that file; the current one where there is none. */
  readonly context?: string;
}

/** Throws CONFIG_KUBECONFIG. */
export function apiOf({ kubeconfig, context }: ClusterChoice): KubeApi {
  return KubeApi.load(kubeconfig ?? null, context ?? null);
}
