/**
 * TLS on a connection to an endpoint: who it is and whether that is whom the rule wants, which protocol it speaks, and the
 * session that makes the next connection to it cheaper.
 *
 * A session is only gone on with where everything is as it was when it was verified: its key has all of that in it.
 */
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { CulvertError } from '../base/errors.ts';
import type { EndpointTls } from '../model/endpoint-tls.ts';
import { isFor } from '../model/tls-names.ts';
import { parseSubjectAltName } from '../tunnel/subject-alt-name.ts';
import { handshakeError } from '../tunnel/tls-errors.ts';
import type { UsableTls } from './endpoint-tls.ts';

/** What may be spoken then, by its name in ALPN. */
export type Spoken = 'h2' | 'http/1.1';

export interface SecureOptions {
  /** Names the connection pool. */
  readonly key: string;
  readonly tls: UsableTls;
  /** Offered, the better one first; none: not asked. */
  readonly protocols: readonly Spoken[];
  readonly timeoutMs: number;
  /** Told why one failed, in a word. */
  readonly onFailure: (reason: string) => void;
}

/** Rejects with UPSTREAM_TLS_FAILED, or UPSTREAM_NOT_HTTP2 where only that was offered and is not spoken; the socket is closed then. */
export function secure(raw: Duplex, options: SecureOptions): Promise<tls.TLSSocket> {
  const { key, protocols, timeoutMs, onFailure } = options;
  const { wanted, context, sessions } = options.tls;
  const isVerified = wanted.trust.type !== 'unverified';
  const sessionKey = `${key} ${protocols.join()}`;
  const session = sessions.take(sessionKey);
  const socket = tls.connect({
    socket: raw,
    secureContext: context,
    minVersion: 'TLSv1.2',
    rejectUnauthorized: isVerified,
    checkServerIdentity: (_name, certificate) => (isVerified ? mismatch(certificate, wanted) : undefined),
    ...(wanted.sni === null || isIP(wanted.sni) !== 0 ? {} : { servername: wanted.sni }),
    ...(protocols.length === 0 ? {} : { ALPNProtocols: [...protocols] }),
    ...(session === undefined ? {} : { session }),
  });
  return new Promise((resolve, reject) => {
    const fail = (error: CulvertError, reason: string): void => {
      clearTimeout(timer);
      socket.destroy();
      raw.destroy();
      onFailure(reason);
      reject(error);
    };
    const timer = setTimeout(
      () => fail(failure(`no TLS handshake within ${timeoutMs} ms`, wanted), 'timeout'),
      timeoutMs,
    );
    let last: Error | null = null;
    const onError = (error: Error): void => {
      last = error;
      if (error instanceof NameError) fail(failure(error.message, wanted), 'name');
      else {
        const { code, message } = handshakeError(error, 'server', null);
        fail(failure(message, wanted, error), reasons[code] ?? 'protocol');
      }
    };
    const onClose = (): void => {
      if (last === null) fail(failure('the server left during the TLS handshake', wanted), 'closed');
    };
    socket.on('session', (next: Buffer) => sessions.put(sessionKey, next));
    socket.once('error', onError).once('close', onClose);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', onError).off('close', onClose);
      if (protocols.length === 1 && protocols[0] === 'h2' && socket.alpnProtocol !== 'h2') {
        fail(notHttp2(wanted), 'alpn');
        return;
      }
      resolve(socket);
    });
  });
}

/**
 * With TLS 1.3 a server refuses a client's certificate after the client has finished: what it says then, as an error of the
 * handshake; null where it is about something else. Nothing that was sent has been looked at.
 */
export function lateRefusal(error: Error, tls: UsableTls | null): CulvertError | null {
  if (tls === null || !('code' in error) || !/^ERR_SSL_.*_ALERT_/.test(String(error.code))) return null;
  return failure(handshakeError(error, 'server', null).message, tls.wanted, error);
}

/** What the failures of tunnels are called, in a word for the metric. */
const reasons: Readonly<Record<string, string>> = {
  TLS_NOT_TLS: 'not-tls',
  TLS_VERSION: 'version',
  TLS_ALPN_MISMATCH: 'alpn',
  TLS_ALERT: 'refused',
  TLS_HANDSHAKE_ABORTED: 'closed',
  TLS_PEER_NO_CERTIFICATE: 'untrusted',
  TLS_PEER_EXPIRED: 'expired',
  TLS_PEER_NOT_YET_VALID: 'expired',
  TLS_PEER_UNTRUSTED: 'untrusted',
};

class NameError extends Error {}

/** Why a certificate that is trusted is not the one that is wanted. */
function mismatch({ subjectaltname }: tls.PeerCertificate, { names }: EndpointTls): Error | undefined {
  const shown = parseSubjectAltName(subjectaltname ?? '') ?? [];
  if (isFor(shown, names)) return undefined;
  const wanted = names.map(({ value }) => value).join(', ');
  const has = shown.map(({ value }) => value).join(', ') || 'nobody';
  return new NameError(`the certificate of the server is for ${limited(has)}, not for ${limited(wanted)}`);
}

function limited(text: string): string {
  const plain = text.replace(/[^\x20-\x7e]/g, '?');
  return plain.length > 200 ? `${plain.slice(0, 200)}…` : plain;
}

function failure(message: string, { source }: EndpointTls, cause?: unknown): CulvertError {
  return new CulvertError('UPSTREAM_TLS_FAILED', `${message} (${source})`, { side: 'server', cause });
}

function notHttp2({ source }: EndpointTls): CulvertError {
  return new CulvertError('UPSTREAM_NOT_HTTP2', `the server does not agree on HTTP/2 (ALPN h2; ${source})`, {
    side: 'server',
    fix: 'say in appProtocol or the name of the port what it speaks',
  });
}
