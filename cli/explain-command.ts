/**
 * `culvert explain`: whether policy lets a request pass, which rule of which route it would hit, and why no other before it.
 * From a directory, without a running waypoint.
 */
import { resolve } from 'node:path';
import { CulvertError } from '../base/errors.ts';
import { createLogger } from '../base/log.ts';
import { Configuration } from '../control/configuration.ts';
import type { HttpHead } from '../model/http-head.ts';
import type { MatchExplanation } from '../model/http-match.ts';
import { normalisePath } from '../model/http-path.ts';
import { ruleName, type HttpRule } from '../model/http-route.ts';
import { HttpRoutes } from '../model/http-routes.ts';
import { serviceKey, type Service } from '../model/service.ts';
import { explainPolicies, policySentences, type Asker } from './explain-policies.ts';

export interface ExplainOptions extends Asker {
  readonly config: string;
  readonly request: string;
  readonly header?: readonly string[];
  readonly output: string;
}

export async function explain(url: string, options: ExplainOptions): Promise<void> {
  const log = createLogger({ component: 'explain', level: 'silent' });
  const configuration = await Configuration.open(resolve(options.config), log);
  const { mesh, l7, config } = configuration.current;
  await configuration.close();
  const { head, host, port } = requestOf(url, options);
  const service = serviceOf(mesh.services, host);
  const all = new HttpRoutes();
  all.replace(l7.routes);
  const table = all.tableFor(serviceKey(service), port, options.from ?? service.namespace);
  const explanation: MatchExplanation | null = table === null ? null : table.explain(head);
  const { trustDomain } = config;
  const policy = explainPolicies(l7.policies, { service, port, head, trustDomain }, options);
  if (options.output === 'json') {
    const { steps = [], hit = null } = explanation ?? {};
    const told = {
      service: serviceKey(service),
      waypoint: service.waypoint,
      policy,
      steps,
      rule: hit?.rule ?? null,
    };
    process.stdout.write(`${JSON.stringify(told, null, 2)}\n`);
    return;
  }
  const passes = policy?.decision.allowed !== false;
  const lines = [
    ...(policy === null ? [] : policySentences(policy)),
    ...(passes ? sentences(service, port, explanation) : []),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
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
  const head: HttpHead = {
    method: options.request,
    path,
    query,
    scheme: 'http',
    authority: parsed.host,
    headers,
  };
  return { head, host: parsed.hostname, port: Number(parsed.port || 80) };
}

/** By one of its addresses, or by as much of its name as says which it is: `web.shop`, `web.shop.svc`… */
function serviceOf(services: readonly Service[], host: string): Service {
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
  return [...lines, `${ruleName(hit.route, hit.index)} is in force:`, ...outcome(hit.rule)];
}

function outcome({ filters, backends, timeouts, retry }: HttpRule): string[] {
  const lines = filters.map(filter => `  filter ${filter.type}`);
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  for (const { service, port, weight, invalid } of backends) {
    const share = total === 0 ? 0 : (100 * weight) / total;
    lines.push(
      `  ${share.toFixed(1)} % to ${service} port ${port}${invalid === null ? '' : `: 500, ${invalid}`}`,
    );
  }
  if (total === 0 && !filters.some(({ type }) => type === 'redirect'))
    lines.push('  500: no backend has a weight');
  if (timeouts.requestMs !== null) lines.push(`  at most ${timeouts.requestMs} ms`);
  if (retry !== null)
    lines.push(
      `  tried again up to ${retry.attempts} times, also for ${retry.codes.join(', ') || 'no status'}`,
    );
  return lines;
}
