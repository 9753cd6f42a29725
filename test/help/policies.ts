/** Policies as a person writes them, for tests of agents. */
import type { KubernetesObject } from '../lab/kubernetes.ts';

type Rule = Readonly<Record<string, unknown>>;

export interface Policy {
  readonly name?: string;
  readonly namespace?: string;
  readonly action: 'ALLOW' | 'DENY';
  readonly rules?: readonly Rule[];
  /** Labels of the pods that it is for; all of the namespace unless said. */
  readonly app?: string;
}

export function authorizationPolicy({
  name = 'test',
  namespace = 'shop',
  action,
  rules,
  app,
}: Policy): KubernetesObject {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace },
    spec: { action, ...selector(app), ...(rules === undefined ? {} : { rules }) },
  };
}

export interface Mode {
  readonly mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE';
  readonly namespace?: string;
  readonly app?: string;
  /** Of single ports. */
  readonly ports?: Readonly<Record<number, { readonly mode: string }>>;
}

export function peerAuthentication({ mode, namespace = 'shop', app, ports }: Mode): KubernetesObject {
  return {
    apiVersion: 'culvert.dev/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'default', namespace },
    spec: { mtls: { mode }, ...selector(app), ...(ports === undefined ? {} : { portLevelMtls: ports }) },
  };
}

/** One rule: connections from there, and to there. */
export const from = (...sources: readonly Rule[]): Rule => ({ from: sources.map(source => ({ source })) });
export const to = (...ports: readonly number[]): Rule => ({
  to: [{ operation: { ports: ports.map(String) } }],
});

function selector(app: string | undefined): object {
  return app === undefined ? {} : { selector: { matchLabels: { app } } };
}
