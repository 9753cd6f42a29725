/**
 * `culvert install` and `culvert upgrade`: applies everything that an installation consists of, waits until it runs, and
 * shows what there is. Either can be repeated, after a failure as well.
 */
import { CulvertError } from '../base/errors.ts';
import { versionString } from '../base/version.ts';
import type { Api } from '../control/cluster/api.ts';
import { definitions, installation, namespaceManifest, type Manifest } from '../daemonset/installation.ts';
import type { Json } from '../daemonset/template.ts';
import { type ClusterChoice, apiOf } from './cluster-api.ts';
import { apply, inOrder, isOurs, isServed, pathOf, read, remove, type Change } from './cluster-objects.ts';
import { rolloutOf, rolloutProgress } from './cluster-rollout.ts';
import { timeoutMs, toStandardError, waitFor, type Patience } from './cluster-wait.ts';
import { readRecord, recordManifest, refuseHelm } from './install-record.ts';
import { changesOf, valuesOf } from './install-values.ts';
import { table } from './table.ts';

export interface InstallOptions extends ClusterChoice {
  readonly namespace: string;
  readonly set?: readonly string[];
  readonly values?: string;
  readonly dryRun?: boolean;
  readonly timeout: string;
  readonly output: string;
  /** Of an upgrade: the defaults again instead of the values of before. */
  readonly resetValues?: boolean;
}

export async function install(options: InstallOptions): Promise<void> {
  const api = apiOf(options);
  const changes = changesOf({}, options.values ?? null, options.set ?? []);
  await put(api, options, changes);
}

export async function upgrade(options: InstallOptions): Promise<void> {
  const api = apiOf(options);
  const record = await readRecord(api, options.namespace);
  if (record === null) {
    await refuseHelm(api, options.namespace, 'use `helm upgrade`');
    throw new CulvertError(
      'NOT_INSTALLED',
      `\`culvert install\` has left no record in ${options.namespace}`,
      {
        fix: 'name its --namespace, or use `culvert install`, which takes over what is there',
      },
    );
  }
  const before = options.resetValues === true ? {} : record.values;
  process.stderr.write(`from ${record.version} to ${versionString()}\n`);
  await put(api, options, changesOf(before, options.values ?? null, options.set ?? []));
}

/** What was done to one object. */
export interface Applied {
  readonly object: string;
  readonly change: Change | 'removed';
}

async function put(api: Api, options: InstallOptions, changes: Json): Promise<void> {
  const { namespace, dryRun = false, output } = options;
  const values = valuesOf(changes);
  const patience = { timeoutMs: timeoutMs(options.timeout), show: toStandardError };
  await refuseHelm(api, namespace, 'use `helm upgrade`');
  const objects = installation(namespace, values);
  const applied = await applyAll(api, { namespace, objects, changes, dryRun, patience });
  if (!dryRun) await waitFor(() => rolloutProgress(api, namespace), patience);
  const rollouts = dryRun
    ? []
    : [await rolloutOf(api, namespace, 'Deployment'), await rolloutOf(api, namespace, 'DaemonSet')];
  if (output === 'json') {
    process.stdout.write(`${JSON.stringify({ version: versionString(), applied, rollouts }, null, 2)}\n`);
    return;
  }
  const rows = applied.map(({ object, change }) => [change, object]);
  process.stdout.write(table([dryRun ? 'WOULD BE' : 'RESULT', 'OBJECT'], rows));
  if (dryRun) return;
  const pods = rollouts.map(({ component, ready, wanted }) => [
    component,
    `${ready}/${wanted}`,
    versionString(),
  ]);
  process.stdout.write(`\n${table(['COMPONENT', 'READY', 'VERSION'], pods)}`);
}

interface Work {
  readonly namespace: string;
  readonly objects: readonly Manifest[];
  readonly changes: Json;
  readonly dryRun: boolean;
  readonly patience: Patience;
}

/** Namespace and kinds first, then the record, then the rest; at last what there was before and is not wanted any more. */
export async function applyAll(api: Api, work: Work): Promise<Applied[]> {
  const { namespace, objects, changes, dryRun, patience } = work;
  const before = (await readRecord(api, namespace))?.objects ?? [];
  const applied: Applied[] = [];
  const put = async (object: Manifest): Promise<void> => {
    patience.show(`applying ${nameOf(object)}`);
    applied.push({ object: nameOf(object), change: await apply(api, object, dryRun) });
  };
  const there = await read(api, namespaceManifest(namespace));
  await put(namespaceFor(namespace, there));
  for (const definition of definitions().values()) await put(definition);
  if (!dryRun) {
    await waitFor(() => established(api), patience);
    // Until the end it names what was there as well: whoever is interrupted can be repeated.
    await apply(api, recordManifest(namespace, changes, [...objects, ...before]), false);
  }
  for (const object of inOrder(objects)) {
    // The server refuses a dry run of what has no namespace or no kind yet.
    if (dryRun && (there === null || !(await isServed(api, object.apiVersion))))
      applied.push({ object: nameOf(object), change: 'created' });
    else await put(object);
  }
  const kept = new Set(objects.map(pathOf));
  for (const old of inOrder(before).toReversed()) {
    if (kept.has(pathOf(old))) continue;
    if (dryRun || (await remove(api, old))) applied.push({ object: nameOf(old), change: 'removed' });
  }
  if (!dryRun) await apply(api, recordManifest(namespace, changes, objects), false);
  return applied;
}

/** A namespace that somebody else made is not marked as ours: an uninstall would remove it. */
function namespaceFor(name: string, there: Manifest | null): Manifest {
  const manifest = namespaceManifest(name);
  if (there === null || isOurs(there)) return manifest;
  const labels = Object.entries(manifest.metadata.labels ?? {}).filter(([label]) =>
    label.startsWith('pod-security'),
  );
  return { ...manifest, metadata: { name, labels: Object.fromEntries(labels) } };
}

function nameOf({ kind, metadata: { name, namespace } }: Pick<Manifest, 'kind' | 'metadata'>): string {
  return `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
}

async function established(api: Api): Promise<{ done: boolean; state: string }> {
  const pending: string[] = [];
  for (const definition of definitions().values()) {
    const found = await read(api, definition);
    const { conditions = [] } = (found?.['status'] ?? {}) as {
      conditions?: { type: string; status: string }[];
    };
    if (!conditions.some(({ type, status }) => type === 'Established' && status === 'True'))
      pending.push(definition.metadata.name);
  }
  // Their names are known a moment before they can be used.
  const served = pending.length === 0 && (await isServed(api, 'culvert.dev/v1'));
  return {
    done: served,
    state: served
      ? 'the API server knows all kinds'
      : `waiting for ${pending.join(', ') || 'culvert.dev/v1'}`,
  };
}
