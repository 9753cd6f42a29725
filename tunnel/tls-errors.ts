/**
 * Turns what Node and OpenSSL say about a failed handshake into errors that an operator can act on.
 */
import { CulvertError } from '../base/errors.ts';
import type { Side } from '../base/errors.ts';

const onlyMesh =
  'only agents and waypoints connect to this port; send application traffic to the application port';
const clocks = 'compare the clocks of both nodes; if they agree, see why its certificate was not renewed';
const roots = 'both agents need a root in common: compare `culvert authority status` on both nodes';
const itsLog = 'if it goes on, see in its log whether it refused our certificate';

/** What each code says of the PEER, and the likely fix. */
const meanings = {
  TLS_NOT_TLS: ['the PEER sent something that is not TLS', onlyMesh],
  TLS_VERSION: ['the PEER does not speak TLS 1.3', 'HBONE needs TLS 1.3 on both sides'],
  TLS_ALPN_MISMATCH: ['the PEER did not agree on ALPN h2', onlyMesh],
  TLS_NO_COMMON_SUITE: [
    'no cipher suite or key exchange in common with the PEER',
    'HBONE needs AES-128-GCM or AES-256-GCM with X25519, P-256 or P-384',
  ],
  TLS_PROTOCOL: ['the PEER broke the TLS protocol', null],
  TLS_ALERT: ['the PEER ended the handshake with an alert', itsLog],
  TLS_HANDSHAKE_ABORTED: ['the PEER left during the TLS handshake', itsLog],
  TLS_PEER_NO_CERTIFICATE: ['the PEER showed no certificate', onlyMesh],
  TLS_PEER_EXPIRED: ['the certificate of the PEER has expired', clocks],
  TLS_PEER_NOT_YET_VALID: ['the certificate of the PEER is not valid yet', clocks],
  TLS_PEER_UNTRUSTED: ['the certificate of the PEER is not trusted', roots],
} as const;

export type TlsErrorCode = keyof typeof meanings;

/** Codes of Node's errors, without `ERR_SSL_`, and OpenSSL's verdicts on certificates, without `X509_V_ERR_`. */
const known: Readonly<Record<string, TlsErrorCode>> = {
  WRONG_VERSION_NUMBER: 'TLS_NOT_TLS',
  HTTP_REQUEST: 'TLS_NOT_TLS',
  HTTPS_PROXY_REQUEST: 'TLS_NOT_TLS',
  DATA_LENGTH_TOO_LONG: 'TLS_NOT_TLS',
  UNSUPPORTED_PROTOCOL: 'TLS_VERSION',
  TLSV1_ALERT_PROTOCOL_VERSION: 'TLS_VERSION',
  NO_APPLICATION_PROTOCOL: 'TLS_ALPN_MISMATCH',
  TLSV1_ALERT_NO_APPLICATION_PROTOCOL: 'TLS_ALPN_MISMATCH',
  NO_SHARED_CIPHER: 'TLS_NO_COMMON_SUITE',
  NO_SUITABLE_KEY_SHARE: 'TLS_NO_COMMON_SUITE',
  NO_SUITABLE_GROUPS: 'TLS_NO_COMMON_SUITE',
  PEER_DID_NOT_RETURN_A_CERTIFICATE: 'TLS_PEER_NO_CERTIFICATE',
  // What OpenSSL says of a chain of no certificates.
  UNABLE_TO_GET_ISSUER_CERT: 'TLS_PEER_NO_CERTIFICATE',
  CERT_HAS_EXPIRED: 'TLS_PEER_EXPIRED',
  CERT_NOT_YET_VALID: 'TLS_PEER_NOT_YET_VALID',
};

/** `detail` follows the message, for what the code alone doesn't say. */
export function tlsError(
  code: TlsErrorCode,
  peer: Side,
  detail: string | null,
  cause?: unknown,
): CulvertError {
  const [template, fix] = meanings[code];
  const message = template.replace('PEER', peer) + (detail === null ? '' : `: ${detail}`);
  return new CulvertError(code, message, { side: peer, fix, cause });
}

/**
 * Why a handshake failed. `error` is what the socket said last, null when it just closed; `verdict` is OpenSSL's on the
 * peer's certificate, if it came to one.
 */
export function handshakeError(error: Error | null, peer: Side, verdict: unknown): CulvertError {
  if (typeof verdict === 'string') return untrusted(verdict, peer);
  const code = error !== null && 'code' in error && typeof error.code === 'string' ? error.code : '';
  const [, sslCode] = /^ERR_SSL_(.*)/.exec(code) ?? [];
  if (sslCode !== undefined) {
    const plain = known[sslCode];
    if (plain !== undefined) return tlsError(plain, peer, null, error);
    const [, alert] = /_ALERT_(.*)/.exec(sslCode) ?? [];
    return alert === undefined
      ? tlsError('TLS_PROTOCOL', peer, inWords(sslCode), error)
      : tlsError('TLS_ALERT', peer, inWords(alert), error);
  }
  // A client learns the verdict by the code of the error; codes of system calls have no underscore.
  if (code.includes('_') && !code.startsWith('ERR_')) return untrusted(code, peer);
  return tlsError(
    'TLS_HANDSHAKE_ABORTED',
    peer,
    code === '' || code === 'ECONNRESET' ? null : code,
    error ?? undefined,
  );
}

/** For a certificate that OpenSSL did not accept. */
export function untrusted(verdict: string, peer: Side): CulvertError {
  const plain = known[verdict];
  return plain === undefined
    ? tlsError('TLS_PEER_UNTRUSTED', peer, inWords(verdict))
    : tlsError(plain, peer, null);
}

function inWords(code: string): string {
  return code.toLowerCase().replaceAll('_', ' ');
}
