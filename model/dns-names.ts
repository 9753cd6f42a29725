/**
 * Which host names the mesh answers for, and with which addresses: pure, the same for UDP and TCP, A and AAAA.
 *
 * Only names of Services (and of pods behind headless ones), and hosts of ServiceEntries that have virtual addresses, are
 * ours. Anything else belongs to the resolver that the application asked, so a doubt is always decided against us.
 */
import type { Mesh } from './mesh.ts';
import type { Service } from './service.ts';
import type { Workload } from './workload.ts';

export type DnsMesh = Pick<Mesh, 'service' | 'serviceByHost' | 'endpoints'>;

/** Who asks: names are relative to its namespace, addresses to its network. */
export interface DnsClient {
  readonly namespace: string;
  readonly network: string;
}

export interface DnsHost {
  /** Full name, lower case, without the final dot. */
  readonly hostname: string;
  /** The name that was asked has a search domain behind the real one, so the answer begins with a CNAME. */
  readonly alias: boolean;
  /** Canonical IPs of both families; none is an answer too: the name exists, without addresses. */
  readonly addresses: readonly string[];
}

/**
 * Resolves a name for a client; null when it isn't ours.
 * @param name lower case, without the final dot
 * @param domain the cluster's, such as `cluster.local`
 */
export function lookupName(mesh: DnsMesh, client: DnsClient, name: string, domain: string): DnsHost | null {
  const asIs = lookupExact(mesh, client, name, domain);
  if (asIs !== null) return { ...asIs, alias: false };
  // What a stub resolver makes of `web.shop` by its search list: better answered now than after three more tries.
  for (const search of [`${client.namespace}.svc.${domain}`, `svc.${domain}`, domain]) {
    const rest = withoutSuffix(name, search);
    if (rest === null || !rest.includes('.')) continue;
    const found = lookupExact(mesh, client, rest, domain);
    if (found !== null) return { ...found, alias: true };
  }
  return null;
}

/**
 * Services, by key, that `lookupName` would look for in vain: for agents that do not know the whole mesh and may ask about
 * them first. Hosts of ServiceEntries are not among them, since agents know all of those.
 */
export function nameNeeds(mesh: DnsMesh, client: DnsClient, name: string, domain: string): readonly string[] {
  const needs = new Set<string>();
  const noting: DnsMesh = {
    service: key => {
      const service = mesh.service(key);
      if (service === null) needs.add(key);
      return service;
    },
    serviceByHost: (host, namespace) => mesh.serviceByHost(host, namespace),
    endpoints: key => mesh.endpoints(key),
  };
  lookupName(noting, client, name, domain);
  return [...needs];
}

type Found = Omit<DnsHost, 'alias'>;

function lookupExact(mesh: DnsMesh, client: DnsClient, name: string, domain: string): Found | null {
  return clusterHost(mesh, client, name, domain) ?? otherHost(mesh, client, name);
}

/** A host without addresses of ours is answered by whoever else knows it: its endpoints are not what clients dial. */
function otherHost(mesh: DnsMesh, client: DnsClient, name: string): Found | null {
  const service = mesh.serviceByHost(name, client.namespace);
  if (service === null || service.addresses.length === 0) return null;
  return { hostname: service.hostname, addresses: reachableAddresses(service, client) };
}

function reachableAddresses(service: Service, client: DnsClient): string[] {
  return service.addresses.filter(({ network }) => network === client.network).map(({ address }) => address);
}

function clusterHost(mesh: DnsMesh, client: DnsClient, name: string, domain: string): Found | null {
  const qualified = withoutSuffix(name, `svc.${domain}`) ?? withoutSuffix(name, 'svc');
  const labels = (qualified ?? name).split('.');
  const [first = '', second, third] = labels;
  if (qualified === null) {
    // Without `svc` only a Service that exists makes the name ours: `x.y` may as well be a public name.
    if (labels.length > 2) return null;
    return serviceHost(mesh, client, first, second ?? client.namespace, domain);
  }
  if (second === undefined) return null;
  if (labels.length === 2) return serviceHost(mesh, client, first, second, domain);
  if (labels.length === 3 && third !== undefined) return podHost(mesh, client, first, second, third, domain);
  return null;
}

function visibleService(
  mesh: DnsMesh,
  client: DnsClient,
  name: string,
  namespace: string,
  domain: string,
): Service | null {
  const service = mesh.service(`${namespace}/${name}.${namespace}.svc.${domain}`);
  if (service === null) return null;
  return service.visibility === 'NAMESPACE' && namespace !== client.namespace ? null : service;
}

function serviceHost(
  mesh: DnsMesh,
  client: DnsClient,
  name: string,
  namespace: string,
  domain: string,
): Found | null {
  const service = visibleService(mesh, client, name, namespace, domain);
  if (service === null) return null;
  if (service.addresses.length > 0) {
    return { hostname: service.hostname, addresses: reachableAddresses(service, client) };
  }
  const addresses = answeringEndpoints(mesh, client, service).flatMap(workload => workload.addresses);
  return { hostname: service.hostname, addresses: [...new Set(addresses)] };
}

/** `pod.service.namespace.svc.domain`: pods that have a host name of their own, as those of a StatefulSet do. */
function podHost(
  mesh: DnsMesh,
  client: DnsClient,
  host: string,
  name: string,
  namespace: string,
  domain: string,
): Found | null {
  const service = visibleService(mesh, client, name, namespace, domain);
  if (service === null || service.addresses.length > 0) return null;
  const hostname = `${host}.${service.hostname}`;
  const pods = answeringEndpoints(mesh, client, service).filter(
    ({ hostname: own }) => own === host || own === hostname,
  );
  if (pods.length === 0) return null;
  return { hostname, addresses: pods.flatMap(pod => pod.addresses) };
}

function answeringEndpoints(mesh: DnsMesh, client: DnsClient, service: Service): readonly Workload[] {
  const all = service.loadBalancing?.healthPolicy === 'ALLOW_ALL';
  return mesh
    .endpoints(`${service.namespace}/${service.hostname}`)
    .filter(workload => workload.network === client.network && (all || workload.status === 'HEALTHY'));
}

/** `name` without `.suffix`; null when it doesn't end so, or nothing would be left. */
function withoutSuffix(name: string, suffix: string): string | null {
  const end = name.length - suffix.length - 1;
  return end > 0 && name.endsWith(suffix) && name[end] === '.' ? name.slice(0, end) : null;
}
