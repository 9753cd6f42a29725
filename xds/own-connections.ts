/**
 * Channel credentials that know their connections, and can end them all.
 *
 * A gRPC channel that is closed forgets a connection whose TLS handshake is still under way: the socket stays open for as
 * long as the other side likes. Against a server that takes connections and says nothing every attempt would leave one.
 */
import type { Socket } from 'node:net';
import { ChannelCredentials } from '@grpc/grpc-js';

type ConnectorOptions = Parameters<ChannelCredentials['_createSecureConnector']>;
type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

export class OwnConnections extends ChannelCredentials {
  readonly #secure: ChannelCredentials;
  readonly #sockets = new Set<Socket>();
  #ended = false;

  constructor(secure: ChannelCredentials) {
    super();
    this.#secure = secure;
  }

  override _isSecure(): boolean {
    return this.#secure._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...options: ConnectorOptions): Connector {
    const connector = this.#secure._createSecureConnector(...options);
    return {
      connect: socket => {
        this.#own(socket);
        return connector.connect(socket);
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }

  /** Ends every connection, at whatever stage it is, and those that come late. */
  end(): void {
    this.#ended = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  #own(socket: Socket): void {
    if (this.#ended) socket.destroy();
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
