/**
 * `culvert routes`: the rules of every service that has some, in the order in which requests and connections are held against
 * them, with what becomes of those that hit one. From a directory or from the objects of a cluster.
 */
import { describeMatch, type RouteHit } from '../model/http-match.ts';
import { ruleName } from '../model/http-route.ts';
import { HttpRoutes } from '../model/http-routes.ts';
import { serviceKey, type Service } from '../model/service.ts';
import type { TcpTable } from '../model/tcp-match.ts';
import { tcpRuleName } from '../model/tcp-route.ts';
import { serviceOf, surroundings } from './explain-command.ts';
import { backendSentences } from './explain-connection.ts';
import { ruleSentences } from './explain-outcome.ts';
import { unreadAt, writtenAt } from './explain-plan.ts';
import { type KnownMesh, refusedLines } from './known-mesh.ts';
import { type MeshChoice, meshOf } from './mesh-source.ts';

export interface RoutesOptions extends MeshChoice {
  readonly from?: string;
  readonly output: string;
}

/** The rules of some ports of a service. */
interface Listed {
  readonly service: string;
  readonly ports: readonly number[];
  /** `namespace/name`; null: it has none, and its rules are not in force. */
  readonly waypoint: string | null;
  readonly rules: readonly {
    readonly rule: string;
    readonly matches: string;
    readonly does: readonly string[];
  }[];
}

type TcpRules = ReturnType<TcpTable['rules']>;

export async function routes(host: string | undefined, options: RoutesOptions): Promise<void> {
  const known = await meshOf(options);
  const { services } = known.mesh;
  const asked = host === undefined ? services : [serviceOf(services, host)];
  const all = new HttpRoutes();
  all.replace(known.l7.routes);
  const listed = asked.flatMap(service => rulesOf(service, all, known, options.from ?? service.namespace));
  if (options.output === 'json') {
    process.stdout.write(`${JSON.stringify(listed, null, 2)}\n`);
    return;
  }
  const lines = listed.flatMap(linesOf);
  if (lines.length === 0) lines.push('no routes: requests and connections go to the services themselves');
  process.stdout.write(`${[...lines, ...refusedLines(known)].join('\n')}\n`);
}

/** Ports with the same rules are listed once. */
function rulesOf(service: Service, all: HttpRoutes, known: KnownMesh, from: string): Listed[] {
  const key = serviceKey(service);
  const byRules = new Map<string, { hits: readonly RouteHit[]; tcp: TcpRules; ports: number[] }>();
  for (const { servicePort } of service.ports) {
    const isRead = unreadAt(known, service, servicePort, from) === null;
    const hits = (isRead ? all.tableFor(key, servicePort, from)?.hits() : null) ?? [];
    const tcp = writtenAt(known, service, servicePort, from)?.table.rules() ?? [];
    if (hits.length === 0 && tcp.length === 0) continue;
    const name = JSON.stringify([hits, tcp]);
    const listed = byRules.get(name);
    if (listed === undefined) byRules.set(name, { hits, tcp, ports: [servicePort] });
    else listed.ports.push(servicePort);
  }
  return [...byRules.values()].map(({ hits, tcp, ports }) => {
    const around = surroundings(known, from, ports[0] ?? 0);
    const ofRequests = hits.map(({ route, rule, index, match }) => ({
      rule: ruleName(route, index),
      matches: describeMatch(match),
      does: ruleSentences(rule, around).map(line => line.trim()),
    }));
    const ofConnections = tcp.map(({ hit: { route, rule, index }, matches }) => ({
      rule: tcpRuleName(route, index),
      matches,
      does: backendSentences(rule, { ...around, isConnection: true }).map(line => line.trim()),
    }));
    const rules = [...ofRequests, ...ofConnections];
    return { service: key, ports, waypoint: waypointOf(service), rules };
  });
}

function waypointOf({ waypoint }: Service): string | null {
  if (waypoint?.destination.kind !== 'hostname') return null;
  const { hostname, namespace } = waypoint.destination;
  return `${namespace}/${hostname.split('.', 1)[0]}`;
}

function linesOf({ service, ports, waypoint, rules }: Listed): string[] {
  const where = waypoint === null ? 'no waypoint: nothing of this is in force' : `waypoint ${waypoint}`;
  return [
    `${service} port ${ports.join(', ')}, ${where}`,
    ...rules.flatMap(({ rule, matches, does }) => [
      `  ${rule}: ${matches}`,
      ...does.map(line => `    ${line}`),
    ]),
  ];
}
