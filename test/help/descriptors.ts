/**
 * Bare descriptors of loopback sockets, as the agent gets them from inside pods' namespaces, without root.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { duplicate } from '../../native/native.ts';

export interface Descriptor {
  readonly fd: number;
  readonly port: number;
}

/** A bound UDP socket. */
export async function udpDescriptor(address: '127.0.0.1' | '::1' | '::' = '127.0.0.1'): Promise<Descriptor> {
  const socket = createSocket(address === '127.0.0.1' ? 'udp4' : 'udp6');
  socket.bind(0, address);
  await once(socket, 'listening');
  const { port } = socket.address();
  const fd = duplicate(descriptorOf(address === '127.0.0.1' ? 'udp' : 'udp6', port));
  socket.close();
  return { fd, port };
}

/** A listening TCP socket. */
export async function tcpDescriptor(): Promise<Descriptor> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const fd = duplicate(descriptorOf('tcp', port));
  server.close();
  return { fd, port };
}

/** Our own descriptor of the socket that is bound to `port`, by way of its inode. */
function descriptorOf(table: 'udp' | 'udp6' | 'tcp', port: number): number {
  const inodes = new Set<string>();
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of readFileSync(`/proc/self/net/${table}`, 'utf8').split('\n').slice(1)) {
    const columns = line.trim().split(/\s+/);
    if (columns[1]?.endsWith(suffix) === true && columns[9] !== undefined)
      inodes.add(`socket:[${columns[9]}]`);
  }
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      if (inodes.has(readlinkSync(`/proc/self/fd/${name}`))) return Number(name);
    } catch {
      // Closed meanwhile.
    }
  }
  throw new Error(`no descriptor of port ${port}`);
}
