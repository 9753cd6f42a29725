/**
 * From `tls` of a DestinationRule to the TLS that waypoints speak to endpoints. Pure.
 *
 * Where Istio takes a certificate for any name (no `subjectAltNames`), here it has to be for the name that is said in the
 * greeting, `sni` or else the service's own: a certificate for just anybody proves nothing.
 */
import type { EndpointTls, TlsClient, TlsName, TlsTrust } from '../model/endpoint-tls.ts';
import type { PolicyParts } from '../model/kinds/destination-rule.ts';
import type { ServiceTls } from './build-backend-tls-book.ts';
import type { Say } from './finding.ts';

export type TlsSpec = NonNullable<PolicyParts['tls']>;

/** Who says what is done, and about whom. */
export interface TlsAuthor {
  /** For people: `DestinationRule shop/web`. */
  readonly source: string;
  readonly namespace: string;
  /** Of the service. */
  readonly hostname: string;
  /** What is in force where the author does not say. */
  readonly otherwise: readonly ServiceTls[];
}

/** What is asked for; null where it is no TLS of the endpoints' own; a text says why it can not be done. */
export function endpointTlsOf(
  spec: TlsSpec,
  { source, namespace, hostname }: TlsAuthor,
  field: string,
  say: Say,
): EndpointTls | string | null {
  if (spec.mode !== 'SIMPLE' && spec.mode !== 'MUTUAL') return null;
  const problem = problemOf(spec, hostname);
  if (problem !== null) {
    const [member, why] = problem;
    say(
      'error',
      'unsupported-value',
      `${field}.${member}`,
      `${why}: what is sent there is answered with 503`,
    );
    return why;
  }
  if (spec.mode === 'SIMPLE' && spec.clientCertificate !== undefined)
    say(
      'warning',
      'unsupported-value',
      `${field}.clientCertificate`,
      'not shown: mode is SIMPLE, not MUTUAL',
    );
  if (spec.insecureSkipVerify === true)
    say(
      'warning',
      'tls-not-verified',
      `${field}.insecureSkipVerify`,
      'whoever answers is believed: nothing that the endpoint shows is verified',
    );
  const sni = spec.sni ?? (hostname.startsWith('*') ? null : hostname);
  return {
    source,
    namespace,
    sni,
    names: spec.insecureSkipVerify === true ? [] : namesOf(spec, sni),
    trust: trustOf(spec, namespace),
    client: clientOf(spec, namespace),
    revoked: spec.caCrl ?? null,
  };
}

/** What is in force for a port (null: for those that nobody names) where the author of a rule says nothing. */
export function tlsOtherwise(
  { otherwise, source }: TlsAuthor,
  port: number | null,
): EndpointTls | string | null {
  const found = otherwise.find(each => each.port === port) ?? otherwise.find(each => each.port === null);
  if (found === undefined) return null;
  if ('tls' in found.result) return found.result.tls;
  // Who says it is said where somebody else's rule is in force.
  return source === '' ? found.result.refusal : `${found.name}: ${found.result.refusal}`;
}

/** The Secret of a rule that names one, `namespace/name`. */
function credentialName(name: string, namespace: string): string {
  return `${namespace}/${name}`;
}

/** The member that is wrong, and why; null where all can be done. */
function problemOf(spec: TlsSpec, hostname: string): readonly [string, string] | null {
  const {
    mode,
    clientCertificate,
    privateKey,
    caCertificates,
    credentialName: secret,
    subjectAltNames,
  } = spec;
  const files = [clientCertificate, privateKey, caCertificates].filter(path => path !== undefined);
  if (secret !== undefined && files.length > 0)
    return ['credentialName', 'credentialName and files exclude each other'];
  if (secret !== undefined && !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(secret))
    return ['credentialName', 'credentialName is the name of a Secret of the same namespace'];
  if (
    mode === 'MUTUAL' &&
    secret === undefined &&
    (clientCertificate === undefined || privateKey === undefined)
  )
    return ['mode', 'MUTUAL needs clientCertificate and privateKey, or credentialName'];
  for (const member of ['clientCertificate', 'privateKey', 'caCertificates', 'caCrl'] as const) {
    const path = spec[member];
    if (path === undefined || path.startsWith('/') || (member === 'caCertificates' && path === 'system'))
      continue;
    return [member, `${member} is an absolute path of a file of the waypoint`];
  }
  const isNamed = spec.sni !== undefined || (subjectAltNames ?? []).length > 0;
  if (hostname.startsWith('*') && !isNamed && spec.insecureSkipVerify !== true)
    return ['mode', `nothing says which name an endpoint of ${hostname} has to prove (sni, subjectAltNames)`];
  return null;
}

function namesOf({ subjectAltNames = [] }: TlsSpec, sni: string | null): TlsName[] {
  if (subjectAltNames.length > 0) return subjectAltNames.map(value => ({ type: 'any', value }));
  return sni === null ? [] : [{ type: 'dns', value: sni }];
}

function trustOf(spec: TlsSpec, namespace: string): TlsTrust {
  if (spec.insecureSkipVerify === true) return { type: 'unverified' };
  if (spec.credentialName !== undefined)
    return { type: 'credential', name: credentialName(spec.credentialName, namespace) };
  const { caCertificates: path = 'system' } = spec;
  return path === 'system' ? { type: 'system' } : { type: 'file', path };
}

function clientOf(spec: TlsSpec, namespace: string): TlsClient | null {
  if (spec.mode !== 'MUTUAL') return null;
  if (spec.credentialName !== undefined)
    return { type: 'credential', name: credentialName(spec.credentialName, namespace) };
  return { type: 'files', certificate: spec.clientCertificate ?? '', key: spec.privateKey ?? '' };
}
