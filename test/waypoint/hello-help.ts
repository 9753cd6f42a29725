/** First messages of TLS clients: those of a real one, and any that can be written. */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';

/** Bytes with their length in front, as TLS has lists. */
export function vector(width: 1 | 2 | 3, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(width);
  head.writeUIntBE(body.length, 0, width);
  return Buffer.concat([head, body]);
}

export function extension(type: number, body: Buffer): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(type);
  return Buffer.concat([head, vector(2, body)]);
}

/** The extension that asks for a name. */
export function nameOf(name: string, type = 0): Buffer {
  return extension(0, vector(2, Buffer.from([type]), vector(2, Buffer.from(name, 'latin1'))));
}

/** A handshake message with these extensions. */
export function message(extensions: readonly Buffer[], more: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32, 7)]);
  const lists = [
    vector(1, Buffer.alloc(32, 1)),
    vector(2, Buffer.from([0x13, 1])),
    vector(1, Buffer.from([0])),
  ];
  const body = Buffer.concat([head, ...lists, vector(2, ...extensions), more]);
  return Buffer.concat([Buffer.from([1]), vector(3, body)]);
}

/** Bytes as records of at most so many. */
export function records(bytes: Buffer, size = 16_384): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size)
    pieces.push(Buffer.from([22, 3, 1]), vector(2, bytes.subarray(at, at + size)));
  return Buffer.concat(pieces);
}

/** A whole ClientHello that asks for a name. */
export function helloFor(name: string): Buffer {
  return records(message([nameOf(name)]));
}

/** What Node's own client sends first. */
export async function realHello(options: tls.ConnectionOptions): Promise<Buffer> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = tls.connect({ ...options, host: '127.0.0.1', port });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}
