/**
 * Two ends of a tunnel in one process: a real authority, real certificates, a listener that answers CONNECT by echoing,
 * and a pool that dials it. What an agent does between two nodes, without namespaces or BPF.
 */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { CulvertError } from '../../base/errors.ts';
import { Authority } from '../../tunnel/authority.ts';
import { Certificates, type IssuedCertificate } from '../../tunnel/certificates.ts';
import { openTunnel, type TunnelLimits } from '../../tunnel/client.ts';
import type { H2Stream } from '../../tunnel/h2/stream.ts';
import { TunnelPool, type TunnelTarget } from '../../tunnel/pool.ts';
import { serveTunnel } from '../../tunnel/server.ts';
import { clientContext, serverContext } from '../../tunnel/tls.ts';

const clientIdentity = 'spiffe://cluster.local/ns/shop/sa/client';
const serverIdentity = 'spiffe://cluster.local/ns/shop/sa/server';

/** Short, so that what is refused is refused soon. */
const limits: TunnelLimits = {
  tlsHandshakeMs: 500,
  prefaceMs: 500,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 20_000,
  streamsPerTunnel: 100,
  tunnelMaxAgeMs: 3_600_000,
};

export interface Certified {
  readonly client: IssuedCertificate;
  readonly server: IssuedCertificate;
}

/** Certificates of the authority in a file, made there when missing; in the order of the identities. */
export async function issue<const Identities extends readonly string[]>(
  path: string,
  identities: Identities,
): Promise<{ [Index in keyof Identities]: IssuedCertificate }> {
  const authority = Authority.open({ path });
  const issued = await Promise.all(
    identities.map(
      identity =>
        new Promise<IssuedCertificate>(resolve => {
          const certificates = new Certificates({
            source: authority,
            onCertificate: (_identity, certificate) => {
              certificates.close();
              resolve(certificate);
            },
          });
          certificates.hold(identity);
        }),
    ),
  );
  authority.close();
  return issued as { [Index in keyof Identities]: IssuedCertificate };
}

/** Certificates for both ends from the authority in `directory`. */
export async function certify(directory: string): Promise<Certified> {
  const path = join(directory, 'authority.pem');
  const [client, server] = await issue(path, [clientIdentity, serverIdentity]);
  return { client, server };
}

export interface EchoServer extends AsyncDisposable {
  readonly port: number;
  /** Why tunnels were refused or ended, in order. */
  readonly errors: CulvertError[];
  /** Identities of the clients whose CONNECT arrived. */
  readonly peers: string[];
}

/** A tunnel listener on loopback that sends back what each stream sends. */
export async function echoServer(certificate: IssuedCertificate): Promise<EchoServer> {
  const errors: CulvertError[] = [];
  const peers: string[] = [];
  const context = serverContext(certificate);
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, raw => {
    sockets.add(raw);
    raw.once('close', () => sockets.delete(raw));
    serveTunnel(raw, {
      context,
      trustDomain: 'cluster.local',
      limits,
      onRequest: (stream, _request, peer) => {
        peers.push(peer);
        echo(stream);
      },
      onClose: error => {
        if (error !== null) errors.push(error);
      },
    }).catch((error: CulvertError) => errors.push(error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    errors,
    peers,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function echo(stream: H2Stream): void {
  stream.handlers = {
    onData: chunk => {
      if (!stream.write(chunk)) stream.pause();
    },
    onEnd: () => stream.end(),
    onDrain: () => stream.resume(),
    onReset: () => {},
  };
  // As late as a dialled application would answer at the earliest.
  setImmediate(() => stream.respond(200));
}

/** A pool that dials loopback with the given certificate. */
export function poolOf(certificate: IssuedCertificate, own: TunnelLimits = limits): TunnelPool {
  const context = clientContext(certificate);
  return new TunnelPool(async target => {
    const raw = net.connect({ host: target.address, port: target.port, noDelay: true, allowHalfOpen: true });
    await once(raw, 'connect');
    const shown = { context, notAfter: certificate.notAfter };
    return openTunnel(raw, { certificate: shown, target, limits: own });
  }, 300_000);
}

export function targetOf(server: EchoServer): TunnelTarget {
  return {
    address: '127.0.0.1',
    port: server.port,
    sourceIdentity: clientIdentity,
    expectedIdentities: [serverIdentity],
  };
}

/** Sends `bytes` through a new stream and returns what came back. */
export async function roundTrip(pool: TunnelPool, target: TunnelTarget, bytes: Buffer): Promise<Buffer> {
  const tunnel = await pool.acquire(target);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const stream = tunnel.connection.connect('10.0.0.1:80', [], {
      onHeaders: status => {
        if (status !== 200) reject(new Error(`status ${status}`));
        stream.write(bytes);
        stream.end();
      },
      onData: chunk => {
        chunks.push(chunk);
      },
      onEnd: () => resolve(Buffer.concat(chunks)),
      onDrain: () => {},
      onReset: (code, cause) => reject(cause ?? new Error(`reset ${code}`)),
    });
  });
}
