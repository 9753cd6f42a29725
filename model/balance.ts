/**
 * Chooses the endpoint of a service for one connection: random by capacity, inside the best locality that has any, or the
 * one that a client had where the service keeps clients at their endpoints.
 *
 * Runs on the outbound path for every connection to a VIP; one walk over the endpoints keeps those of the best rank.
 */
import { isIpv6 } from './address.ts';
import type { Kept } from './affinity.ts';
import type { Mesh } from './mesh.ts';
import { serviceKey } from './service.ts';
import type { RoutingScope, Service } from './service.ts';
import { dialName } from './workload.ts';
import type { Locality, Workload } from './workload.ts';

/** Anything that can say whether an endpoint is in it, by uid: a Set of those tried, a record of recent failures. */
export interface EndpointSet {
  has(uid: string): boolean;
}

/** An endpoint by where it is dialled. */
export interface ChosenEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface PickOptions {
  /** The client, for locality; null if unknown: then no endpoint is nearer than another. */
  readonly from: Workload | null;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** Never picked, for example what this connection has tried. */
  readonly exclude: EndpointSet;
  /** Picked only when there is nothing else, for example what could not be dialled a moment ago. */
  readonly avoid?: EndpointSet;
  /** What is remembered of the client for a service that keeps clients, by service key; nothing is without. */
  readonly kept?: (service: string, timeoutMs: number) => Kept;
  /** Chosen by the same rules a moment ago: picked if it may be picked at all, unless the service keeps clients. */
  readonly chosen?: ChosenEndpoint;
  /** The family the client asked for. */
  readonly family: 4 | 6;
}

export interface Endpoint {
  readonly workload: Workload;
  /** An IP address; a host name where the endpoint is outside the cluster and has only that (`dialName`). */
  readonly address: string;
  readonly targetPort: number;
}

const none: EndpointSet = { has: () => false };

/** The endpoint to dial for a port of a service, or null if none is fit. */
export function pickEndpoint(
  mesh: Mesh,
  service: Service,
  servicePort: number,
  options: PickOptions,
): Endpoint | null {
  const picked = pick(mesh, service, servicePort, options, options.avoid ?? none);
  if (picked !== null || options.avoid === undefined) return picked;
  return pick(mesh, service, servicePort, options, none);
}

/** An endpoint that may be dialled, and how near it is by what its service says (the greater the nearer). */
export interface FitEndpoint extends Endpoint {
  readonly nearness: number;
}

/** Every endpoint that may be dialled for a port of a service; for those who choose by rules of their own. */
export function fitEndpoints(
  mesh: Mesh,
  service: Service,
  servicePort: number,
  { from, family }: Pick<PickOptions, 'from' | 'family'>,
): FitEndpoint[] {
  const key = serviceKey(service);
  const options: PickOptions = { from, family, random: () => 0, exclude: none };
  return mesh.endpoints(key).flatMap(workload => {
    const nearness = rank(service, from, workload);
    if (nearness === unfit || !isFit(workload, service, key, servicePort, options)) return [];
    const address = addressOf(workload, service, family);
    const targetPort = targetPortOf(workload, key, servicePort);
    return address === null || targetPort === null ? [] : [{ workload, address, targetPort, nearness }];
  });
}

function pick(
  mesh: Mesh,
  service: Service,
  servicePort: number,
  options: PickOptions,
  avoid: EndpointSet,
): Endpoint | null {
  const key = serviceKey(service);
  let candidates: Workload[] = [];
  let best = unfit;
  let capacity = 0;
  for (const workload of mesh.endpoints(key)) {
    if (avoid.has(workload.uid) || !isFit(workload, service, key, servicePort, options)) continue;
    const near = rank(service, options.from, workload);
    if (near < best || near === unfit) continue;
    if (near > best) {
      best = near;
      candidates = [];
      capacity = 0;
    }
    candidates.push(workload);
    capacity += workload.capacity;
  }

  const { from, random, family } = options;
  const before = options.chosen;
  const drawn =
    before &&
    candidates.find(
      workload =>
        addressOf(workload, service, family) === before.address &&
        targetPortOf(workload, key, servicePort) === before.port,
    );
  const timeoutMs = service.sessionAffinityMs;
  const known = timeoutMs === null ? undefined : options.kept?.(key, timeoutMs);
  const turn = known?.turn ?? 0;
  const chosen =
    timeoutMs === null || from === null
      ? (drawn ?? byCapacity(candidates, random() * capacity))
      : (candidates.find(({ uid }) => uid === known?.endpoint) ?? dealtTo(`${from.uid} ${turn}`, candidates));
  if (chosen === undefined) return null;
  const address = addressOf(chosen, service, family);
  const targetPort = targetPortOf(chosen, key, servicePort);
  return address === null || targetPort === null ? null : { workload: chosen, address, targetPort };
}

