/**
 * What a policy can ask about a request or connection, in the form its conditions compare: the identity taken apart, and
 * every way in which a server could read what the client wrote.
 *
 * A value that can be read in two ways has two readings. A condition on which they disagree is unknown, and what is
 * unknown never becomes an allow: so no spelling gets past a rule that the clean form would fail.
 */
import { canonicalIp, ipValue, type IpValue } from './address.ts';
import { hostOf, type HttpHead } from './http-head.ts';
import { pathReadings } from './http-path.ts';
import { parseSpiffeId, type Identity } from './identity.ts';

/** The claims of a verified token. */
export type Claims = Readonly<Record<string, unknown>>;

export interface PolicyRequest {
  /** SPIFFE URI of the client's certificate. */
  readonly identity: string;
  readonly sourceIp: string;
  /** Of the client behind a gateway; null where it can not be told. */
  readonly remoteIp: string | null;
  /** What the client dialled: an address of a service, or of a workload. */
  readonly destinationIp: string;
  readonly destinationPort: number;
  /** Of the client's own TLS, where it is passed through, '' for none; null where no TLS was looked at. */
  readonly sni: string | null;
  /** Null of a connection whose requests nobody reads. */
  readonly head: HttpHead | null;
  /** Null without a valid token. */
  readonly claims: Claims | null;
}

/** The ways to read an attribute, each with its values; one without values is absent. Null: it can not be known. */
export type Readings = readonly (readonly string[])[] | null;

export interface PolicyFacts {
  readonly request: PolicyRequest;
  readonly source: Identity;
  readonly sourceValue: IpValue;
  readonly remoteValue: IpValue | null;
  readonly destinationValue: IpValue;
  /** By attribute, what was read already: many rules ask for the same. */
  readonly read: Map<string, Readings>;
}

const known = new WeakMap<PolicyRequest, PolicyFacts | string>();

/** Taken apart once per request. A text says why nothing can be said of it: then it is refused. */
export function policyFacts(request: PolicyRequest): PolicyFacts | string {
  let facts = known.get(request);
  if (facts === undefined) known.set(request, (facts = takeApart(request)));
  return facts;
}

function takeApart(request: PolicyRequest): PolicyFacts | string {
  const source = parseSpiffeId(request.identity);
  const sourceValue = valueOf(request.sourceIp);
  const destinationValue = valueOf(request.destinationIp);
  if (source === null) return `source identity "${request.identity}" is not a SPIFFE workload identity`;
  if (sourceValue === null) return `source "${request.sourceIp}" is not an IP address`;
  if (destinationValue === null) return `destination "${request.destinationIp}" is not an IP address`;
  const remoteValue = request.remoteIp === null ? null : valueOf(request.remoteIp);
  return { request, source, sourceValue, remoteValue, destinationValue, read: new Map() };
}

function valueOf(text: string): IpValue | null {
  const ip = canonicalIp(text);
  return ip === null ? null : ipValue(ip);
}

/** What `reader` gives for an attribute, read once for a request. */
export function readOnce(
  facts: PolicyFacts,
  attribute: string,
  reader: (facts: PolicyFacts) => Readings,
): Readings {
  let readings = facts.read.get(attribute);
  if (readings === undefined) facts.read.set(attribute, (readings = reader(facts)));
  return readings;
}

/** How an attribute is read; null for one that nobody here knows. */
export function readerOf(attribute: string): ((facts: PolicyFacts) => Readings) | null {
  const plain = readers.get(attribute);
  if (plain !== undefined) return plain;
  const [, header] = /^request\.headers\[([^[\]]+)\]$/.exec(attribute) ?? [];
  if (header !== undefined) return headerReader(header.toLowerCase());
  const claim = claimPath(attribute);
  return claim === null
    ? null
    : ({ request }) => (request.head === null ? null : claimReadings(request.claims, claim));
}

