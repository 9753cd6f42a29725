/**
 * Who is at the other end of a finished handshake, and whether it may be: the decision that the mesh rests on.
 *
 * The server's end accepts anybody of its own trust domain (what they may do is policy). The client's end accepts only
 * the workload that it meant to reach.
 */
import { CulvertError } from '../base/errors.ts';
import type { Side } from '../base/errors.ts';
import { peerIdentity } from './subject-alt-name.ts';
import { tlsError, untrusted } from './tls-errors.ts';

export interface PeerFacts {
  /** OpenSSL's verdict on chain, validity and purpose, and its word for why not. */
  readonly authorized: boolean;
  readonly authorizationError: unknown;
  readonly alpnProtocol: string | false | null;
  /** As Node prints it; empty when the certificate has none, null when there is no certificate. */
  readonly subjectAltName: string | null;
}

/** `role` is ours. */
export type PeerExpectation =
  | { readonly role: 'server'; readonly trustDomain: string }
  | { readonly role: 'client'; readonly expectedIdentities: readonly string[] };

/** Returns the peer's SPIFFE ID, or why it is refused. */
export function verifyPeer(facts: PeerFacts, expected: PeerExpectation): string | CulvertError {
  const side: Side = expected.role === 'server' ? 'client' : 'server';
  if (!facts.authorized) return untrusted(String(facts.authorizationError), side);
  if (facts.subjectAltName === null) return tlsError('TLS_PEER_NO_CERTIFICATE', side, null);
  if (facts.alpnProtocol !== 'h2') return tlsError('TLS_ALPN_MISMATCH', side, null);
  const peer = peerIdentity(facts.subjectAltName);
  if (peer.identity === null) {
    return new CulvertError(
      'TLS_PEER_NO_IDENTITY',
      `the certificate of the ${side} names no workload: ${peer.problem}`,
      {
        side,
        fix: 'issue its certificate with exactly one URI, its SPIFFE ID',
      },
    );
  }
  if (expected.role === 'server') {
    if (peer.trustDomain === expected.trustDomain) return peer.identity;
    const message = `the client is ${peer.identity}, and this mesh has the trust domain ${expected.trustDomain}`;
    return new CulvertError('TLS_PEER_WRONG_TRUST_DOMAIN', message, {
      side,
      fix: 'give both meshes the same trust domain in MeshConfig, or keep their roots apart',
    });
  }
  if (expected.expectedIdentities.includes(peer.identity)) return peer.identity;
  const wanted = expected.expectedIdentities.join(' or ') || 'nobody';
  return new CulvertError(
    'TLS_PEER_WRONG_IDENTITY',
    `the server is ${peer.identity}, expected was ${wanted}`,
    {
      side,
      fix: 'the address may have passed to another pod; that ends when the configuration catches up',
    },
  );
}
