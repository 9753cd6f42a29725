/**
 * `culvert waypoint apply|list|delete|status`: the waypoints of a cluster. A waypoint is a Gateway; the control plane makes
 * the rest and says in its status how far it is.
 */
import { CulvertError } from '../base/errors.ts';
import { type Api, type KubeApi, hasStatus } from '../control/cluster/api.ts';
import { gatewayGroup, waypointClasses } from '../model/kinds/gateway.ts';
import { firstMark, useWaypoint, useWaypointNamespace, waypointFor } from '../model/kinds/marks.ts';
import { type ClusterChoice, apiOf } from './cluster-api.ts';
import { timeoutMs, toStandardError, waitFor } from './cluster-wait.ts';
import { table } from './table.ts';
import { type Waypoint, type WaypointUse, usesOf, waypointsIn } from './waypoint-list.ts';

interface ClusterOptions extends ClusterChoice {
  readonly namespace?: string;
  readonly output: string;
}

export interface ApplyOptions extends ClusterOptions {
  readonly name: string;
  readonly for: string;
  readonly allNamespaces?: boolean;
  readonly enrollNamespace?: boolean;
  readonly overwrite?: boolean;
  readonly wait?: boolean;
  readonly timeout: string;
}

export interface ListOptions extends ClusterOptions {
  readonly allNamespaces?: boolean;
}

export interface StatusOptions extends ListOptions {
  readonly wait?: boolean;
  readonly timeout: string;
}

export interface DeleteOptions extends ClusterOptions {
  readonly all?: boolean;
}

const base = `/apis/${gatewayGroup}/v1`;
const [className = ''] = waypointClasses;
const fieldManager = 'culvert';

/** Makes a waypoint or brings it to this state; with `enrollNamespace` its namespace uses it from then on. */
export async function applyWaypoint(options: ApplyOptions): Promise<void> {
  const patience = { timeoutMs: timeoutMs(options.timeout), show: toStandardError };
  const api = apiOf(options);
  const namespace = options.namespace ?? api.namespace ?? 'default';
  const done = await apply(api, namespace, options, async () => {
    if (options.wait === true) await waitFor(() => progress(api, namespace, [options.name]), patience);
  });
  if (options.output === 'json') process.stdout.write(`${JSON.stringify(done, null, 2)}\n`);
  else
    process.stdout.write(
      table(
        ['RESULT', 'OBJECT'],
        done.map(({ object, change }) => [change, object]),
      ),
    );
}

interface Applied {
  readonly object: string;
  readonly change: 'created' | 'changed' | 'unchanged';
}

/** The work of it. Throws GATEWAY_API_MISSING, WAYPOINT_TAKEN. */
export async function apply(
  api: Api,
  namespace: string,
  options: Pick<ApplyOptions, 'name' | 'for' | 'allNamespaces' | 'enrollNamespace' | 'overwrite'>,
  made: () => Promise<void>,
): Promise<Applied[]> {
  const { name, overwrite = false, allNamespaces = false } = options;
  await requireGatewayApi(api);
  const path = `${base}/namespaces/${namespace}/gateways/${name}`;
  const before = await found(api, path);
  const gatewayClass = (before as { spec?: { gatewayClassName?: string } } | null)?.spec?.gatewayClassName;
  if (gatewayClass !== undefined && !waypointClasses.includes(gatewayClass))
    throw taken(`the Gateway ${namespace}/${name} is of class ${gatewayClass}`, 'choose another --name');
  if (options.enrollNamespace === true && !overwrite) await refuseOther(api, namespace, name);
  const allowedRoutes = { namespaces: { from: allNamespaces ? 'All' : 'Same' } };
  const after = await api.json({
    method: 'PATCH',
    path: `${path}?fieldManager=${fieldManager}&force=true`,
    contentType: 'application/apply-patch+yaml',
    body: {
      apiVersion: `${gatewayGroup}/v1`,
      kind: 'Gateway',
      metadata: { name, namespace, labels: { [waypointFor[0]]: options.for } },
      spec: {
        gatewayClassName: gatewayClass ?? className,
        listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE', allowedRoutes }],
      },
    },
  });
  const isSame = before !== null && versionOf(before) === versionOf(after);
  const change = before === null ? 'created' : isSame ? 'unchanged' : 'changed';
  const done: Applied[] = [{ object: `Gateway ${namespace}/${name}`, change }];
  // Connections of whoever uses it before it has a pod are refused.
  await made();
  if (options.enrollNamespace === true) done.push(await enroll(api, namespace, name));
  return done;
}

