/**
 * The way to a control plane: gRPC over TLS, with the roots and the token of files that change while an agent runs.
 *
 * Discovery, certificates and reports of a node each have one. Roots are read whenever a connection is made, the token
 * with every call (a kubelet renews it about hourly). There is no way to do without TLS: the token would be anybody's.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext } from 'node:tls';
import { ChannelCredentials, Client, Metadata, credentials } from '@grpc/grpc-js';
import type { CallCredentials, ClientOptions } from '@grpc/grpc-js';
import { CulvertError } from '../base/errors.ts';
import { parseHostPort } from '../model/address.ts';
import { OwnConnections } from './own-connections.ts';
import { certificatesOf } from './pem.ts';

export interface ControlEndpoint {
  /** `host:port` */
  readonly address: string;
  /** PEM file of the roots its certificate must come from; null: those of the machine. */
  readonly rootPath: string | null;
  /** File of the bearer token; null: none is sent. */
  readonly tokenPath: string | null;
  /** The DNS name its certificate must have, and the authority of calls; null: the host of `address`. */
  readonly serverName: string | null;
  /** Metadata of every call, such as `clusterid`. Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The whole state of a large mesh comes in one message. Servers of large meshes need the same limit for requests. */
export const maxMessageBytes = 200 * 1_024 * 1_024;

const keepaliveMs = 30_000;
const keepaliveTimeoutMs = 10_000;
const windowBytes = 4 * 1_024 * 1_024;

export class ControlChannel {
  readonly endpoint: ControlEndpoint;
  #open: OpenChannel | null = null;

  constructor(endpoint: ControlEndpoint) {
    this.endpoint = endpoint;
  }

  /**
   * For one call, now. The connection is that of the call before, unless the file of roots has changed. Throws CulvertError
   * CONTROL_ROOT or CONTROL_ADDRESS.
   */
  client(): Client {
    const roots = this.#roots();
    if (this.#open !== null && this.#open.roots === roots) return this.#open.client;
    this.disconnect();
    this.#open = connect(this.endpoint, roots);
    return this.#open.client;
  }

  /** Ends the connection and the calls on it; the next call makes a new one, at once. */
  disconnect(): void {
    this.#open?.client.close();
    this.#open?.connections.end();
    this.#open = null;
  }

  #roots(): string | null {
    const { rootPath } = this.endpoint;
    if (rootPath === null) return null;
    try {
      const pem = readFileSync(rootPath, 'utf8');
      if (pem !== this.#open?.roots) certificatesOf(pem);
      return pem;
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      throw new CulvertError('CONTROL_ROOT', `no roots to check ${this.endpoint.address} with: ${why}`, {
        fix: `give the roots of the control plane's certificate in ${rootPath}`,
        cause: thrown,
      });
    }
  }
}

interface OpenChannel {
  readonly client: Client;
  readonly connections: OwnConnections;
  readonly roots: string | null;
}

function connect(endpoint: ControlEndpoint, roots: string | null): OpenChannel {
  const place = parseHostPort(endpoint.address);
  if (place === null) {
    throw new CulvertError('CONTROL_ADDRESS', `${JSON.stringify(endpoint.address)} is not host:port`);
  }
  const name = endpoint.serverName ?? place.host;
  const options: ClientOptions = {
    'grpc.default_authority': `${isIP(name) === 6 ? `[${name}]` : name}:${place.port}`,
    'grpc.keepalive_time_ms': keepaliveMs,
    'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc-node.flow_control_window': windowBytes,
    // Every channel has connections of its own, so that a new channel means a new connection.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_retries': 0,
    // The control plane is inside; a proxy of the environment is for the world outside.
    'grpc.enable_http_proxy': 0,
  };
  // TLS sends names in the greeting, addresses never.
  if (isIP(name) === 0) options['grpc.ssl_target_name_override'] = name;
  const context = createSecureContext({ minVersion: 'TLSv1.3', ...(roots === null ? {} : { ca: roots }) });
  const secure = ChannelCredentials.createFromSecureContext(context, {
    checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
  });
  const connections = new OwnConnections(secure);
  const all = credentials.combineChannelCredentials(connections, callCredentials(endpoint));
  return { client: new Client(endpoint.address, all, options), connections, roots };
}

/** What stands in the status of a call whose token could not be read; see channel-errors.ts. */
export const tokenTrouble = 'no token to show';

function callCredentials({ tokenPath, headers }: ControlEndpoint): CallCredentials {
  return credentials.createFromMetadataGenerator((_params, answer) => {
    callMetadata(tokenPath, headers).then(
      metadata => answer(null, metadata),
      (thrown: Error) => answer(thrown),
    );
  });
}

async function callMetadata(
  tokenPath: string | null,
  headers: Readonly<Record<string, string>>,
): Promise<Metadata> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  if (tokenPath === null) return metadata;
  const token = await readToken(tokenPath);
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

async function readToken(path: string): Promise<string> {
  try {
    const token = (await readFile(path, 'utf8')).trim();
    // What is in the file is a secret even if it's no token, so it is not said.
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Error(`${path} is empty or no token`);
    return token;
  } catch (thrown) {
    throw new Error(`${tokenTrouble}: ${(thrown as Error).message}`, { cause: thrown });
  }
}
