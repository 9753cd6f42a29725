/**
 * Mutual TLS 1.3 as HBONE wants it: ALPN h2, a certificate on both sides, no SNI, no resumption. Runs in the shards.
 *
 * OpenSSL verifies chain, validity and purpose; peer.ts decides who it was. A socket leaves here either verified or
 * destroyed, and whatever a peer does ends as one CulvertError.
 */
import { constants } from 'node:crypto';
import type net from 'node:net';
import tls from 'node:tls';
import type { SecureContext, SecureContextOptions, TLSSocket } from 'node:tls';
import { CulvertError } from '../base/errors.ts';
import type { IssuedCertificate } from './certificates.ts';
import { verifyPeer } from './peer.ts';
import { handshakeError } from './tls-errors.ts';

/** A connection whose peer has been verified. Its errors may be left unheard; 'close' always comes. */
export interface SecureConnection {
  readonly socket: TLSSocket;
  /** SPIFFE ID of the peer. */
  readonly identity: string;
}

export interface AcceptOptions {
  /** The peer must be of this trust domain. */
  readonly trustDomain: string;
  /** Deadline for the whole handshake, however many bytes trickle in meanwhile. */
  readonly timeoutMs: number;
}

export interface ConnectOptions {
  /** SPIFFE IDs; the peer must prove one of them. */
  readonly expectedIdentities: readonly string[];
  readonly timeoutMs: number;
}

/**
 * One per certificate. A `tls.Server` that never listens: connections are put into it. It opens as many per second as a
 * bare TLSSocket, and the verdict on the peer's chain comes by a public property.
 */
export type ServerContext = tls.Server;
export type ClientContext = SecureContext;

const alpn = ['h2'];

/** A handshake under way on a raw socket. */
interface Handshake {
  readonly succeed: (socket: TLSSocket) => void;
  readonly fail: (error: CulvertError) => void;
}

const handshakes = new WeakMap<net.Socket, Handshake>();

export function serverContext(certificate: IssuedCertificate): ServerContext {
  const server = tls.createServer({
    ...contextOptions(certificate),
    honorCipherOrder: true,
    ALPNProtocols: alpn,
    requestCert: true,
    rejectUnauthorized: true,
  });
  server.on('secureConnection', socket => {
    const handshake = handshakeOf(socket);
    if (handshake === null) socket.destroy();
    else handshake.succeed(socket);
  });
  server.on('tlsClientError', (error: Error, socket) => {
    handshakeOf(socket)?.fail(handshakeError(error, 'client', socket.authorizationError));
  });
  return server;
}

export function clientContext(certificate: IssuedCertificate): ClientContext {
  return tls.createSecureContext(contextOptions(certificate));
}

/** The server's end. Rejects with a TLS_ CulvertError; the socket is then destroyed. */
export function acceptTls(
  raw: net.Socket,
  context: ServerContext,
  options: AcceptOptions,
): Promise<SecureConnection> {
  return handshake(raw, 'client', options.timeoutMs, ({ fail, done }) => {
    handshakes.set(raw, {
      fail,
      succeed: socket => {
        const peer = socket.getPeerX509Certificate();
        done(
          socket,
          verifyPeer(
            {
              authorized: socket.authorized,
              authorizationError: socket.authorizationError,
              alpnProtocol: socket.alpnProtocol,
              subjectAltName: peer === undefined ? null : (peer.subjectAltName ?? ''),
            },
            { role: 'server', trustDomain: options.trustDomain },
          ),
        );
      },
    });
    context.emit('connection', raw);
  });
}

/** The client's end. Rejects with a TLS_ CulvertError; the socket is then destroyed. */
export function connectTls(
  raw: net.Socket,
  context: ClientContext,
  options: ConnectOptions,
): Promise<SecureConnection> {
  return handshake(raw, 'server', options.timeoutMs, ({ fail, done }) => {
    let subjectAltName: string | null = null;
    const socket = tls.connect({
      socket: raw,
      secureContext: context,
      ALPNProtocols: alpn,
      rejectUnauthorized: true,
      // Called only for a chain that OpenSSL found good. There is no host name to compare: who it must be is decided below.
      checkServerIdentity: (_host, certificate) => {
        subjectAltName = certificate.subjectaltname ?? '';
        return undefined;
      },
    });
    socket.once('error', error => fail(handshakeError(error, 'server', null)));
    socket.once('secureConnect', () => {
      const { authorized, authorizationError, alpnProtocol } = socket;
      const { expectedIdentities } = options;
      done(
        socket,
        verifyPeer(
          { authorized, authorizationError, alpnProtocol, subjectAltName },
          { role: 'client', expectedIdentities },
        ),
      );
    });
  });
}

function contextOptions(certificate: IssuedCertificate): SecureContextOptions {
  return {
    key: certificate.privateKeyPem,
    // With the leaf alone, OpenSSL would look for its issuer and verify our own chain at every handshake (a tenth of it),
    // and send the root as well.
    cert: `${certificate.certificatePem}\n${firstBlock(certificate.rootsPem)}`,
    ca: certificate.rootsPem,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384',
    // What is recorded today stays secret from tomorrow's quantum computers; costs a tenth of a handshake.
    ecdhCurve: 'X25519MLKEM768:X25519:P-256:P-384',
    // A resumed session would skip the peer's certificate. Tickets then name no session that a server could find.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

interface Attempt {
  readonly fail: (error: CulvertError) => void;
  /** Takes the verdict of `verifyPeer`. */
  readonly done: (socket: TLSSocket, verdict: string | CulvertError) => void;
}

/** Deadline, early close and cleaning up for either end; `peer` is the side at fault when it fails. */
function handshake(
  raw: net.Socket,
  peer: 'client' | 'server',
  timeoutMs: number,
  begin: (attempt: Attempt) => void,
): Promise<SecureConnection> {
  return new Promise((resolve, reject) => {
    const fail = (error: CulvertError): void => {
      if (!finish()) return;
      raw.destroy();
      reject(error);
    };
    const done = (socket: TLSSocket, verdict: string | CulvertError): void => {
      if (verdict instanceof CulvertError) {
        fail(verdict);
      } else if (finish()) {
        socket.on('error', ignore);
        resolve({ socket, identity: verdict });
      }
    };
    // Errors of TLS come by the TLSSocket a little later than the end of what carries it, and say more.
    const onClose = (): void => void setImmediate(() => fail(handshakeError(null, peer, null)));
    const timer = setTimeout(() => {
      fail(
        new CulvertError('TLS_HANDSHAKE_TIMEOUT', `no TLS handshake within ${timeoutMs} ms`, { side: peer }),
      );
    }, timeoutMs);
    let finished = false;
    const finish = (): boolean => {
      if (finished) return false;
      finished = true;
      clearTimeout(timer);
      raw.removeListener('close', onClose);
      handshakes.delete(raw);
      return true;
    };
    raw.on('error', ignore);
    raw.once('close', onClose);
    if (raw.destroyed) return onClose();
    // Half-close is for streams. A peer that sends FIN during the handshake has left.
    raw.allowHalfOpen = false;
    begin({ fail, done });
  });
}

/** Node offers no public way from a server's TLSSocket to the socket it was made of. If this one ends, nobody gets in. */
function handshakeOf(socket: TLSSocket): Handshake | null {
  const raw: unknown = Reflect.get(socket, '_parent');
  return handshakes.get(raw as net.Socket) ?? null;
}

function firstBlock(pem: string): string {
  return /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(pem)?.[0] ?? '';
}

function ignore(): void {}
