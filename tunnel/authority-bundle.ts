/**
 * What the authority's file says: PEM blocks of certificates, and of the private keys of those that may sign.
 *
 * The certificate of the first key signs; every self-signed certificate is a trusted root. Between the blocks there may
 * be lines that start with `#`. Anything else is refused as a whole: a block lost to a typing mistake would mean a
 * root that is trusted no longer.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { CulvertError } from '../base/errors.ts';

export interface AuthorityEntry {
  readonly certificate: X509Certificate;
  /** Null for roots that are only trusted, and for certificates between the signer and its root. */
  readonly privateKey: KeyObject | null;
}

/** The signer is the first entry with a key. */
export type AuthorityBundle = readonly AuthorityEntry[];

export interface Signer {
  readonly certificate: X509Certificate;
  readonly privateKey: KeyObject;
  /** Certificates that a leaf needs with it, in PEM; empty when the signer is a root itself. */
  readonly chainPem: string;
  readonly root: X509Certificate;
}

const block = /-----BEGIN ([A-Z0-9 ]+)-----\r?\n[^-]*-----END \1-----/g;
const keyLabels = new Set(['PRIVATE KEY', 'EC PRIVATE KEY', 'RSA PRIVATE KEY']);
const head =
  '# Certificate authority of a Culvert mesh. The first key signs, every root is trusted.\n' +
  '# Keep it secret: who has it can be any workload. `culvert authority rotate` replaces roots without an outage.\n';

/** `where` names the text in errors. Throws CulvertError AUTHORITY_INVALID. */
export function parseBundle(text: string, where: string): AuthorityBundle {
  try {
    const bundle = entriesOf(text);
    signerOf(bundle);
    return bundle;
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new CulvertError(
      'AUTHORITY_INVALID',
      `the certificate authority in ${where} cannot be used: ${why}`,
      {
        fix: 'put the file back from a backup, or remove it and let the next agent make a new authority',
        cause: thrown,
      },
    );
  }
}

export function formatBundle(bundle: AuthorityBundle): string {
  const blocks = bundle.map(({ certificate, privateKey }) => {
    const key = privateKey === null ? '' : privateKey.export({ type: 'pkcs8', format: 'pem' });
    const subject = certificate.subject.replace(/\n/g, ', ');
    return `\n# ${subject}, until ${certificate.validTo}\n${key}${certificate.toString()}`;
  });
  return head + blocks.join('');
}

/** Throws when nothing in the bundle can sign; a bundle from `parseBundle` always can. */
export function signerOf(bundle: AuthorityBundle): Signer {
  const entry = bundle.find(({ privateKey }) => privateKey !== null);
  if (entry === undefined || entry.privateKey === null) throw new Error('it has no private key');
  const chain: X509Certificate[] = [];
  let root = entry.certificate;
  while (!isSelfSigned(root)) {
    chain.push(root);
    const issuer = bundle.find(({ certificate }) => isIssuedBy(root, certificate))?.certificate;
    if (issuer === undefined || chain.includes(issuer))
      throw new Error(`the issuer of ${nameOf(root)} is not in it`);
    root = issuer;
  }
  const chainPem = chain.map(certificate => certificate.toString()).join('');
  return { certificate: entry.certificate, privateKey: entry.privateKey, chainPem, root };
}

export function rootsOf(bundle: AuthorityBundle): X509Certificate[] {
  return bundle.map(({ certificate }) => certificate).filter(isSelfSigned);
}

/** SHA-256 of the certificate, as operators compare it: lower-case hex. */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

function entriesOf(text: string): AuthorityEntry[] {
  const between = text.replace(block, pem => pem.replace(/[^\n]/g, ''));
  for (const [index, line] of between.split('\n').entries()) {
    // Never with its text: it may be a piece of a key.
    if (!/^\s*(#|$)/.test(line)) throw new Error(`line ${index + 1} is neither PEM nor a comment`);
  }
  const certificates: X509Certificate[] = [];
  const keys: KeyObject[] = [];
  for (const [pem, label = ''] of text.matchAll(block)) {
    if (label === 'CERTIFICATE') certificates.push(new X509Certificate(pem));
    else if (keyLabels.has(label)) keys.push(createPrivateKey(pem));
    else throw new Error(`blocks of type ${label} have no place in it`);
  }
  if (certificates.length === 0) throw new Error('it has no certificate');
  for (const certificate of certificates) {
    if (!certificate.subject) throw new Error('a certificate in it has no name');
    if (!certificate.ca) throw new Error(`${nameOf(certificate)} is not a certificate authority`);
  }
  if (new Set(certificates.map(fingerprintOf)).size < certificates.length)
    throw new Error('a certificate is in it twice');
  const owned = keys.map(privateKey => {
    const certificate = certificates.find(candidate => candidate.checkPrivateKey(privateKey));
    if (certificate === undefined) throw new Error('a private key fits none of its certificates');
    return { certificate, privateKey };
  });
  if (new Set(owned.map(({ certificate }) => certificate)).size < owned.length)
    throw new Error('a key is in it twice');
  // Those with keys in the order of the keys, so that the first one signs.
  const others = certificates.filter(certificate => !owned.some(entry => entry.certificate === certificate));
  return [...owned, ...others.map(certificate => ({ certificate, privateKey: null }))];
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return isIssuedBy(certificate, certificate);
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function nameOf(certificate: X509Certificate): string {
  return JSON.stringify(certificate.subject.replace(/\n/g, ', '));
}
