/**
 * An application in the mesh, as a waypoint meets it: its agent brings a connection through a tunnel, and on that are bytes,
 * or requests of Node's own client.
 */
import { once } from 'node:events';
import http from 'node:http';
import type { Duplex } from 'node:stream';
import type { TunnelPool } from '../../tunnel/pool.ts';
import { StreamSocket } from '../../waypoint/stream-socket.ts';

export interface Way {
  /** Of the waypoint, on this machine. */
  readonly port: number;
  readonly waypointIdentity: string;
  /** Where the application wants to go. */
  readonly authority: string;
  /** What the agent says besides. */
  readonly fields?: readonly (readonly [name: string, value: string])[];
}

export async function throughTunnel(pool: TunnelPool, way: Way): Promise<Duplex> {
  const { connection } = await pool.acquire({
    address: '127.0.0.1',
    port: way.port,
    sourceIdentity: 'client',
    expectedIdentities: [way.waypointIdentity],
  });
  return new Promise((resolve, reject) => {
    const stream = connection.connect(way.authority, way.fields ?? [], {
      onHeaders: status => {
        if (status !== 200) {
          reject(new Error(`status ${status}`));
          return;
        }
        stream.pause();
        resolve(new StreamSocket(stream).on('error', () => {}));
      },
      onData: () => {},
      onEnd: () => {},
      onDrain: () => {},
      onReset: (code, cause) => reject(cause ?? new Error(`reset ${code}`)),
    });
  });
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  readonly trailers: NodeJS.Dict<string>;
}

/** The one request of a connection. */
export async function request(
  socket: Duplex,
  path: string,
  options: http.RequestOptions & { body?: string } = {},
): Promise<Answer> {
  const { body, ...rest } = options;
  const outgoing = http.request({
    path,
    ...rest,
    headers: { host: 'web', connection: 'close', ...(rest.headers as http.OutgoingHttpHeaders) },
    createConnection: () => socket,
  });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response) text += String(chunk);
  socket.destroy();
  return { status: response.statusCode ?? 0, headers: response.headers, text, trailers: response.trailers };
}
