/** Certificates in PEM, as files of roots and answers of certificate services have them. */
import { X509Certificate } from 'node:crypto';

const block = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** All of a text, whatever else stands in it. Throws for one that cannot be read, and for none. */
export function certificatesOf(pem: string): readonly X509Certificate[] {
  const certificates = (pem.match(block) ?? []).map(text => new X509Certificate(text));
  if (certificates.length === 0) throw new Error('there is no certificate in it');
  return certificates;
}
