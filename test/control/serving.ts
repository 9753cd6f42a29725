/**
 * A control plane's port on loopback, with real gRPC and TLS, tokens that need no cluster, and clients of it.
 */
import { type ChannelOptions, Client, type ClientDuplexStream, Metadata, credentials } from '@grpc/grpc-js';
import pino from 'pino';
import { Registry } from 'prom-client';
import type { Test } from 'tap';
import { AdsService, type AdsOptions } from '../../control/ads.ts';
import { servedTypes } from '../../control/ads-types.ts';
import { Authenticator, type TokenReviewStatus } from '../../control/authenticate.ts';
import { type ControlMetrics, controlMetrics } from '../../control/control-metrics.ts';
import { type Guard, makeGuard } from '../../control/guard.ts';
import { GrpcServer, type GrpcServerLimits, type ServedService } from '../../control/grpc-server.ts';
import { ResourceStore } from '../../control/resources.ts';
import { protocols, type Sparse } from '../../proto/load.ts';
import type { WireDeltaRequest, WireDeltaResponse } from '../../proto/messages.ts';
import { makeOddCertificate, makeRoot, type TestRoot } from '../tunnel/pki.ts';

export const agentAccount = 'culvert-system/culvert-agent';

/** Tokens: `agent NODE`, `pod NODE NAMESPACE/ACCOUNT`, with dots for spaces; anything else is refused. */
function reviewToken(token: string): TokenReviewStatus {
  const [kind, node, account = agentAccount] = token.split('.');
  if ((kind !== 'agent' && kind !== 'pod') || node === undefined) {
    return { authenticated: false, error: 'invalid bearer token', audiences: [] };
  }
  const key = (name: string): string => `authentication.kubernetes.io/${name}`;
  return {
    authenticated: true,
    audiences: ['culvert-ca'],
    user: {
      username: `system:serviceaccount:${account.replace('/', ':')}`,
      extra: {
        [key('node-name')]: [node],
        [key('pod-name')]: [`${kind}-${node}`],
        [key('pod-uid')]: [`uid-${kind}-${node}-${account}`],
      },
    },
  };
}

export interface LogLine {
  readonly level: string;
  readonly code?: string;
  readonly msg: string;
  readonly [key: string]: unknown;
}

export interface Serving {
  readonly address: string;
  readonly rootPem: string;
  readonly root: TestRoot;
  readonly metrics: ControlMetrics;
  readonly registry: Registry;
  readonly lines: LogLine[];
  readonly server: GrpcServer;
  /** Value of a metric, by its name without prefix; of one label set, or of all together. */
  metric(name: string, labels?: Record<string, string>): Promise<number>;
}

export interface Foundation {
  readonly log: pino.Logger;
  readonly lines: LogLine[];
  readonly metrics: ControlMetrics;
  readonly registry: Registry;
  readonly guard: Guard;
}

export interface FoundationOptions {
  readonly review?: (token: string) => TokenReviewStatus | Promise<TokenReviewStatus>;
  readonly agents?: readonly string[];
}

export function foundation(options: FoundationOptions = {}): Foundation {
  const { review = reviewToken, agents = [agentAccount] } = options;
  const lines: LogLine[] = [];
  const log = pino(
    { level: 'debug', base: null, formatters: { level: label => ({ level: label }) } },
    { write: (line: string) => lines.push(JSON.parse(line) as LogLine) },
  );
  const registry = new Registry();
  const metrics = controlMetrics(registry);
  const authenticator = new Authenticator({ review: async token => review(token), metrics });
  const guard = makeGuard({
    authenticator,
    mayCall: ({ serviceAccount }, path) => path.includes('Certificate') || agents.includes(serviceAccount),
    log,
  });
  return { log, lines, metrics, registry, guard };
}

