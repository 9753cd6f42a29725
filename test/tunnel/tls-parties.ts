/** Who shakes hands in tests of TLS: two identities of one root, strangers, and what Node's own ends would be told. */
import type { Socket } from 'node:net';
import type tls from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { CulvertError } from '../../base/errors.ts';
import { makeCertificate, makeRoot, type TestCertificate } from './pki.ts';

export const cart = 'spiffe://cluster.local/ns/shop/sa/cart';
export const prices = 'spiffe://cluster.local/ns/shop/sa/prices';
export const foreign = 'spiffe://other.example/ns/shop/sa/cart';
export const hourMs = 3_600_000;
export const root = makeRoot();
export const otherRoot = makeRoot();
export const server = makeCertificate(root, prices);
export const client = makeCertificate(root, cart);
export const accept = { trustDomain: 'cluster.local', timeoutMs: 5_000 };
export const connect = { expectedIdentities: [prices], timeoutMs: 5_000 };

/** How a well-made client of Node's would connect with this certificate, for tests to spoil. */
export function options(certificate: TestCertificate): ConnectionOptions {
  return {
    key: certificate.privateKeyPem,
    cert: certificate.certificatePem,
    ca: root.pem,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  };
}

/** Why it was refused. */
export async function rejection(promise: Promise<unknown>): Promise<CulvertError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof CulvertError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

export async function closed(socket: Socket | TLSSocket): Promise<void> {
  socket.resume();
  if (!socket.closed) await new Promise(resolve => socket.once('close', resolve));
}

/** The same of a server. */
export function serving(certificate: TestCertificate): tls.TlsOptions {
  return {
    key: certificate.privateKeyPem,
    cert: certificate.certificatePem,
    ca: root.pem,
    ALPNProtocols: ['h2'],
  };
}
