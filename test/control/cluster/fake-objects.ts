/**
 * The objects of a fake API server: by kind, each change with a version of its own, and the history of changes that whoever
 * begins to watch is told first.
 */

export interface FakeObject {
  [member: string]: unknown;
  metadata: {
    [member: string]: unknown;
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
  };
}

export interface Resource {
  readonly kind: string;
  readonly plural: string;
  readonly apiVersion: string;
  readonly namespaced: boolean;
  readonly status: boolean;
  readonly objects: Map<string, FakeObject>;
}

interface Event {
  readonly version: number;
  readonly plural: string;
  readonly type: string;
  readonly object: FakeObject;
}

const core = [
  'v1',
  [
    ['Namespace', 'namespaces', false],
    ['Node', 'nodes', false],
    ['Pod', 'pods', true],
    ['Service', 'services', true],
    ['ServiceAccount', 'serviceaccounts', true],
    ['Secret', 'secrets', true],
    ['ConfigMap', 'configmaps', true],
  ],
] as const;
const others = [
  ['discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices', true],
  ['coordination.k8s.io/v1', 'Lease', 'leases', true],
] as const;

/** What a fake API server knows. */
export class FakeObjects {
  protected readonly resources = new Map<string, Resource>();
  readonly #history: Event[] = [];
  protected version = 100;
  /** Versions before this one are forgotten. */
  protected forgotten = 0;
  #uid = 0;

  constructor() {
    for (const [kind, plural, namespaced] of core[1]) this.serve(core[0], kind, plural, namespaced);
    for (const [apiVersion, kind, plural, namespaced] of others)
      this.serve(apiVersion, kind, plural, namespaced);
  }

  /** The server has another kind from now on. */
  serve(apiVersion: string, kind: string, plural: string, namespaced: boolean, status = true): void {
    const key = `${apiVersion}/${plural}`;
    if (!this.resources.has(key))
      this.resources.set(key, { kind, plural, apiVersion, namespaced, status, objects: new Map() });
  }

  /** And has it no more. */
  unserve(apiVersion: string, plural: string): void {
    this.resources.delete(`${apiVersion}/${plural}`);
  }

  /** Makes or replaces an object of a plural name. */
  put(
    plural: string,
    object: Omit<FakeObject, 'metadata'> & { metadata: Record<string, unknown> & { name: string } },
    apiVersion?: string,
  ): FakeObject {
    const resource = this.named(plural, apiVersion);
    const key = keyOf(object.metadata.namespace as string | undefined, object.metadata.name);
    const before = resource.objects.get(key);
    this.version += 1;
    const stored: FakeObject = {
      ...structuredClone(object),
      metadata: {
        uid: before?.metadata.uid ?? `uid-${(this.#uid += 1)}`,
        creationTimestamp: '2026-01-01T00:00:00Z',
        ...structuredClone(object.metadata),
        resourceVersion: String(this.version),
      },
    };
    resource.objects.set(key, stored);
    this.publish(resource, before === undefined ? 'ADDED' : 'MODIFIED', stored);
    return stored;
  }

  delete(plural: string, namespace: string | undefined, name: string): void {
    const resource = this.named(plural);
    const key = keyOf(namespace, name);
    const object = resource.objects.get(key);
    if (object === undefined) return;
    resource.objects.delete(key);
    this.version += 1;
    this.publish(resource, 'DELETED', {
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(this.version) },
    });
  }

  get(plural: string, namespace: string | undefined, name: string): FakeObject | undefined {
    return this.named(plural).objects.get(keyOf(namespace, name));
  }

  /** Forgets all history: who watches from before gets 410. */
  compact(): void {
    this.version += 1;
    this.forgotten = this.version;
    this.#history.length = 0;
  }

  /** The changes of a resource after a version. */
  protected since(resource: Resource, version: number): Event[] {
    const plural = `${resource.apiVersion}/${resource.plural}`;
    return this.#history.filter(event => event.plural === plural && event.version > version);
  }

  protected named(plural: string, apiVersion?: string): Resource {
    for (const resource of this.resources.values())
      if (resource.plural === plural && (apiVersion ?? resource.apiVersion) === resource.apiVersion)
        return resource;
    throw new Error(`nothing is called ${plural}`);
  }

  protected publish(resource: Resource, type: string, object: FakeObject): void {
    this.#history.push({
      version: this.version,
      plural: `${resource.apiVersion}/${resource.plural}`,
      type,
      object,
    });
  }
}

export function keyOf(namespace: string | undefined, name: string): string {
  return `${namespace ?? ''}/${name}`;
}

/** RFC 7396. */
export function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}
