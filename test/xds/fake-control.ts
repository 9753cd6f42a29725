/**
 * A control plane of a test: real gRPC over TLS on the loopback, and answers that are what the test says.
 */
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { protocols } from '../../proto/load.ts';
import type { Sparse } from '../../proto/load.ts';
import type {
  WireCertificateRequest,
  WireCertificateResponse,
  WireDeltaRequest,
  WireDeltaResponse,
} from '../../proto/messages.ts';
import type { ControlEndpoint } from '../../xds/channel.ts';
import { maxMessageBytes } from '../../xds/channel.ts';
import { makeOddCertificate, makeRoot } from '../tunnel/pki.ts';
import type { TestRoot } from '../tunnel/pki.ts';

export const serverName = 'control.test';

type Raw = WireDeltaResponse | Buffer;
type Duplex = ServerDuplexStream<WireDeltaRequest, Raw>;

/** Items for whoever waits for them, in their order. */
export class Mailbox<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  put(item: T): void {
    const first = this.#waiting.shift();
    if (first === undefined) this.#items.push(item);
    else first(item);
  }

  take(): Promise<T> {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift() as T);
    return new Promise(resolve => this.#waiting.push(resolve));
  }

  /** What nobody has taken yet. */
  get left(): readonly T[] {
    return this.#items;
  }
}

/** The server's end of a discovery stream. */
export class FakeStream {
  readonly #call: Duplex;
  readonly metadata: Metadata;
  readonly requests = new Mailbox<WireDeltaRequest>();
  readonly ended: Promise<void>;

  constructor(call: Duplex, quiet: boolean) {
    this.#call = call;
    if (!quiet) call.sendMetadata(new Metadata());
    this.metadata = call.metadata;
    call.on('data', (request: WireDeltaRequest) => this.requests.put(request));
    call.on('error', () => {});
    this.ended = new Promise(resolve => {
      call.on('cancelled', resolve);
      call.on('end', resolve);
    });
  }

  /** The next request for this type URL; others before it are passed over. */
  async request(typeUrl: string): Promise<WireDeltaRequest> {
    for (;;) {
      const request = await this.requests.take();
      if (request.typeUrl === typeUrl) return request;
    }
  }

  send(response: Sparse<WireDeltaResponse>): void {
    this.#call.write(protocols.deltaResponse.create(response));
  }

  /** Bytes that stand where a message should. */
  sendRaw(bytes: Buffer): void {
    this.#call.write(bytes);
  }

  end(): void {
    this.#call.end();
  }

  fail(code: status, details: string): void {
    this.#call.emit('error', { code, details });
  }
}

type Sign = (
  request: WireCertificateRequest,
  metadata: Metadata,
  /** Address and port of who asks. */
  peer: string,
) => Sparse<WireCertificateResponse> | Promise<Sparse<WireCertificateResponse>>;

export interface FakeControlOptions {
  readonly root?: TestRoot;
  /** DNS names of its certificate. */
  readonly name?: string;
  readonly port?: number;
  /** Says nothing on a stream until a test does. */
  readonly quiet?: boolean;
  /** Adds what else it is to serve. */
  readonly services?: (server: Server) => void;
}

export class FakeControl {
  readonly root: TestRoot;
  readonly streams = new Mailbox<FakeStream>();
  sign: Sign = () => ({});
  readonly #server: Server;
  #port = 0;

  private constructor(root: TestRoot, quiet: boolean) {
    this.root = root;
    this.#server = new Server({ 'grpc.max_receive_message_length': maxMessageBytes });
    const { discovery, certificates } = protocols.services;
    const method = discovery.DeltaAggregatedResources;
    this.#server.addService(
      {
        DeltaAggregatedResources: {
          ...method,
          responseSerialize: (response: Raw) =>
            Buffer.isBuffer(response) ? response : method.responseSerialize(response),
        },
      },
      { DeltaAggregatedResources: (call: Duplex) => this.streams.put(new FakeStream(call, quiet)) },
    );
    this.#server.addService(certificates, {
      CreateCertificate: (
        call: { request: WireCertificateRequest; metadata: Metadata; getPeer(): string },
        answer: (error: object | null, response?: WireCertificateResponse) => void,
      ) => {
        Promise.resolve(call.request)
          .then(request => this.sign(request, call.metadata, call.getPeer()))
          .then(
            response => answer(null, protocols.certificateResponse.create(response)),
            (error: object) => answer(error),
          );
      },
    });
  }

  static async start(options: FakeControlOptions = {}): Promise<FakeControl> {
    const root = options.root ?? makeRoot();
    const control = new FakeControl(root, options.quiet ?? false);
    options.services?.(control.#server);
    const { certificatePem, privateKeyPem } = makeOddCertificate(root, {
      names: [[2, options.name ?? serverName]],
    });
    const credentials = ServerCredentials.createSsl(null, [
      { cert_chain: Buffer.from(certificatePem), private_key: Buffer.from(privateKeyPem) },
    ]);
    control.#port = await new Promise<number>((resolve, reject) => {
      control.#server.bindAsync(`127.0.0.1:${options.port ?? 0}`, credentials, (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
    return control;
  }

  get port(): number {
    return this.#port;
  }

  /** All connections end at once. */
  stop(): void {
    this.#server.forceShutdown();
  }

  /** How an agent reaches it, with the root in a file of `directory`. */
  endpoint(given: Partial<ControlEndpoint> & Pick<ControlEndpoint, 'rootPath'>): ControlEndpoint {
    return {
      address: `127.0.0.1:${this.#port}`,
      tokenPath: null,
      serverName,
      headers: {},
      ...given,
    };
  }
}

export { status };
