/**
 * For which services and clients a DestinationRule is in force: what its host stands for, and which of several comes first.
 */
import { type Located, compareLocated } from './located.ts';

export type Rule = Located<'DestinationRule'>;

/** A name without dots is a Service of the rule's own namespace. */
export function hostOf({ value, namespace }: Rule, clusterDomain: string): string {
  const host = value.spec.host.toLowerCase();
  return host.includes('.') || host === '*' ? host : `${host}.${namespace}.svc.${clusterDomain}`;
}

/** Whether a host of a rule stands for a name. */
export function fits(host: string, hostname: string): boolean {
  if (host === hostname || host === '*') return true;
  return host.startsWith('*.') && hostname.length > host.length - 1 && hostname.endsWith(host.slice(1));
}

/** Rules that are in force together. */
export interface Group {
  readonly rules: readonly Rule[];
  readonly clients: readonly string[] | null;
}

/** The rules that are in force together, in the order in which a client's namespace is looked for. */
export function groupsOf(
  known: readonly { readonly rule: Rule; readonly host: string }[],
  producer: string,
  root: string,
): Group[] {
  const byNamespace = Map.groupBy(known, ({ rule }) => rule.namespace);
  const consumers: Group[] = [];
  const shared: Group[] = [];
  for (const namespace of [...byNamespace.keys()].sort()) {
    // The most exact host for whoever a rule is exported to.
    const byReach = Map.groupBy(byNamespace.get(namespace) ?? [], ({ rule }) => reachOf(rule));
    for (const reach of [...byReach.keys()].sort()) {
      const all = byReach.get(reach) ?? [];
      const best = all.reduce((a, b) => (moreExact(b.host, a.host) ? b : a)).host;
      const rules = all
        .filter(({ host }) => host === best)
        .map(({ rule }) => rule)
        .sort(compareLocated);
      const names = reach === '*' ? null : reach.split(',');
      if (namespace === producer || namespace === root) shared.push({ rules, clients: names });
      else if (names === null || names.includes(namespace)) consumers.push({ rules, clients: [namespace] });
    }
  }
  const rank = ({ rules, clients }: Group): number =>
    (rules[0]?.namespace === producer ? 0 : 2) + (clients === null ? 1 : 0);
  return [...consumers, ...shared.sort((a, b) => rank(a) - rank(b))];
}

/** Namespaces a rule is exported to, joined by commas; `*` for all. */
function reachOf({ value, namespace }: Rule): string {
  const { exportTo = [] } = value.spec;
  if (exportTo.length === 0 || exportTo.includes('*')) return '*';
  return [...new Set(exportTo.map(name => (name === '.' ? namespace : name)))].sort().join(',');
}

function moreExact(a: string, b: string): boolean {
  const isWild = (host: string): number => (host.startsWith('*') ? 0 : 1);
  return isWild(a) - isWild(b) > 0 || (isWild(a) === isWild(b) && a.length > b.length);
}
