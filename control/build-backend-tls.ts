/**
 * From one BackendTLSPolicy to the TLS that waypoints speak to endpoints. Pure.
 *
 * A policy that can not be done refuses what is sent to its Service: without it, it would go there in the clear. Of several
 * references to authorities those that are good count, as Gateway API has it; without a good one there is none.
 */
import type { EndpointTls, TlsName } from '../model/endpoint-tls.ts';
import { authoritiesKey } from '../model/kinds/secret.ts';
import type { Severity } from './finding.ts';
import { type Located, objectName } from './located.ts';

export type TlsPolicy = Located<'BackendTLSPolicy'>;

/** What a policy comes to; `refusal`: why nothing can be sent. */
export type PolicyTls = { readonly tls: EndpointTls } | { readonly refusal: string };

export interface PolicyContext {
  readonly configMap: (namespace: string, name: string) => Located<'ConfigMap'> | null;
  readonly say: (severity: Severity, code: string, field: string, message: string) => void;
}

const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/;
const hostname = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const wildcard = /^\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const maxNames = 5;
const maxAuthorities = 8;

export function policyTls(policy: TlsPolicy, context: PolicyContext): PolicyTls {
  const { validation, options } = policy.value.spec;
  const refuse = (field: string, why: string, code = 'invalid-tls-policy'): PolicyTls => {
    context.say('error', code, field, `${why}: what is sent there is answered with 503`);
    return { refusal: why };
  };
  const { unknown, hostname: sni, subjectAltNames, caCertificateRefs, wellKnownCACertificates } = validation;
  const [member] = unknown;
  if (member !== undefined)
    return refuse(`spec.validation.${member}`, `this version does not know ${member}`);
  for (const option of Object.keys(options))
    context.say('warning', 'unsupported-value', `spec.options`, `${option} is not looked at`);
  if (!hostname.test(sni)) return refuse('spec.validation.hostname', 'hostname is no DNS name');
  if (subjectAltNames.length > maxNames)
    return refuse('spec.validation.subjectAltNames', `more than ${maxNames} names`);
  const names: TlsName[] = [];
  for (const [at, { type, hostname: dns = '', uri = '' }] of subjectAltNames.entries()) {
    const field = `spec.validation.subjectAltNames[${at}]`;
    if (type === 'Hostname' && (hostname.test(dns) || wildcard.test(dns)))
      names.push({ type: 'dns', value: dns });
    else if (type === 'URI' && URL.canParse(uri)) names.push({ type: 'uri', value: uri });
    else return refuse(field, 'a name is a Hostname with hostname, or a URI with uri');
  }
  const base = {
    source: objectName(policy),
    namespace: policy.namespace,
    sni,
    names: names.length > 0 ? names : [{ type: 'dns' as const, value: sni }],
    client: null,
    revoked: null,
  };
  if ((wellKnownCACertificates === undefined) === (caCertificateRefs.length === 0))
    return refuse(
      'spec.validation',
      'either caCertificateRefs or wellKnownCACertificates says who is trusted',
    );
  if (wellKnownCACertificates !== undefined) {
    return wellKnownCACertificates === 'System'
      ? { tls: { ...base, trust: { type: 'system' } } }
      : refuse(
          'spec.validation.wellKnownCACertificates',
          `only System is known, not ${wellKnownCACertificates}`,
        );
  }
  if (caCertificateRefs.length > maxAuthorities)
    return refuse('spec.validation.caCertificateRefs', `more than ${maxAuthorities} references`);
  const pem = caCertificateRefs.flatMap((ref, at) => authoritiesOf(policy, ref, at, context) ?? []);
  if (pem.length === 0)
    return refuse(
      'spec.validation.caCertificateRefs',
      'no reference leads to a certificate',
      'no-ca-certificate',
    );
  return { tls: { ...base, trust: { type: 'pem', pem: pem.join('\n') } } };
}

/** PEM; null where the reference leads to none, which is said. */
function authoritiesOf(
  policy: TlsPolicy,
  { group, kind, name }: { readonly group: string; readonly kind: string; readonly name: string },
  at: number,
  { configMap, say }: PolicyContext,
): string | null {
  const field = `spec.validation.caCertificateRefs[${at}]`;
  const bad = (code: string, why: string): null => {
    say('error', code, field, `${why}: not trusted`);
    return null;
  };
  if (kind !== 'ConfigMap' || (group !== '' && group !== 'core'))
    return bad('invalid-ca-kind', `certificates of authorities are in a ConfigMap, not a ${kind}`);
  const object = configMap(policy.namespace, name);
  if (object === null) return bad('invalid-ca-ref', `there is no ConfigMap ${policy.namespace}/${name}`);
  const text = object.value.data?.[authoritiesKey];
  if (text === undefined || !certificate.test(text))
    return bad(
      'invalid-ca-ref',
      `ConfigMap ${policy.namespace}/${name} has no certificate in ${authoritiesKey}`,
    );
  return text;
}
