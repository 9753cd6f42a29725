/**
 * A container runtime of a test: real gRPC on a Unix socket, and sandboxes that are what the test says. Speaks as
 * containerd does unless told otherwise.
 */
import { Server, ServerCredentials, type ServerWritableStream, status } from '@grpc/grpc-js';
import { loadProtocol, type Sparse } from '../../proto/load.ts';
import type { WireSandboxStatusResponse } from '../../agent/cluster/sandbox.ts';

export interface FakeSandbox {
  readonly id: string;
  readonly uid: string;
  readonly namespace?: string;
  readonly name?: string;
  /** In the specification; none unless said. */
  readonly netns?: string;
  readonly pid?: number;
  readonly ips?: readonly string[];
  readonly hostNetwork?: boolean;
  /** In milliseconds since the epoch. */
  readonly createdAt?: number;
  readonly ready?: boolean;
}

type Events = ServerWritableStream<object, object>;
type Call<T> = { readonly request: T };
type Answer<T> = (error: object | null, response?: T) => void;

const protocol = loadProtocol('cri.proto');
const service = 'runtime.v1.RuntimeService';
const method = <Request extends object, Response extends object>(name: string) =>
  protocol.method<Request, Response>(service, name);
const statusCodec = protocol.message<WireSandboxStatusResponse>('runtime.v1.PodSandboxStatusResponse');

export class FakeRuntime {
  readonly path: string;
  /** What there is now. */
  sandboxes: readonly FakeSandbox[] = [];
  /** Method names, as they were called. */
  readonly calls: string[] = [];
  /** Fails every list with this. */
  trouble: { readonly code: status; readonly details: string } | null = null;
  readonly #events = new Set<Events>();
  #server: Server | null = null;

  constructor(path: string) {
    this.path = path;
  }

  /** @param withEvents whether it has a stream of events, as newer runtimes do */
  async start(withEvents = true): Promise<void> {
    const server = new Server();
    server.addService(
      {
        Version: method('Version'),
        ListPodSandbox: method('ListPodSandbox'),
        PodSandboxStatus: method('PodSandboxStatus'),
        ...(withEvents ? { GetContainerEvents: method('GetContainerEvents') } : {}),
      },
      {
        Version: (_call: Call<object>, answer: Answer<object>) => {
          this.calls.push('Version');
          answer(null, { runtimeName: 'fake', runtimeVersion: '1' });
        },
        ListPodSandbox: (_call: Call<object>, answer: Answer<object>) => {
          this.calls.push('ListPodSandbox');
          if (this.trouble === null) answer(null, { items: this.sandboxes.map(listed) });
          else answer(this.trouble);
        },
        PodSandboxStatus: (call: Call<{ podSandboxId: string }>, answer: Answer<object>) => {
          this.calls.push(`PodSandboxStatus ${call.request.podSandboxId}`);
          const sandbox = this.sandboxes.find(({ id }) => id === call.request.podSandboxId);
          if (sandbox === undefined) answer({ code: status.NOT_FOUND, details: 'no such sandbox' });
          else answer(null, statusOf(sandbox));
        },
        GetContainerEvents: (call: Events) => {
          this.#events.add(call);
          call.on('cancelled', () => this.#events.delete(call));
        },
      },
    );
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix://${this.path}`, ServerCredentials.createInsecure(), error =>
        error === null ? resolve() : reject(error),
      );
    });
    this.#server = server;
  }

  /** Everything ends, as when it is killed. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = null;
    this.#events.clear();
  }

  /** Changes what there is, and says that something has changed. */
  set(...sandboxes: readonly FakeSandbox[]): void {
    this.sandboxes = sandboxes;
    for (const stream of this.#events) stream.write({ containerId: 'any' });
  }

  get followers(): number {
    return this.#events.size;
  }
}

function listed({
  id,
  uid,
  namespace = 'shop',
  name = uid,
  createdAt = 1,
  ready = true,
}: FakeSandbox): object {
  return { id, metadata: { name, uid, namespace }, state: ready ? 0 : 1, createdAt: createdAt * 1e6 };
}

export function statusOf(sandbox: FakeSandbox): WireSandboxStatusResponse {
  const { netns, pid, ips = ['10.0.0.1'], hostNetwork = false } = sandbox;
  const [ip = '', ...additional] = ips;
  const namespaces = [{ type: 'pid' }, { type: 'network', ...(netns === undefined ? {} : { path: netns }) }];
  const message: Sparse<WireSandboxStatusResponse> = {
    status: {
      ...listed(sandbox),
      network: { ip, additionalIps: additional.map(other => ({ ip: other })) },
      linux: { namespaces: { options: { network: hostNetwork ? 2 : 0 } } },
    },
    info: {
      info: JSON.stringify({ pid, netNamespaceClosed: false, runtimeSpec: { linux: { namespaces } } }),
    },
  };
  // As it comes off the wire, with what is absent.
  return statusCodec.decode(statusCodec.encode(message));
}
