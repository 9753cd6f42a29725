/** What a VirtualService is bound to and sends to: services by their host names, as its namespace sees them. */
import type { VirtualServiceDestination } from '../model/kinds/virtual-service.ts';
import type { TcpBackend } from '../model/tcp-route.ts';
import type { Say } from './finding.ts';
import type { Located } from './located.ts';

/** What translating one needs to know. */
export interface VirtualContext {
  /** The service that a host means to an object of a namespace: its key and ports; null where there is none. */
  readonly host: (
    host: string,
    namespace: string,
  ) => { readonly key: string; readonly ports: readonly number[] } | null;
  /** Uids of the workloads that carry labels. */
  readonly clients: (labels: Readonly<Record<string, string>>) => readonly string[];
  readonly virtualService: (namespace: string, name: string) => Located<'VirtualService'> | null;
}

/** Where a destination is written, and by whom. */
export interface Written {
  readonly namespace: string;
  readonly field: string;
  /** What becomes of its share where it can not be reached. */
  readonly loss: string;
  readonly say: Say;
}

/** A backend of weight 1. */
export function virtualBackend(
  context: VirtualContext,
  { host, port, subset }: VirtualServiceDestination,
  { namespace, field, loss, say }: Written,
): TcpBackend {
  const found = context.host(host, namespace);
  const base = { service: found?.key ?? host, port: 0, subset: subset ?? null, weight: 1, invalid: null };
  const warn = (why: string): void => say('warning', 'unknown-backend', field, `${why}: ${loss}`);
  if (found === null) {
    warn(`there is no service ${host}`);
    return { ...base, invalid: `there is no service ${host}` };
  }
  const [first] = found.ports;
  if (port === undefined) return { ...base, port: found.ports.length === 1 ? (first ?? 0) : 0 };
  if (!found.ports.includes(port.number)) warn(`${found.key} has no port ${port.number}`);
  return { ...base, port: port.number };
}

/** The weights of several destinations: one that says none has none, unless it is the only one. */
export function virtualWeight(weight: number | undefined, count: number): number {
  return weight ?? (count === 1 ? 1 : 0);
}