/** Starts a server with a certificate for `localhost`; ends it with the test. */
export async function serve(
  t: Test,
  base: Foundation,
  services: readonly ServedService[],
  limits: Partial<GrpcServerLimits> = {},
): Promise<Serving> {
  const { log, metrics, registry, lines, guard } = base;
  const root = makeRoot();
  const server = new GrpcServer({
    host: '127.0.0.1',
    port: 0,
    services,
    interceptors: [guard.interceptor],
    log,
    metrics,
    limits,
  });
  server.useCertificate(makeOddCertificate(root, { names: [[2, 'localhost']] }));
  const port = await server.start();
  t.teardown(() => server.drain(0));
  return {
    address: `localhost:${port}`,
    rootPem: root.pem,
    root,
    metrics,
    registry,
    lines,
    server,
    metric: async (name, labels = {}) => {
      const metric = await registry.getSingleMetric(`culvert_control_${name}`)?.get();
      const values = (metric?.values ?? []).filter(value =>
        Object.entries(labels).every(
          ([key, wanted]) => (value.labels as Record<string, unknown>)[key] === wanted,
        ),
      );
      return values.reduce((sum, { value }) => sum + value, 0);
    },
  };
}

export interface AdsServing extends Serving {
  readonly store: ResourceStore;
  readonly ads: AdsService;
}

export async function serveAds(
  t: Test,
  options: Partial<AdsOptions> & FoundationOptions & { server?: Partial<GrpcServerLimits> } = {},
): Promise<AdsServing> {
  const base = foundation(options);
  const store = options.store ?? new ResourceStore(servedTypes.map(({ typeUrl }) => typeUrl));
  const { log, metrics, guard } = base;
  let cut = (_peer: string): void => {};
  const { callerOf } = guard;
  const ads = new AdsService({
    store,
    callerOf,
    log,
    metrics,
    cut: peer => cut(peer),
    quietMs: 5,
    ...options,
  });
  t.teardown(() => ads.close());
  const serving = await serve(t, base, [ads], options.server);
  cut = peer => serving.server.cut(peer);
  return { ...serving, store, ads };
}

export function dial(t: Test, serving: Serving, options: ChannelOptions = {}): Client {
  const client = new Client(serving.address, credentials.createSsl(Buffer.from(serving.rootPem)), {
    'grpc.max_receive_message_length': -1,
    // Or tests would share connections.
    'grpc.use_local_subchannel_pool': 1,
    ...options,
  });
  t.teardown(() => client.close());
  return client;
}

export function bearer(token: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

/** How a call ended: its status code, with the text. */
export interface Ended {
  readonly code: number;
  readonly details: string;
}

/** A client of the discovery service, by hand: it answers nothing by itself. */
export class AdsClient {
  readonly stream: ClientDuplexStream<WireDeltaRequest, WireDeltaResponse>;
  readonly ended: Promise<Ended>;
  readonly #responses: WireDeltaResponse[] = [];
  readonly #waiting: ((response: WireDeltaResponse) => void)[] = [];

  constructor(t: Test, serving: Serving, token: string, options: ChannelOptions = {}) {
    const { path, requestSerialize, responseDeserialize } =
      protocols.services.discovery.DeltaAggregatedResources;
    this.stream = dial(t, serving, options).makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      bearer(token),
    );
    this.stream.on('data', (response: WireDeltaResponse) => {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#responses.push(response);
      else waiting(response);
    });
    this.ended = new Promise(resolve => {
      this.stream.on('error', () => {});
      this.stream.on('status', ({ code, details }) => resolve({ code, details }));
    });
    t.teardown(() => this.stream.cancel());
  }

  send(request: Sparse<WireDeltaRequest>): void {
    this.stream.write(protocols.deltaRequest.create(request));
  }

  /** The next response, in the order they come. */
  next(): Promise<WireDeltaResponse> {
    const response = this.#responses.shift();
    if (response !== undefined) return Promise.resolve(response);
    return new Promise(resolve => {
      this.#waiting.push(resolve);
    });
  }

  /** Responses that nobody has asked for. */
  get unread(): number {
    return this.#responses.length;
  }

  answer({ typeUrl, nonce }: WireDeltaResponse, error: string | null = null): void {
    this.send({
      typeUrl,
      responseNonce: nonce,
      ...(error === null ? {} : { errorDetail: { message: error } }),
    });
  }
}
