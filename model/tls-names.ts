/** Whether an endpoint's certificate is for one of the names that were asked for. Pure: what the names are is for the caller to read. */
import type { TlsName } from './endpoint-tls.ts';

/** A name of a certificate; the kinds are those of Node: `DNS`, `URI`, `IP Address`. */
export interface CertificateName {
  readonly kind: string;
  readonly value: string;
}

/** Whether any of the wanted names is in a certificate. */
export function isFor(certificate: readonly CertificateName[], wanted: readonly TlsName[]): boolean {
  return wanted.some(name => certificate.some(other => fits(other, name)));
}

function fits({ kind, value }: CertificateName, { type, value: wanted }: TlsName): boolean {
  switch (kind) {
    case 'DNS':
      return type !== 'uri' && fitsDns(value, wanted);
    case 'URI':
      return type !== 'dns' && value === wanted;
    case 'IP Address':
      // An address stands where a name of DNS is asked for where the host is an address itself.
      return type !== 'uri' && value.toLowerCase() === wanted.toLowerCase();
    default:
      return false;
  }
}

/** `*` stands for one whole label, the first, of a name with three at least (RFC 6125 §6.4.3). */
function fitsDns(certificate: string, wanted: string): boolean {
  const [pattern, name] = [certificate, wanted].map(text => text.toLowerCase().replace(/\.$/, '')) as [
    string,
    string,
  ];
  if (pattern === name) return true;
  if (!pattern.startsWith('*.') || pattern.indexOf('.', 2) === -1) return false;
  const dot = name.indexOf('.');
  return dot > 0 && name.slice(dot) === pattern.slice(1);
}
