/** Turns what Node and OpenSSL say about a failed handshake into errors that an operator can act on. */
import { CulvertError } from '../base/errors.ts';
import type { Side } from '../base/errors.ts';

/** OpenSSL's verdict on a certificate chain, by its X509_V_ERR name (verify(1)). */
export function untrusted(reason: unknown, side: Side): CulvertError {
  const word = wordOf(reason);
  if (word === 'CERT_HAS_EXPIRED') {
    return new CulvertError('TLS_PEER_EXPIRED', `the certificate of the ${side} has expired`, {
      side,
      fix: 'see why its agent gets no new one, and compare the clocks',
    });
  }
  if (word === 'CERT_NOT_YET_VALID') {
    return new CulvertError('TLS_PEER_NOT_YET_VALID', `the certificate of the ${side} is not valid yet`, { side, fix: 'compare the clocks' });
  }
  if (word === 'NO_CERTIFICATE' || word === 'UNABLE_TO_GET_ISSUER_CERT') {
    return new CulvertError('TLS_PEER_NO_CERTIFICATE', `the ${side} showed no certificate`, {
      side,
      fix: 'only agents and waypoints of a mesh connect to this port',
    });
  }
  return new CulvertError('TLS_PEER_UNTRUSTED', `the certificate of the ${side} is not of this mesh: ${word}`, {
    side,
    fix: 'both agents must read the same certificate authority',
  });
}

interface OpenSslError extends Error {
  readonly code?: string;
  readonly reason?: string;
}

/**
 * Why a handshake failed.
 * @param error what Node emitted; null when the connection just ended
 * @param authorizationError what the server's end knows of the chain beside the error
 */
export function handshakeError(error: OpenSslError | null, side: Side, authorizationError: unknown): CulvertError {
  if (error === null) return new CulvertError('TLS_PEER_GONE', `the ${side} ended the connection in the handshake`, { side });
  const code = error.code ?? '';
  if (verificationCodes.has(code)) return untrusted(code, side);
  if (authorizationError !== null && authorizationError !== undefined) return untrusted(authorizationError, side);
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') return untrusted('NO_CERTIFICATE', side);
  if (code === 'ERR_SSL_NO_APPLICATION_PROTOCOL' || code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL') {
    return new CulvertError('TLS_ALPN_MISMATCH', `the ${side} does not speak h2`, { side, cause: error });
  }
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    return new CulvertError('TLS_PEER_GONE', `the ${side} ended the connection in the handshake: ${code}`, { side, cause: error });
  }
  if (/ALERT/.test(code)) {
    return new CulvertError('TLS_PEER_REFUSED_US', `the ${side} refused our certificate: ${error.reason ?? code}`, {
      side: 'us',
      fix: 'both agents must read the same certificate authority, and their clocks agree',
      cause: error,
    });
  }
  return new CulvertError('TLS_HANDSHAKE_FAILED', `no TLS with the ${side}: ${error.reason ?? error.message}`, {
    side,
    fix: 'only agents and waypoints of a mesh connect to this port',
    cause: error,
  });
}

const verificationCodes = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'CERT_CHAIN_TOO_LONG',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

function wordOf(reason: unknown): string {
  if (reason instanceof Error) return (reason as OpenSslError).code ?? reason.message;
  return String(reason);
}