/** The waypoints of a namespace or of all. */
export async function listWaypoints(options: ListOptions): Promise<void> {
  const api = apiOf(options);
  const waypoints = await waypointsIn(api, scopeOf(api, options));
  if (options.output === 'json') {
    process.stdout.write(`${JSON.stringify(waypoints, null, 2)}\n`);
    return;
  }
  const uses = await usesOf(api);
  const rows = waypoints.map(waypoint => [
    waypoint.namespace,
    waypoint.name,
    waypoint.for,
    waypoint.address ?? '',
    waypoint.programmed ? 'yes' : 'no',
    String(uses.filter(use => isUseOf(use, waypoint)).length),
  ]);
  process.stdout.write(
    rows.length === 0
      ? 'no waypoints\n'
      : table(['NAMESPACE', 'NAME', 'FOR', 'ADDRESS', 'PROGRAMMED', 'USED BY'], rows),
  );
}

/** What the control plane says about waypoints, condition by condition. Exits 1 unless traffic can pass all of them. */
export async function waypointStatus(names: readonly string[], options: StatusOptions): Promise<void> {
  const patience = { timeoutMs: timeoutMs(options.timeout), show: toStandardError };
  const api = apiOf(options);
  const namespace = scopeOf(api, options);
  if (options.wait === true) await waitFor(() => progress(api, namespace, names), patience);
  const all = await waypointsIn(api, namespace);
  const waypoints = names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
  const missing = names.filter(name => !all.some(waypoint => waypoint.name === name));
  if (options.output === 'json') process.stdout.write(`${JSON.stringify(waypoints, null, 2)}\n`);
  else {
    const rows = waypoints.flatMap(({ namespace: home, name, conditions }) =>
      conditions.length === 0
        ? [[home, name, '', '', '', 'no control plane has looked at it']]
        : conditions.map(({ type, status, reason, message }) => [home, name, type, status, reason, message]),
    );
    process.stdout.write(
      rows.length === 0
        ? 'no waypoints\n'
        : table(['NAMESPACE', 'NAME', 'CONDITION', 'STATUS', 'REASON', 'MESSAGE'], rows),
    );
  }
  for (const name of missing) process.stderr.write(`there is no waypoint ${name}\n`);
  if (missing.length > 0 || waypoints.some(({ programmed }) => !programmed)) process.exitCode = 1;
}

/** Deletes waypoints; says who still asks for them, since their traffic goes directly from then on. */
export async function deleteWaypoints(names: readonly string[], options: DeleteOptions): Promise<void> {
  const api = apiOf(options);
  const namespace = options.namespace ?? api.namespace ?? 'default';
  if ((names.length === 0) === (options.all !== true))
    throw new CulvertError('BAD_USAGE', 'name the waypoints to delete, or give --all');
  const there = await waypointsIn(api, namespace);
  const wanted = options.all === true ? there.map(({ name }) => name) : names;
  const uses = await usesOf(api);
  const rows: string[][] = [];
  for (const name of wanted) {
    const waypoint = there.find(one => one.name === name);
    if (waypoint === undefined) {
      process.stderr.write(`there is no waypoint ${namespace}/${name}\n`);
      process.exitCode = 1;
      continue;
    }
    await api.json({ method: 'DELETE', path: `${base}/namespaces/${namespace}/gateways/${name}` });
    rows.push(['deleted', `Gateway ${namespace}/${name}`]);
    for (const { object } of uses.filter(use => isUseOf(use, waypoint)))
      process.stderr.write(`  ${object} still asks for it: its traffic goes directly\n`);
  }
  if (options.output === 'json')
    process.stdout.write(`${JSON.stringify(rows.map(([, object]) => object))}\n`);
  else if (rows.length > 0) process.stdout.write(table(['RESULT', 'OBJECT'], rows));
}

