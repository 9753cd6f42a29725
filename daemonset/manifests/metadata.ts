/** What every object of an installation carries, so that it is known as ours and can be found and removed again. */
import { type Template, namespace } from '../template.ts';

export type Component = 'agent' | 'control' | 'cleanup' | 'monitoring' | 'crds';

export const partOf = { 'app.kubernetes.io/part-of': 'culvert' } as const;

/** Labels by which pods of a component are selected. They can never change: a selector is immutable. */
export function selectorLabels(component: Component): { readonly [name: string]: string } {
  return { 'app.kubernetes.io/name': 'culvert', 'app.kubernetes.io/component': component };
}

export function labels(component: Component): { readonly [name: string]: string } {
  return { ...selectorLabels(component), ...partOf };
}

/** Metadata of an object in our namespace. */
export function metadata(name: string, component: Component): { readonly [name: string]: Template } {
  return { name, namespace, labels: labels(component) };
}

/** Metadata of an object that has no namespace. */
export function clusterMetadata(name: string, component: Component): { readonly [name: string]: Template } {
  return { name, labels: labels(component) };
}
