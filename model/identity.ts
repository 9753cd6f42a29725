/**
 * Who a workload is: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
 *
 * Identities travel as these URIs and are compared as strings, so exactly one spelling may name a service account:
 * whatever comes from a certificate is parsed strictly before it is compared or written anywhere.
 */
export interface Identity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

const scheme = 'spiffe://';
// SPIFFE-ID §2.1 and §2.2: trust domains are lower case, path segments are not folded.
const trustDomainPattern = /^[a-z0-9._-]{1,255}$/;
const segmentPattern = /^[a-zA-Z0-9._-]{1,253}$/;

export function isTrustDomain(text: string): boolean {
  return trustDomainPattern.test(text);
}

/** Whether a namespace or service account may stand in a SPIFFE ID. */
export function isIdentitySegment(text: string): boolean {
  return segmentPattern.test(text) && text !== '.' && text !== '..';
}

/**
 * Fields that could not be parsed back (a slash in a name) give a URI that `parseSpiffeId` refuses: it never equals the
 * identity of anybody, so a mistake in a name loses access and gains none.
 */
export function formatSpiffeId(identity: Identity): string {
  return `${scheme}${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}`;
}

/** Returns null for everything but the five parts above: no query, port, user, escape, empty or dot segment. */
export function parseSpiffeId(uri: string): Identity | null {
  if (!uri.startsWith(scheme)) return null;
  const [trustDomain, ns, namespace, sa, serviceAccount, ...rest] = uri.slice(scheme.length).split('/');
  if (ns !== 'ns' || sa !== 'sa' || rest.length > 0) return null;
  if (trustDomain === undefined || namespace === undefined || serviceAccount === undefined) return null;
  if (!isTrustDomain(trustDomain) || !isIdentitySegment(namespace) || !isIdentitySegment(serviceAccount))
    return null;
  return { trustDomain, namespace, serviceAccount };
}
