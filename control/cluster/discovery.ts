/**
 * Which of the kinds that the mesh reads this API server has, and by which path: asked once at the start and then again
 * now and then, so that definitions installed later are found. What a server does not have is no error.
 */
import { type KindName, kinds } from '../../model/kinds/registry.ts';
import { hasStatus } from './api-error.ts';
import type { Api } from './api.ts';

/** One kind in one group that this server has. */
export interface ServedKind {
  readonly kind: KindName;
  /** Empty for the core group. */
  readonly group: string;
  /** `v1`, `security.istio.io/v1`. */
  readonly apiVersion: string;
  /** As paths name it: `pods`. */
  readonly plural: string;
  readonly namespaced: boolean;
  /** Whether status is written by a path of its own. */
  readonly hasStatus: boolean;
}

/** Kinds of which only the metadata is read (model/kinds); their status is large and changes all the time. */
const metadataKinds: ReadonlySet<KindName> = new Set(['Namespace', 'Node', 'ServiceAccount']);

/** Whether to ask for metadata alone. */
export function isMetadataOnly(kind: KindName): boolean {
  return metadataKinds.has(kind);
}

/** One name per kind and group. */
export function servedKey({ kind, group }: Pick<ServedKind, 'kind' | 'group'>): string {
  return group === '' ? kind : `${kind}.${group}`;
}

/** The path of a collection, over all namespaces. */
export function collectionPath({ apiVersion, plural }: ServedKind): string {
  return `${basePath(apiVersion)}/${plural}`;
}

/** The path of one object. */
export function objectPath(
  { apiVersion, plural, namespaced }: ServedKind,
  namespace: string,
  name: string,
): string {
  const scope = namespaced ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${basePath(apiVersion)}${scope}/${plural}/${encodeURIComponent(name)}`;
}

/** What there is of `wanted`. Of several versions of a group the first one that is served. Throws when the server can't say. */
export async function discover(
  api: Api,
  wanted: readonly KindName[],
  signal: AbortSignal,
): Promise<ServedKind[]> {
  const groups = await servedGroups(api, signal);
  const resources = new Map<string, Map<string, Resource>>();
  const found: ServedKind[] = [];
  for (const kind of wanted) {
    for (const [group, versions] of versionsByGroup(kinds[kind].apiVersions)) {
      const served = groups.get(group);
      for (const apiVersion of versions) {
        if (served?.has(apiVersion) !== true) continue;
        let ofVersion = resources.get(apiVersion);
        if (ofVersion === undefined) {
          ofVersion = await servedResources(api, apiVersion, signal);
          resources.set(apiVersion, ofVersion);
        }
        const resource = ofVersion.get(kind);
        if (resource === undefined) continue;
        found.push({ kind, group, apiVersion, ...resource });
        break;
      }
    }
  }
  return found;
}

function basePath(apiVersion: string): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

function versionsByGroup(apiVersions: readonly string[]): Map<string, string[]> {
  const byGroup = new Map<string, string[]>();
  for (const apiVersion of apiVersions) {
    const slash = apiVersion.indexOf('/');
    const group = slash === -1 ? '' : apiVersion.slice(0, slash);
    byGroup.set(group, [...(byGroup.get(group) ?? []), apiVersion]);
  }
  return byGroup;
}

/** Group → versions. The core group is always there. */
async function servedGroups(api: Api, signal: AbortSignal): Promise<Map<string, ReadonlySet<string>>> {
  const answer = (await api.json({ path: '/apis', signal })) as {
    groups?: { name?: unknown; versions?: { groupVersion?: unknown }[] }[];
  } | null;
  const groups = new Map<string, ReadonlySet<string>>([['', new Set(['v1'])]]);
  for (const { name, versions } of answer?.groups ?? []) {
    groups.set(String(name), new Set((versions ?? []).map(({ groupVersion }) => String(groupVersion))));
  }
  return groups;
}

type Resource = Pick<ServedKind, 'plural' | 'namespaced' | 'hasStatus'>;

/** Kind → resource. Empty when the version has gone in this moment. */
async function servedResources(
  api: Api,
  apiVersion: string,
  signal: AbortSignal,
): Promise<Map<string, Resource>> {
  let answer: unknown;
  try {
    answer = await api.json({ path: basePath(apiVersion), signal });
  } catch (error) {
    if (hasStatus(error, 404)) return new Map();
    throw error;
  }
  const { resources = [] } = answer as {
    resources?: { name?: unknown; kind?: unknown; namespaced?: unknown; verbs?: unknown }[];
  };
  const names = new Set(resources.map(({ name }) => String(name)));
  const found = new Map<string, Resource>();
  for (const { name, kind, namespaced, verbs } of resources) {
    const plural = String(name);
    const isFollowed = Array.isArray(verbs) && verbs.includes('list') && verbs.includes('watch');
    if (plural.includes('/') || !isFollowed) continue;
    found.set(String(kind), {
      plural,
      namespaced: namespaced === true,
      hasStatus: names.has(`${plural}/status`),
    });
  }
  return found;
}
