/** Which version of HTTP an endpoint is spoken to, for one try. */
import type { Way } from './balance.ts';
import type { Incoming } from './incoming.ts';
import { isGrpc } from './local-answer.ts';
import type { OutgoingVersion } from './pools.ts';

/**
 * As the traffic policy says, else as the port does, else as the client does. With TLS an endpoint may choose where none of
 * that demands one of them: gRPC has HTTP/2 only, and other protocols to go on with are asked for by HTTP/1.1 only.
 */
export function versionFor(
  { version, upgrade, head }: Incoming,
  { protocol, upstream, tls }: Way,
): OutgoingVersion {
  if (upgrade !== null) return 'http1';
  const own = version === 2 ? 'http2' : 'http1';
  const wanted = upstream?.policy.limits.version ?? 'port';
  if (wanted === 'upgrade') return 'http2';
  if (wanted === 'same') return own;
  if (protocol === 'HTTP2' || protocol === 'GRPC') return 'http2';
  if (tls === null) return own;
  return isGrpc(head) ? 'http2' : 'agreed';
}
