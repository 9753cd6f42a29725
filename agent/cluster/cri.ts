/**
 * The container runtime of this node: which pods run, asked over its own socket (CRI, gRPC), so that pods that run already
 * are found without any right on the API server.
 *
 * Lists again at every event of runtimes that have events, and every few seconds in any case. What was listed last stays
 * true while the runtime is away: a restart of it ends no pod.
 */
import { existsSync } from 'node:fs';
import { type CallOptions, Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { CulvertError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { loadProtocol } from '../../proto/load.ts';
import { reconnectPauseMs } from '../../xds/backoff.ts';
import { processNetns } from './process-netns.ts';
import {
  readSandbox,
  type Sandbox,
  sandboxReady,
  type WireSandbox,
  type WireSandboxStatusResponse,
} from './sandbox.ts';

/** Where runtimes listen, the most common first. */
const sockets = [
  '/run/containerd/containerd.sock',
  '/run/crio/crio.sock',
  '/run/k3s/containerd/containerd.sock',
  '/var/run/cri-dockerd.sock',
] as const;

const listEveryMs = 5_000;
/** Events come in crowds. */
const eventDelayMs = 20;
const afterTroubleMs = 1_000;
const callTimeoutMs = 5_000;

const protocol = loadProtocol('cri.proto');
const service = 'runtime.v1.RuntimeService';
const version = protocol.method<object, { readonly runtimeName: string; readonly runtimeVersion: string }>(
  service,
  'Version',
);
const listPodSandbox = protocol.method<object, { readonly items: readonly WireSandbox[] }>(
  service,
  'ListPodSandbox',
);
const podSandboxStatus = protocol.method<
  { readonly podSandboxId: string; readonly verbose: boolean },
  WireSandboxStatusResponse
>(service, 'PodSandboxStatus');
const getContainerEvents = protocol.method<object, object>(service, 'GetContainerEvents');

export interface RuntimeOptions {
  /** Path of the socket; null: the first that exists of those that runtimes use. */
  readonly socket: string | null;
  /** Told of every complete list, also of one that is as before. */
  readonly onSandboxes: (sandboxes: readonly Sandbox[]) => void;
  readonly log: Logger;
}

export interface RuntimeState {
  readonly socket: string | null;
  /** Name and version, once it has answered. */
  readonly runtime: string | null;
  /** Why it does not answer now. */
  readonly trouble: string | null;
}

export class Runtime {
  readonly #options: RuntimeOptions;
  /** Sandboxes never change once they are ready, so each is asked about once; null for those on the node's network. */
  #known = new Map<string, Sandbox | null>();
  readonly #complained = new Set<string>();
  #client: Client | null = null;
  #events: { cancel(): void } | null = null;
  #eventsServed = true;
  #state: RuntimeState = { socket: null, runtime: null, trouble: 'not asked yet' };
  #failures = 0;
  #timer: NodeJS.Timeout | null = null;
  #listing = false;
  #again = false;
  #closed = false;

  constructor(options: RuntimeOptions) {
    this.#options = options;
  }

  get state(): RuntimeState {
    return this.#state;
  }

  /** Begins to ask; the first answer comes by `onSandboxes`. */
  start(): void {
    this.#schedule(0);
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#disconnect();
  }

  #schedule(ms: number): void {
    if (this.#closed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#list(), ms).unref();
  }

  /** One round at a time; what is wished for meanwhile is one more. */
  async #list(): Promise<void> {
    if (this.#listing) {
      this.#again = true;
      return;
    }
    this.#listing = true;
    try {
      const sandboxes = await this.#ask();
      if (this.#closed) return;
      this.#failures = 0;
      this.#options.onSandboxes(sandboxes);
      this.#follow();
      this.#schedule(listEveryMs);
    } catch (thrown) {
      this.#failed(thrown);
    } finally {
      this.#listing = false;
      if (this.#again) this.#schedule(eventDelayMs);
      this.#again = false;
    }
  }

  async #ask(): Promise<Sandbox[]> {
    const client = await this.#connected();
    const { items } = await unary(client, listPodSandbox, { filter: { state: { state: sandboxReady } } });
    // Runtimes that ignore the filter exist.
    const ready = items.filter(item => item.state === sandboxReady);
    const known = new Map<string, Sandbox | null>();
    for (const { id } of ready) {
      const sandbox = this.#known.get(id) ?? (await this.#describe(client, id));
      if (typeof sandbox === 'object') known.set(id, sandbox);
    }
    this.#known = known;
    for (const id of this.#complained) if (!ready.some(item => item.id === id)) this.#complained.delete(id);
    return [...known.values()].filter(sandbox => sandbox !== null);
  }

  /** Null for one that is never enrolled, undefined for one that is to be asked about again. */
  async #describe(client: Client, id: string): Promise<Sandbox | null | undefined> {
    if (this.#known.get(id) === null) return null;
    try {
      const response = await unary(client, podSandboxStatus, { podSandboxId: id, verbose: true });
      const sandbox = readSandbox(response, processNetns);
      if (sandbox === 'no namespace' && !this.#complained.has(id)) {
        this.#complained.add(id);
        this.#options.log.warn(
          { code: 'SANDBOX_NO_NETNS', sandbox: id },
          'the container runtime does not say where the network namespace of a pod is',
        );
      }
      if (typeof sandbox === 'object') return sandbox;
      return sandbox === 'host network' ? null : undefined;
    } catch (thrown) {
      // It ended while we asked.
      if ((thrown as Partial<ServiceError>).code === status.NOT_FOUND) return undefined;
      throw thrown;
    }
  }

  async #connected(): Promise<Client> {
    if (this.#client !== null) return this.#client;
    const path = this.#options.socket ?? sockets.find(existsSync) ?? null;
    this.#state = { ...this.#state, socket: path };
    if (path === null) {
      throw new CulvertError('CRI_NO_SOCKET', `no container runtime listens at ${sockets.join(', ')}`, {
        fix: 'mount the socket of the container runtime into the agent and name it with --cri-socket',
      });
    }
    const client = new Client(`unix://${path}`, credentials.createInsecure(), {
      // grpc-go refuses the path of a socket as the name of a host.
      'grpc.default_authority': 'localhost',
      'grpc.max_receive_message_length': 64 * 1024 * 1024,
      'grpc.enable_retries': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
    });
    try {
      const { runtimeName, runtimeVersion } = await unary(client, version, {});
      const runtime = `${runtimeName} ${runtimeVersion}`;
      if (this.#state.trouble !== null || this.#state.runtime !== runtime) {
        this.#options.log.info({ runtime, socket: path }, 'container runtime answers');
      }
      this.#state = { socket: path, runtime, trouble: null };
      this.#client = client;
      // An update of the runtime may have brought them.
      this.#eventsServed = true;
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** A stream of events, where there is one; it only says that something has changed. */
  #follow(): void {
    if (this.#client === null || this.#events !== null || !this.#eventsServed) return;
    const { path, requestSerialize, responseDeserialize } = getContainerEvents;
    const stream = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {});
    this.#events = stream;
    stream.on('data', () => this.#schedule(eventDelayMs));
    stream.on('error', (error: ServiceError) => {
      if (this.#events !== stream) return;
      this.#events = null;
      if (error.code === status.UNIMPLEMENTED) this.#eventsServed = false;
      // Whatever it was, listing finds out.
      else this.#schedule(afterTroubleMs);
    });
    stream.on('end', () => {
      if (this.#events === stream) this.#events = null;
    });
  }

  #failed(thrown: unknown): void {
    if (this.#closed) return;
    const trouble = thrown instanceof Error ? thrown.message : String(thrown);
    if (this.#state.trouble === null || this.#failures === 0) {
      const fix = thrown instanceof CulvertError ? thrown.fix : 'check the container runtime of this node';
      this.#options.log.warn(
        { code: 'CRI_UNREACHABLE', err: trouble, fix },
        'the container runtime does not answer: pods that are known stay as they are',
      );
    }
    this.#state = { ...this.#state, trouble };
    this.#failures += 1;
    this.#disconnect();
    this.#schedule(Math.min(reconnectPauseMs(this.#failures + 3, Math.random()), listEveryMs));
  }

  #disconnect(): void {
    const events = this.#events;
    this.#events = null;
    events?.cancel();
    this.#client?.close();
    this.#client = null;
  }
}

interface UnaryMethod<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (request: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

function unary<Request, Response>(
  client: Client,
  method: UnaryMethod<Request, Response>,
  request: Request,
): Promise<Response> {
  const options: CallOptions = { deadline: Date.now() + callTimeoutMs };
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest<Request, Response>(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      options,
      (error, response) => {
        if (error !== null) reject(error);
        else if (response === undefined) reject(new Error('an answer without a message'));
        else resolve(response);
      },
    );
  });
}
