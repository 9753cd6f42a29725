/**
 * An authority that somebody else has made: the Secret `cacerts` as Istio's users know it, with an intermediate
 * certificate, its key, the chain to its root, and the roots.
 */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { CulvertError } from '../base/errors.ts';
import { fingerprintOf, formatBundle, parseBundle } from '../tunnel/authority-bundle.ts';

/** The keys of the Secret; values in PEM. Without a chain the signer is issued by a root. */
export interface Cacerts {
  readonly 'ca-cert.pem': string;
  readonly 'ca-key.pem': string;
  readonly 'root-cert.pem': string;
  readonly 'cert-chain.pem'?: string;
}

const certificateBlock = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** The same as the text of a bundle. Throws CulvertError AUTHORITY_INVALID. */
export function bundleOfCacerts(cacerts: Readonly<Record<string, string>>, where: string): string {
  try {
    const entry = (name: keyof Cacerts): string => {
      const value = cacerts[name];
      if (value === undefined || value === '') throw new Error(`it has no ${name}`);
      return value;
    };
    const [signer, ...more] = certificates(entry('ca-cert.pem'));
    if (signer === undefined) throw new Error('ca-cert.pem has no certificate');
    const privateKey = createPrivateKey(entry('ca-key.pem'));
    if (!signer.checkPrivateKey(privateKey)) throw new Error('ca-key.pem is not the key of ca-cert.pem');
    const roots = certificates(entry('root-cert.pem'));
    if (roots.length === 0) throw new Error('root-cert.pem has no certificate');
    const others = [...more, ...certificates(cacerts['cert-chain.pem'] ?? ''), ...roots];
    const unique = new Map(others.map(certificate => [fingerprintOf(certificate), certificate]));
    unique.delete(fingerprintOf(signer));
    const rest = [...unique.values()].map(certificate => ({ certificate, privateKey: null }));
    const text = formatBundle([{ certificate: signer, privateKey }, ...rest]);
    parseBundle(text, where);
    return text;
  } catch (thrown) {
    if (thrown instanceof CulvertError) throw thrown;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new CulvertError('AUTHORITY_INVALID', `the authority in ${where} cannot be used: ${why}`, {
      fix: 'the Secret needs ca-cert.pem, ca-key.pem, root-cert.pem and, with more than one step to the root, cert-chain.pem',
      cause: thrown,
    });
  }
}

function certificates(pem: string): X509Certificate[] {
  return Array.from(pem.matchAll(certificateBlock), ([block]) => new X509Certificate(block));
}
