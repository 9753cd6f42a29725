/**
 * Somebody who is asked whether a request may pass (a provider of CUSTOM policies), and what a request is after the answer.
 * Plain JSON data, part of the policies that name it. Pure; waypoint/ask-authorizer.ts asks.
 */
import { headerOf, isNamed, type HeaderList, type HttpHead } from './http-head.ts';

export interface Authorizer {
  readonly name: string;
  /** `grpc`: Envoy's authorization protocol. `http`: the request itself, without its body, to a server that answers 200. */
  readonly protocol: 'grpc' | 'http';
  /** `namespace/hostname` */
  readonly service: string;
  readonly port: number;
  readonly timeoutMs: number;
  /** Whether requests pass while it can not be asked. */
  readonly failOpen: boolean;
  /** What they are answered with otherwise. */
  readonly statusOnError: number;
  /** What of a body it gets; null: nothing. */
  readonly body: { readonly maxBytes: number; readonly partial: boolean; readonly asBytes: boolean } | null;
  /** Of `http`: what comes before the path. */
  readonly pathPrefix: string;
  /** Of `http`: fields of the request that it gets, besides authorization; patterns. */
  readonly requestHeaders: readonly string[];
  readonly addedHeaders: readonly (readonly [name: string, value: string])[];
  /** Of `http`: fields of its answer, patterns: for the endpoint, and for the client where it allows or denies. */
  readonly toUpstream: readonly string[];
  readonly toDownstreamOnAllow: readonly string[];
  /** Empty: all. */
  readonly toDownstreamOnDeny: readonly string[];
}

/** What an authorizer wants changed in the headers of a request or response. */
export interface WantedHeaders {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  readonly remove: readonly string[];
}

export const nothingWanted: WantedHeaders = { set: [], add: [], remove: [] };

/** What decides where a message ends or goes is not an authorizer's to say. */
const fixed = new Set([
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'te',
  'host',
  'keep-alive',
]);

/** Whether a field may be written as it is: it can not become another, nor another message. */
export function isSafeField(name: string, value: string): boolean {
  return (
    /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/.test(name) &&
    /^[\t\x20-\x7e\x80-\xff]*$/.test(value) &&
    !fixed.has(name.toLowerCase())
  );
}

/** The request with what the authorizer wants; what is set is the only one of its name, also where `-` is written `_`. */
export function withWanted(head: HttpHead, { set, add, remove }: WantedHeaders): HttpHead {
  if (set.length + add.length + remove.length === 0) return head;
  const gone = new Set([...remove, ...set.map(([name]) => name)].map(fold));
  const list: string[] = [];
  for (let at = 0; at < head.headers.length; at += 2) {
    const name = head.headers[at] ?? '';
    if (!gone.has(fold(name)) || fixed.has(name.toLowerCase())) list.push(name, head.headers[at + 1] ?? '');
  }
  for (const [name, value] of [...set, ...add]) list.push(name.toLowerCase(), value);
  return { ...head, headers: list };
}

/** The fields of an HTTP request to an authorizer. */
export function askingHeaders({ requestHeaders, addedHeaders }: Authorizer, head: HttpHead): HeaderList {
  const list: string[] = [];
  for (let at = 0; at < head.headers.length; at += 2) {
    const name = (head.headers[at] ?? '').toLowerCase();
    const isAsked = name === 'authorization' || fits(requestHeaders, name);
    const isAdded = addedHeaders.some(([added]) => isNamed(name, added.toLowerCase()));
    if (isAsked && !isAdded && isSafeField(name, '')) list.push(name, head.headers[at + 1] ?? '');
  }
  for (const [name, value] of addedHeaders) list.push(name.toLowerCase(), value);
  return list;
}

/** The fields of an answer that a list of patterns names. */
export function chosenHeaders(headers: HeaderList, patterns: readonly string[]): [string, string][] {
  const chosen: [string, string][] = [];
  for (let at = 0; at < headers.length; at += 2) {
    const name = (headers[at] ?? '').toLowerCase();
    const value = headers[at + 1] ?? '';
    if (fits(patterns, name) && isSafeField(name, value)) chosen.push([name, value]);
  }
  return chosen;
}

/** Every field as Envoy's protocol has them: names in lower case, values of one name joined, and what HTTP/2 calls `:path`. */
export function headerMap(head: HttpHead): Record<string, string> {
  const names = new Set<string>();
  for (let at = 0; at < head.headers.length; at += 2) names.add((head.headers[at] ?? '').toLowerCase());
  return {
    ':method': head.method,
    ':path': pathOf(head),
    ':authority': head.authority,
    ':scheme': head.scheme,
    ...Object.fromEntries([...names].map(name => [name, headerOf(head.headers, name) ?? ''])),
  };
}

export function pathOf({ path, query }: HttpHead): string {
  return query === null ? path : `${path}?${query}`;
}

/** Exact, `x*` or `*x`, without regard to case. */
function fits(patterns: readonly string[], name: string): boolean {
  return patterns.some(pattern => {
    const wanted = pattern.toLowerCase();
    if (wanted.endsWith('*')) return name.startsWith(wanted.slice(0, -1));
    return wanted.startsWith('*') ? name.endsWith(wanted.slice(1)) : name === wanted;
  });
}

function fold(name: string): string {
  return name.toLowerCase().replaceAll('_', '-');
}
