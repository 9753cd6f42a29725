/**
 * All objects of an installation: as manifests with holes, by the file in which they are written, and filled with values.
 */
import { customResourceDefinitions } from '../crds/definitions.ts';
import { agentManifests } from './manifests/agent.ts';
import { controlManifests } from './manifests/control.ts';
import { meshConfigManifests } from './manifests/mesh-config.ts';
import { labels } from './manifests/metadata.ts';
import { monitoringManifests } from './manifests/monitoring.ts';
import { networkPolicyManifests } from './manifests/network-policy.ts';
import { permissionManifests } from './manifests/permissions.ts';
import { type Json, type Template, render } from './template.ts';
import type { Values } from './values.ts';

/** An object of the API server. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [member: string]: unknown;
}

/** Manifests by the name of their file, in the order in which they are applied. */
export const files: ReadonlyMap<string, readonly Template[]> = new Map([
  ['permissions', permissionManifests()],
  ['control', controlManifests()],
  ['agent', agentManifests()],
  ['network-policy', networkPolicyManifests()],
  ['mesh-config', meshConfigManifests()],
  ['monitoring', monitoringManifests()],
]);

/** The manifests of one file with their holes filled; those that the values leave out are not among them. */
export function filled(file: string, namespace: string, values: Values): Manifest[] {
  return (files.get(file) ?? []).flatMap(template => {
    const rendered = render(template, { namespace, values: values as Json });
    return isManifest(rendered) ? [rendered] : [];
  });
}

/** False for what the values leave out. */
function isManifest(rendered: unknown): rendered is Manifest {
  return rendered !== undefined;
}

/** Everything that `values` ask for but the namespace and the kinds of objects, in the order of applying. */
export function installation(namespace: string, values: Values): Manifest[] {
  return [...files.keys()].flatMap(file => filled(file, namespace, values));
}

/** The namespace; agents are in the nodes' network and have capabilities, which its labels allow. */
export function namespaceManifest(name: string): Manifest {
  const levels = ['enforce', 'audit', 'warn'].map(mode => [
    `pod-security.kubernetes.io/${mode}`,
    'privileged',
  ]);
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: { ...labels('control'), ...Object.fromEntries(levels) } },
  };
}

/** The kinds of objects that the control plane reads, by file name. */
export function definitions(): ReadonlyMap<string, Manifest> {
  return new Map(
    [...customResourceDefinitions()].map(([file, definition]) => [file, definition as unknown as Manifest]),
  );
}
