/**
 * One simulated agent: the discovery stream and the report stream of a real one, on one connection with real TLS, and of
 * what it is told the names and versions only. It accepts everything, says that every pod of its node is enrolled, and
 * comes back when it is let go.
 */
import type { OutgoingHttpHeaders } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { type SecureContext, connect as connectTls } from 'node:tls';
import { protocols } from '../../proto/load.ts';
import { reconnectPauseMs } from '../../xds/backoff.ts';
import { resourceTypes } from '../../xds/codec.ts';
import type { Known, Ledger } from './ledger.ts';
import { MessageReader, acknowledgement, firstRequest, framed, readResponse } from './wire.ts';

export interface LightAgentOptions {
  readonly node: string;
  /** Of control planes on loopback: the next one is tried when one does not answer. */
  readonly ports: readonly number[];
  readonly context: SecureContext;
  /** By type URL; shared by the agents of a process. */
  readonly ledgers: ReadonlyMap<string, Ledger>;
  /** It has everything as of now, for the first time since it was connected. */
  readonly onCurrent: (agent: LightAgent) => void;
}

export const lightTypes: readonly string[] = [
  resourceTypes.settings,
  resourceTypes.nodePod,
  resourceTypes.authorization,
  resourceTypes.address,
];
/** As the channel of a real agent has it. */
const windowBytes = 4 << 20;
const discoveryPath = protocols.services.discovery.DeltaAggregatedResources.path;
const reportPath = protocols.services.nodeReports.Report.path;

export class LightAgent {
  readonly #options: LightAgentOptions;
  readonly #known: ReadonlyMap<string, Known>;
  /** Types that it has not heard of since it was connected. */
  #silent = new Set<string>();
  #session: ClientHttp2Session | null = null;
  #reports: ClientHttp2Stream | null = null;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  readonly counts = { responses: 0, bytes: 0, connections: 0 };

  constructor(options: LightAgentOptions) {
    this.#options = options;
    this.#known = new Map(Array.from(options.ledgers, ([type, ledger]) => [type, ledger.knowledge()]));
    this.#connect();
  }

  /** Whether it has heard of every type since it was connected. */
  get isCurrent(): boolean {
    return this.#session !== null && this.#silent.size === 0;
  }

  knownOf(typeUrl: string): Known | null {
    return this.#known.get(typeUrl) ?? null;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#session?.destroy();
  }

  #connect(): void {
    const { ports } = this.#options;
    const port = ports[this.counts.connections % ports.length] ?? 0;
    this.counts.connections += 1;
    this.#silent = new Set(lightTypes);
    let isOver = false;
    const over = (): void => {
      if (isOver) return;
      isOver = true;
      session.destroy();
      this.#ended();
    };
    const session = this.#dial(port);
    session.on('error', over);
    session.on('close', over);
    const open = (path: string): ClientHttp2Stream => {
      const stream = session.request(this.#headers(path), { endStream: false });
      stream.on('error', over);
      stream.on('close', over);
      return stream;
    };
    const discovery = open(discoveryPath);
    this.#reports = open(reportPath);
    this.#session = session;
    const reader = new MessageReader(message => this.#told(discovery, message));
    discovery.on('data', (chunk: Buffer) => reader.take(chunk));
    for (const [typeUrl, ledger] of this.#options.ledgers) {
      const known = this.#known.get(typeUrl);
      if (known !== undefined) discovery.write(firstRequest(typeUrl, ledger.encode(known)));
    }
  }

  #dial(port: number): ClientHttp2Session {
    const session = connect(`https://localhost:${port}`, {
      createConnection: () =>
        connectTls({
          host: '127.0.0.1',
          port,
          servername: 'localhost',
          secureContext: this.#options.context,
          ALPNProtocols: ['h2'],
        }),
      settings: { initialWindowSize: windowBytes, enablePush: false },
    });
    session.on('connect', () => session.setLocalWindowSize(windowBytes));
    return session;
  }

  #headers(path: string): OutgoingHttpHeaders {
    return {
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${tokenOf(this.#options.node)}`,
    };
  }

  #told(stream: ClientHttp2Stream, message: Buffer): void {
    this.#failures = 0;
    this.counts.responses += 1;
    this.counts.bytes += message.length;
    const set: [string, string][] = [];
    const removed: string[] = [];
    const { typeUrl, nonce, isPart } = readResponse(message, {
      set: (name, version) => set.push([name, version]),
      removed: name => removed.push(name),
    });
    const known = this.#known.get(typeUrl);
    if (known === undefined) throw new Error(`told of ${typeUrl}, which nobody asked for`);
    const names = set.map(entry => known.set(...entry));
    for (const name of removed) known.remove(name);
    if (typeUrl === resourceTypes.nodePod) this.#report(known, set, removed);
    stream.write(acknowledgement(typeUrl, nonce));
    this.#options.ledgers.get(typeUrl)?.accepted(names, Date.now());
    if (!isPart && this.#silent.delete(typeUrl) && this.#silent.size === 0) this.#options.onCurrent(this);
  }

  /** In full at first, then what changes. */
  #report(known: Known, set: readonly (readonly [string, string])[], removed: readonly string[]): void {
    const full = this.#silent.has(resourceTypes.nodePod);
    const names = full ? Array.from(known.entries(), ([name]) => name) : set.map(([name]) => name);
    const pods = names.map(podUid => ({ podUid, enrolled: true }));
    this.#reports?.write(framed(protocols.nodeReport.encode({ full, pods, gone: full ? [] : removed })));
  }

  #ended(): void {
    this.#session = null;
    this.#reports = null;
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#connect(), reconnectPauseMs(this.#failures, Math.random()));
    this.#failures += 1;
  }
}

const tokenPrefix = 'agent-on-';

export function tokenOf(node: string): string {
  return tokenPrefix + node;
}

/** What an API server says of the token of an agent; the answer to a TokenReview. */
export function reviewAgent({
  token = '',
  audiences = [],
}: {
  token?: string;
  audiences?: string[];
}): unknown {
  if (!token.startsWith(tokenPrefix)) return { authenticated: false, error: 'invalid bearer token' };
  const node = token.slice(tokenPrefix.length);
  const key = (name: string): string => `authentication.kubernetes.io/${name}`;
  return {
    authenticated: true,
    audiences: audiences.slice(0, 1),
    user: {
      username: 'system:serviceaccount:culvert-system:culvert-agent',
      extra: {
        [key('node-name')]: [node],
        [key('pod-name')]: [`agent-${node}`],
        [key('pod-uid')]: [`uid-${node}`],
      },
    },
  };
}