const readers: ReadonlyMap<string, (facts: PolicyFacts) => Readings> = new Map([
  [
    'source.principal',
    ({ source }) => one(`${source.trustDomain}/ns/${source.namespace}/sa/${source.serviceAccount}`),
  ],
  ['source.namespace', ({ source }) => one(source.namespace)],
  ['source.serviceAccount', ({ source }) => one(`${source.namespace}/${source.serviceAccount}`)],
  ['source.trustDomain', ({ source }) => one(source.trustDomain)],
  ['destination.port', ({ request }) => one(String(request.destinationPort))],
  // Where no TLS was looked at there is no telling what its name would have been.
  [
    'connection.sni',
    ({ request: { sni } }) => (sni === null ? null : [sni === '' ? [] : [sni.toLowerCase()]]),
  ],
  ['request.method', ({ request }) => (request.head === null ? null : one(request.head.method))],
  ['request.path', ({ request }) => (request.head === null ? null : pathsOf(request.head))],
  ['request.host', ({ request }) => (request.head === null ? null : [hostValues(request.head.authority)])],
  ['request.auth.principal', auth(({ iss, sub }) => (isText(iss) && isText(sub) ? [`${iss}/${sub}`] : []))],
  ['request.auth.audiences', auth(({ aud }) => texts(aud))],
  ['request.auth.presenter', auth(({ azp }) => texts(azp))],
]);

function one(value: string): Readings {
  return [[value]];
}

function pathsOf({ path }: HttpHead, more = ''): Readings {
  return pathReadings(path)?.map(reading => [reading + more]) ?? null;
}

function auth(read: (claims: Claims) => readonly string[] | null): (facts: PolicyFacts) => Readings {
  return ({ request: { head, claims } }) => {
    if (head === null) return null;
    const values = claims === null ? [] : read(claims);
    return values === null ? null : [values];
  };
}

/** Without and with a port, as a pattern may be written; lower case, and without the dot of the root. */
function hostValues(authority: string): readonly string[] {
  const lower = authority.toLowerCase();
  const host = hostOf(lower).replace(/\.$/, '');
  if (host === '') return [];
  const port = /:(\d+)$/.exec(lower.slice(hostOf(lower).length))?.[1] ?? '80';
  return [host, `${host}:${port}`];
}

/**
 * Several fields of a name are one list, or only one of them counts: who reads them decides. Servers that hand fields on as
 * variables take `_` for `-`, so a field that is spelt so is one more reading.
 */
function headerReader(name: string): (facts: PolicyFacts) => Readings {
  const folded = name.replaceAll('_', '-');
  return ({ request: { head } }) => {
    if (head === null) return null;
    if (name === ':method') return one(head.method);
    if (name === ':authority' || name === 'host') return [hostValues(head.authority)];
    if (name === ':path') return pathsOf(head, head.query === null ? '' : `?${head.query}`);
    const own: string[] = [];
    const twins: string[] = [];
    for (let at = 0; at < head.headers.length; at += 2) {
      const field = (head.headers[at] ?? '').toLowerCase();
      if (field === name) own.push(head.headers[at + 1] ?? '');
      else if (field.length === name.length && field.replaceAll('_', '-') === folded)
        twins.push(head.headers[at + 1] ?? '');
    }
    if (own.length === 0 && twins.length === 0) return [[]];
    const all = [...own, ...twins];
    const joined = own.length === 0 ? [] : [own.join(', ')];
    return all.length === 1 && own.length === 1 ? [joined] : [joined, ...all.map(value => [value])];
  };
}

/** `request.auth.claims[a][b]` → a, b. */
function claimPath(attribute: string): readonly string[] | null {
  const [, path] = /^request\.auth\.claims((?:\[[^[\]]+\])+)$/.exec(attribute) ?? [];
  return path === undefined ? null : path.slice(1, -1).split('][');
}

/** A text, or each of a list of texts. What is neither (a number, a map) can not be compared with what a policy says. */
function claimReadings(claims: Claims | null, path: readonly string[]): Readings {
  let at: unknown = claims ?? {};
  for (const name of path) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, name)) return [[]];
    at = (at as Claims)[name];
  }
  const values = texts(at);
  return values === null ? null : [values];
}

/** Null for what is no text and no list of texts. */
function texts(value: unknown): readonly string[] | null {
  if (value === undefined) return [];
  if (isText(value)) return [value];
  return Array.isArray(value) && value.every(isText) ? value : null;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