function byCapacity(candidates: readonly Workload[], at: number): Workload | undefined {
  let left = at;
  return candidates.find(workload => (left -= workload.capacity) < 0) ?? candidates.at(-1);
}

/**
 * The endpoint for a client of which nothing is remembered, by weighted rendezvous hashing: every shard chooses the same
 * for the first connections, which may come to several at once.
 */
function dealtTo(client: string, candidates: readonly Workload[]): Workload | undefined {
  let best: Workload | undefined;
  let bestScore = Number.NEGATIVE_INFINITY;
  for (const workload of candidates) {
    const score = -workload.capacity / Math.log(fraction(client, workload.uid));
    if (score > bestScore) {
      best = workload;
      bestScore = score;
    }
  }
  return best;
}

/** A number in (0, 1) that two texts always have: FNV-1a, mixed by the end of MurmurHash3. */
function fraction(a: string, b: string): number {
  let hash = 0x811c9dc5;
  for (const text of [a, '\0', b]) {
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32;
}

/** Whether an endpoint may be dialled at all. Another network would need a gateway, and none is known. */
function isFit(
  workload: Workload,
  service: Service,
  key: string,
  servicePort: number,
  options: PickOptions,
): boolean {
  return (
    workload.capacity > 0 &&
    !options.exclude.has(workload.uid) &&
    (workload.status === 'HEALTHY' || service.loadBalancing?.healthPolicy === 'ALLOW_ALL') &&
    (options.from === null || options.from.network === workload.network) &&
    targetPortOf(workload, key, servicePort) !== null &&
    addressOf(workload, service, options.family) !== null
  );
}

function targetPortOf(workload: Workload, key: string, servicePort: number): number | null {
  for (const mapping of workload.services[key] ?? []) {
    if (mapping.servicePort === servicePort) return mapping.targetPort === 0 ? null : mapping.targetPort;
  }
  return null;
}

/** An address of the family asked for if the service permits it, else of the other one; a name where there is only that. */
function addressOf(workload: Workload, service: Service, family: 4 | 6): string | null {
  let other: string | null = null;
  for (const ip of workload.addresses) {
    const v6 = isIpv6(ip);
    if (service.ipFamilies === (v6 ? 'IPV4_ONLY' : 'IPV6_ONLY')) continue;
    if (v6 === (family === 6)) return ip;
    other ??= ip;
  }
  return other ?? dialName(workload);
}

const unfit = -1;

/** How near an endpoint is: the scopes it shares with the client, counted until the first that differs. */
function rank(service: Service, from: Workload | null, to: Workload): number {
  const { routingPreference = [], mode } = service.loadBalancing ?? {};
  let shared = 0;
  for (const scope of routingPreference) {
    if (from === null || !shares[scope](from, to)) break;
    shared++;
  }
  if (mode === 'STRICT') return shared === routingPreference.length ? shared : unfit;
  return mode === 'FAILOVER' ? shared : 0;
}

const nowhere: Locality = { region: '', zone: '', subzone: '' };

const shares: Readonly<Record<RoutingScope, (a: Workload, b: Workload) => boolean>> = {
  NETWORK: (a, b) => a.network === b.network,
  CLUSTER: (a, b) => a.clusterId === b.clusterId,
  REGION: (a, b) => (a.locality ?? nowhere).region === (b.locality ?? nowhere).region,
  ZONE: (a, b) => (a.locality ?? nowhere).zone === (b.locality ?? nowhere).zone,
  SUBZONE: (a, b) => (a.locality ?? nowhere).subzone === (b.locality ?? nowhere).subzone,
  // What runs on no known node is near nobody.
  NODE: (a, b) => a.node !== '' && a.node === b.node,
};
