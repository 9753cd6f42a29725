/**
 * `culvert explain tls://…` and `tcp://…`: whether policy lets a connection pass that is carried as it is, which rule of which
 * route it would hit, why no other before it, and where it would go.
 */
import { CulvertError } from '../base/errors.ts';
import { serviceKey, type Service } from '../model/service.ts';
import type { TcpAsker, TcpMatched, TcpStep } from '../model/tcp-match.ts';
import type { TcpPlan } from '../model/tcp-routes.ts';
import { tcpRuleName, type TcpRule } from '../model/tcp-route.ts';
import { serviceOf, surroundings } from './explain-command.ts';
import { placeSentences, type Surroundings } from './explain-outcome.ts';
import { planAt, protocolAt, speaksHttp, workloadAt } from './explain-plan.ts';
import { explainPolicies, policySentences, type Asker, type PolicyExplanation } from './explain-policies.ts';
import { refusedLines } from './known-mesh.ts';
import { type MeshChoice, meshOf } from './mesh-source.ts';

export interface ConnectionOptions extends Asker, MeshChoice {
  readonly sni?: string;
  readonly output: string;
}

export async function explainConnection(url: string, options: ConnectionOptions): Promise<void> {
  const { host, port, isTls } = askedOf(url, options);
  const known = await meshOf(options);
  const { l7, config, mesh } = known;
  const service = serviceOf(mesh.services, host);
  const from = options.from ?? service.namespace;
  const protocol = protocolAt(service, port);
  const plan = planAt(known, service, port, from);
  const isHeard = isTls && (protocol !== 'TCP' || plan?.kind === 'names');
  const asker: TcpAsker = {
    namespace: from,
    workload: workloadAt(known, options.address),
    address: service.addresses[0]?.address ?? '0.0.0.0',
    port,
    protocol,
    sni: isHeard ? (options.sni ?? '').toLowerCase() : null,
  };
  const asked = { service, port, head: null, sni: asker.sni, trustDomain: config.trustDomain };
  const policy = explainPolicies(l7, asked, options);
  const passes = policy === null || (policy.decision.allowed && policy.customs.length === 0);
  const matched: TcpMatched = plan?.table.find(asker) ?? { kind: 'direct' };
  const steps = plan?.table.explain(asker) ?? [];
  const around = { ...surroundings(known, from, port), isConnection: true };
  const isRead = speaksHttp(protocol) && (plan === null || plan.kind === 'detected');
  const outcome = passes && !isRead ? outcomeOf(service, matched, around) : [];
  if (options.output === 'json') {
    const rule = matched.kind === 'rule' ? matched.hit.rule : null;
    const told = { service: serviceKey(service), waypoint: service.waypoint, policy, steps, rule };
    const more = { outcome: outcome.map(line => line.trim()), refused: known.refused };
    process.stdout.write(`${JSON.stringify({ ...told, ...more }, null, 2)}\n`);
    return;
  }
  const unheard = isTls && !isHeard && !isRead;
  const lines = [
    ...(service.waypoint === null
      ? [`${serviceKey(service)} has no waypoint: routes are not in force, connections go to its endpoints`]
      : []),
    ...(isRead ? [`port ${port} is said to speak HTTP: requests are read there, ask http://…`] : []),
    ...(unheard ? [`port ${port} is said to speak TCP: no name is looked at`] : []),
    ...(isRead ? [] : policyLines(policy)),
    ...(passes && !isRead ? sentences(service, plan, matched, steps, port) : []),
    ...outcome,
    ...refusedLines(known),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Who would have to be asked can not be: that is no allow. */
function policyLines(policy: PolicyExplanation | null): string[] {
  if (policy === null) return [];
  const [custom] = policy.customs;
  return custom === undefined
    ? policySentences(policy, 'refused')
    : [`refused: ${custom.provider} can not be asked about connections (${custom.policy})`];
}

function askedOf(
  url: string,
  { sni }: ConnectionOptions,
): { readonly host: string; readonly port: number; readonly isTls: boolean } {
  const [, scheme, host, port] = /^(tcp|tls):\/\/(\[[^\]]+\]|[^:/]+):(\d+)\/?$/.exec(url) ?? [];
  if (host === undefined)
    throw new CulvertError('BAD_USAGE', `${url} is not as tls://mail.shop:993 or tcp://db.shop:5432`);
  if (sni !== undefined && scheme === 'tcp')
    throw new CulvertError('BAD_USAGE', '--sni is the name that TLS asks for: ask tls://…');
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port), isTls: scheme === 'tls' };
}

function sentences(
  service: Service,
  plan: TcpPlan | null,
  matched: TcpMatched,
  steps: readonly TcpStep[],
  port: number,
): string[] {
  const itself = 'the connection goes to the service itself';
  if (plan === null)
    return service.waypoint === null
      ? []
      : [`no route of connections is in force at port ${port} of ${serviceKey(service)}: ${itself}`];
  const lines = steps.map(({ rule, hit, reason }) => `${hit ? 'yes' : 'no '}  ${rule}: ${reason}`);
  if (matched.kind === 'direct') return [...lines, `no rule fits: ${itself}`];
  if (matched.kind === 'none') return [...lines, `refused: ${matched.why}`];
  return [...lines, `${tcpRuleName(matched.hit.route, matched.hit.index)} is in force:`];
}

function outcomeOf(service: Service, matched: TcpMatched, around: Surroundings): string[] {
  if (matched.kind === 'none' || service.waypoint === null) return [];
  if (matched.kind === 'direct') {
    const itself = { service: serviceKey(service), port: around.port, subset: null, invalid: null };
    return placeSentences(itself, '', around).map(line => `  ${line}`);
  }
  return backendSentences(matched.hit.rule, around).map(line => `  ${line}`);
}

/** Where the connections of a rule go, with which share. */
export function backendSentences({ backends }: TcpRule, around: Surroundings): string[] {
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return ['refused: no backend has a weight'];
  return backends.flatMap(backend =>
    placeSentences(backend, `${((100 * backend.weight) / total).toFixed(1)} % to `, around),
  );
}
