/**
 * `culvert explain`: whether policy lets a request pass, which rule of which route it would hit, why no other before it, and
 * what would become of it. From a directory or from the objects of a cluster, without a running waypoint.
 */
import { CulvertError } from '../base/errors.ts';
import type { HttpHead } from '../model/http-head.ts';
import type { MatchExplanation } from '../model/http-match.ts';
import { normalisePath } from '../model/http-path.ts';
import { ruleName } from '../model/http-route.ts';
import { HttpRoutes } from '../model/http-routes.ts';
import { serviceKey, type Service } from '../model/service.ts';
import { TrafficRules } from '../model/traffic-rules.ts';
import { limitSentence } from './explain-filters.ts';
import { placeSentences, ruleSentences, type Surroundings } from './explain-outcome.ts';
import { refusalsBy, visitorOf, waypointPods } from './explain-nodes.ts';
import { unreadAt, workloadAt } from './explain-plan.ts';
import { explainPolicies, identityOf, policySentences, type Asker } from './explain-policies.ts';
import { type KnownMesh, refusedLines } from './known-mesh.ts';
import { type MeshChoice, meshOf } from './mesh-source.ts';

export interface ExplainOptions extends Asker, MeshChoice {
  readonly request: string;
  readonly header?: readonly string[];
  readonly output: string;
}

export async function explain(url: string, options: ExplainOptions): Promise<void> {
  const { head, host, port } = requestOf(url, options);
  const known = await meshOf(options);
  const { mesh, l7, config } = known;
  const service = serviceOf(mesh.services, host);
  const from = options.from ?? service.namespace;
  const unread = unreadAt(known, service, port, from);
  if (unread !== null)
    throw new CulvertError('BAD_USAGE', `${unread}: connections are carried as they are`, {
      fix: `ask tcp://${host}:${port} or tls://${host}:${port}`,
    });
  const all = new HttpRoutes();
  all.replace(l7.routes);
  const table = all.tableFor(serviceKey(service), port, from);
  const explanation: MatchExplanation | null =
    table === null
      ? null
      : table.explain(head, { namespace: from, port, workload: workloadAt(known, options.address) });
  const { trustDomain } = config;
  const { policies, authentications } = l7;
  const asked = { service, port, head, trustDomain };
  const policy = explainPolicies({ policies, authentications }, asked, options);
  const passes = policy?.decision.allowed !== false;
  const pods = waypointPods(known, service);
  const client = { identity: identityOf(options, from, trustDomain), address: options.address };
  const [pod] = pods ?? [];
  const visitor = pods === null ? client : pod === undefined ? null : visitorOf(pod);
  const around = {
    ...surroundings(known, from, port),
    ...(visitor === null ? {} : { refusals: refusalsBy(known, visitor) }),
  };
  const outcome = passes ? outcomeOf(service, explanation, around) : [];
  const limits = l7.limits.find(limit => limit.service === serviceKey(service))?.limits ?? [];
  if (options.output === 'json') {
    const { steps = [], hit = null } = explanation ?? {};
    const told = {
      service: serviceKey(service),
      waypoint: service.waypoint,
      policy,
      limits,
      steps,
      rule: hit?.rule ?? null,
      outcome: outcome.map(line => line.trim()),
      refused: known.refused,
    };
    process.stdout.write(`${JSON.stringify(told, null, 2)}\n`);
    return;
  }
  const lines = [
    ...(pods?.length === 0 ? ['its waypoint has no ready pod: connections are refused'] : []),
    ...(policy === null ? [] : policySentences(policy)),
    ...(passes ? sentences(service, port, explanation) : []),
    ...(passes && service.waypoint !== null ? limits.map(limit => `  ${limitSentence(limit)}`) : []),
    ...outcome,
    ...refusedLines(known),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** What is said of rules and backends needs to know the rest of the mesh. */
export function surroundings({ mesh, l7 }: KnownMesh, from: string, port: number): Surroundings {
  const traffic = new TrafficRules();
  traffic.replace(l7.traffic);
  const ports = new Map(
    mesh.services.map(service => [serviceKey(service), service.ports.map(({ servicePort }) => servicePort)]),
  );
  return { traffic, workloads: mesh.workloads, ports, from, port };
}

function requestOf(url: string, options: ExplainOptions): { head: HttpHead; host: string; port: number } {
  const parsed = URL.parse(url);
  const path = normalisePath(/^\w+:\/\/[^/?#]*(\/[^?#]*)?/.exec(url)?.[1] ?? '/');
  if (parsed?.protocol !== 'http:' || path === null)
    throw new CulvertError('BAD_USAGE', `${url} is no URL such as http://web.shop:80/path`);
  const headers = (options.header ?? []).flatMap(line => {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined)
      throw new CulvertError('BAD_USAGE', `--header ${line}: "name: value" is needed`);
    return [name, value];
  });
  const query = parsed.search === '' ? null : parsed.search.slice(1);
  // A Host of one's own is what policies and VirtualServices look at; whom it goes to is for the URL to say.
  const at = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'host');
  const [, authority = parsed.host] = at === -1 ? [] : headers.splice(at, 2);
  const head: HttpHead = { method: options.request, path, query, scheme: 'http', authority, headers };
  return { head, host: parsed.hostname, port: Number(parsed.port || 80) };
}

/** By one of its addresses, or by as much of its name as says which it is: `web.shop`, `web.shop.svc`… */
export function serviceOf(services: readonly Service[], host: string): Service {
  const found = services.filter(
    ({ hostname, addresses }) =>
      hostname === host ||
      hostname.startsWith(`${host}.`) ||
      addresses.some(({ address }) => address === host),
  );
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const what = only === undefined ? 'there is no service' : `there are ${found.length} services`;
  throw new CulvertError('BAD_USAGE', `${what} ${host}`, {
    fix: 'write http://<name>.<namespace>:<port>/<path>',
  });
}

function sentences(service: Service, port: number, explanation: MatchExplanation | null): string[] {
  const key = serviceKey(service);
  const lines =
    service.waypoint === null
      ? [
          `${key} has no waypoint: routes and policies of requests are not in force, connections go to its endpoints`,
        ]
      : [];
  if (explanation === null)
    return [...lines, `no route is about port ${port} of ${key}: the request goes to the service itself`];
  const { hit, steps } = explanation;
  lines.push(...steps.map(({ rule, reason, hit: isHit }) => `${isHit ? 'yes' : 'no '}  ${rule}: ${reason}`));
  if (hit === null) return [...lines, 'answered with 404: no rule fits'];
  return [...lines, `${ruleName(hit.route, hit.index)} is in force:`];
}

function outcomeOf(service: Service, explanation: MatchExplanation | null, around: Surroundings): string[] {
  const { hit = null } = explanation ?? {};
  if (hit !== null) return ruleSentences(hit.rule, around).map(line => `  ${line}`);
  if (explanation !== null) return [];
  const itself = { service: serviceKey(service), port: around.port, subset: null, invalid: null };
  // What a DestinationRule says is for waypoints.
  const traffic = service.waypoint === null ? new TrafficRules() : around.traffic;
  return placeSentences(itself, '', { ...around, traffic }).map(line => `  ${line}`);
}
