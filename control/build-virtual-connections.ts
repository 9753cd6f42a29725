/**
 * The `tls` and `tcp` rules of a VirtualService: where connections go that a waypoint carries as they are. Pure.
 *
 * Those of TLS by the name that they ask for. Rules keep their order; a match of which a part can not be done is not in
 * force, and a rule without a destination refuses what fits it.
 */
import { parseCidr } from '../model/address.ts';
import type { VirtualService, VirtualServiceConnections } from '../model/kinds/virtual-service.ts';
import type { TcpMatch, TcpRule } from '../model/tcp-route.ts';
import { type VirtualContext, virtualBackend, virtualWeight } from './build-virtual-backend.ts';
import type { ClientsOf } from './build-virtual-match.ts';
import type { Say } from './finding.ts';

type ConnectionMatch = NonNullable<VirtualServiceConnections['match']>[number];

const loss = 'its share of the connections is refused';
const sniHost = /^(\*|(\*\.)?[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*)$/;

/** All of them, those of TLS first. */
export function connectionRules(
  { tls = [], tcp = [] }: VirtualService['spec'],
  namespace: string,
  context: VirtualContext,
  say: Say,
): TcpRule[] {
  const rule = (one: VirtualServiceConnections, field: string, matches: readonly TcpMatch[]): TcpRule => {
    const { route = [] } = one;
    const backends = route.map(({ destination, weight }, at) => {
      const written = { namespace, field: `${field}.route[${at}].destination`, loss, say };
      return {
        ...virtualBackend(context, destination, written),
        weight: virtualWeight(weight, route.length),
      };
    });
    if (backends.every(({ weight }) => weight === 0)) {
      const message = 'no destination has a weight: what fits the rule is refused';
      say('error', 'unsupported-route', `${field}.route`, message);
    }
    return { name: null, matches, backends };
  };
  return [
    ...tls.map((one, index) => {
      const field = `spec.tls[${index}]`;
      if ((one.match ?? []).length === 0)
        say('error', 'unsupported-route', `${field}.match`, 'the rule is not in force: TLS goes by sniHosts');
      const matches = (one.match ?? []).flatMap((match, at) => {
        const place = `${field}.match[${at}]`;
        const common = commonOf(match, place, say, context.clients);
        const names = namesOf(match, place, say);
        return common === null || names === null ? [] : [{ names, ...common }];
      });
      return rule(one, field, matches);
    }),
    ...tcp.map((one, index) => {
      const field = `spec.tcp[${index}]`;
      const { match = [] } = one;
      const all: readonly ConnectionMatch[] = match.length === 0 ? [{}] : match;
      const matches = all.flatMap((each, at) => {
        const place = `${field}.match[${at}]`;
        if (each.sniHosts !== undefined)
          return refused(say, `${place}.sniHosts`, 'names are looked at in rules of tls only') ?? [];
        const common = commonOf(each, place, say, context.clients);
        return common === null ? [] : [{ names: null, ...common }];
      });
      return rule(one, field, matches);
    }),
  ];
}

function refused(say: Say, field: string, why: string): null {
  say('error', 'unsupported-route', field, `the match is not in force: ${why}`);
  return null;
}

/** In lower case; null where there is none that can be looked for. */
function namesOf({ sniHosts = [] }: ConnectionMatch, field: string, say: Say): readonly string[] | null {
  const names = sniHosts.map(name => name.toLowerCase());
  const wrong = names.find(name => !sniHost.test(name));
  if (wrong !== undefined) return refused(say, `${field}.sniHosts`, `${wrong} is no name of a host`);
  return names.length === 0 ? refused(say, `${field}.sniHosts`, 'it names no host') : names;
}

/** What both kinds of match have; null where the match is not in force. */
function commonOf(
  match: ConnectionMatch,
  field: string,
  say: Say,
  clientsOf: ClientsOf,
): Omit<TcpMatch, 'names'> | null {
  const { gateways, sourceLabels = {}, sourceNamespace, port, destinationSubnets: subnets } = match;
  if (gateways !== undefined && !gateways.includes('mesh')) return null;
  const wrong = subnets?.find(subnet => parseCidr(subnet) === null);
  if (wrong !== undefined)
    return refused(say, `${field}.destinationSubnets`, `${wrong} is no address and no range of them`);
  return {
    ...(sourceNamespace === undefined ? {} : { from: sourceNamespace }),
    ...(port === undefined ? {} : { port }),
    ...(subnets === undefined || subnets.length === 0 ? {} : { subnets }),
    ...(Object.keys(sourceLabels).length === 0 ? {} : { workloads: clientsOf(sourceLabels) }),
  };
}
