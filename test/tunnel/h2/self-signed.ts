/**
 * A throw-away certificate for TLS on loopback, made in memory; nothing here tests who the peer is.
 */
import { generateKeyPairSync } from 'node:crypto';
import forge from 'node-forge';

export interface SelfSigned {
  readonly key: string;
  readonly cert: string;
}

/** RSA, because node-forge signs no elliptic curves. */
export function selfSigned(): SelfSigned {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = privateKey.export({ type: 'pkcs1', format: 'pem' });
  const forgeKey = forge.pki.privateKeyFromPem(key);
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.setRsaPublicKey(forgeKey.n, forgeKey.e);
  certificate.serialNumber = '01';
  certificate.validity.notBefore = new Date(Date.now() - 60_000);
  certificate.validity.notAfter = new Date(Date.now() + 86_400_000);
  const name = [{ name: 'commonName', value: 'localhost' }];
  certificate.setSubject(name);
  certificate.setIssuer(name);
  certificate.sign(forgeKey, forge.md.sha256.create());
  return { key, cert: forge.pki.certificateToPem(certificate) };
}