function isUseOf({ namespace, name }: WaypointUse, waypoint: Waypoint): boolean {
  return namespace === waypoint.namespace && name === waypoint.name;
}

function scopeOf(api: Pick<KubeApi, 'namespace'>, { namespace, allNamespaces }: ListOptions): string | null {
  return allNamespaces === true ? null : (namespace ?? api.namespace ?? 'default');
}

/** How far the named waypoints are, or all of a namespace. */
async function progress(
  api: Api,
  namespace: string | null,
  names: readonly string[],
): Promise<{ done: boolean; state: string }> {
  const all = await waypointsIn(api, namespace);
  const missing = names.filter(name => !all.some(waypoint => waypoint.name === name));
  const late = all.filter(
    ({ name, programmed }) => !programmed && (names.length === 0 || names.includes(name)),
  );
  const [first] = late;
  if (first === undefined && missing.length === 0) return { done: true, state: 'traffic can pass' };
  if (first === undefined) return { done: false, state: `there is no waypoint ${missing.join(', ')}` };
  const why = first.conditions.find(({ status }) => status === 'False')?.message;
  return {
    done: false,
    state: `${first.namespace}/${first.name}: ${why ?? 'no control plane has looked at it'}`,
  };
}

async function requireGatewayApi(api: Api): Promise<void> {
  try {
    await api.json({ path: base });
  } catch (error) {
    if (!hasStatus(error, 404)) throw error;
    throw new CulvertError('GATEWAY_API_MISSING', 'the cluster does not know Gateways', {
      fix: 'install the kinds of Gateway API: https://gateway-api.sigs.k8s.io/guides/getting-started/',
    });
  }
}

interface Labelled {
  readonly metadata: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly resourceVersion?: string;
  };
}

async function refuseOther(api: Api, namespace: string, name: string): Promise<void> {
  const { metadata } = (await api.json({ path: `/api/v1/namespaces/${namespace}` })) as Labelled;
  const labels = metadata.labels ?? {};
  const mark = firstMark(labels, useWaypoint);
  const home = firstMark(labels, useWaypointNamespace)?.value ?? namespace;
  if (mark === null || (mark.value === name && home === namespace)) return;
  throw taken(`the namespace ${namespace} uses ${home}/${mark.value} already`, 'repeat it with --overwrite');
}

async function enroll(api: Api, namespace: string, name: string): Promise<Applied> {
  const path = `/api/v1/namespaces/${namespace}`;
  const before = await api.json({ path });
  const labels = { [useWaypoint[0]]: name, [useWaypointNamespace[0]]: null };
  const body = { metadata: { labels } };
  const contentType = 'application/merge-patch+json';
  const after = await api.json({ method: 'PATCH', path, body, contentType });
  const change = versionOf(before) === versionOf(after) ? 'unchanged' : 'changed';
  return { object: `Namespace ${namespace}`, change };
}

async function found(api: Api, path: string): Promise<unknown> {
  try {
    return await api.json({ path });
  } catch (error) {
    if (hasStatus(error, 404)) return null;
    throw error;
  }
}

function versionOf(object: unknown): string | undefined {
  return (object as Labelled).metadata.resourceVersion;
}

function taken(message: string, fix: string): CulvertError {
  return new CulvertError('WAYPOINT_TAKEN', message, { fix });
}
