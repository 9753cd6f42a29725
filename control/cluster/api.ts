/**
 * Requests to the Kubernetes API server, with the credentials of a kubeconfig or of the pod we run in.
 *
 * The generated clients of @kubernetes/client-node open a connection, with its TLS handshake, for each call; a control
 * plane makes thousands of them and holds a dozen watches for years. So its KubeConfig finds and renews credentials, and
 * connections are kept here. What comes back is foreign text: whoever asks checks it.
 */
import http from 'node:http';
import https from 'node:https';
import { CulvertError } from '../../base/errors.ts';
import { type ApiRequest, Call, type Credentials, keepAliveMs, nameOf, textOf } from './api-call.ts';
import { ApiError, hasStatus, isExpired, statusError } from './api-error.ts';
import { KubeConfig } from './kube-config.ts';

export { ApiError, type ApiRequest, hasStatus, isExpired, statusError };

/** What everything in this folder needs of the API server; tests bring their own. */
export interface Api {
  /** The parsed answer. Throws an ApiError for anything but a 2xx. */
  json(request: ApiRequest): Promise<unknown>;
  /** Hands over an answer line by line as it comes; resolves when it ends. */
  lines(request: ApiRequest, reader: LineReader): Promise<void>;
}

export interface LineReader {
  /** This long without a byte is an error. */
  readonly silentMs: number;
  /** The server has begun to answer, and well. */
  readonly onOpen?: () => void;
  /** What it throws ends the request and is what `lines` rejects with. */
  readonly onLine: (line: string) => void;
}

/** Credentials are asked for anew after this: tokens are rotated in their files. */
const credentialsMs = 30_000;
/** Larger than any object etcd takes (1.5 MiB), with its JSON escapes. */
const maxLineBytes = 16 * 1024 * 1024;

interface Renewed extends Credentials {
  readonly until: number;
}

export class KubeApi implements Api {
  readonly #config: KubeConfig;
  readonly #base: URL;
  #credentials: Renewed | null = null;
  #agent: http.Agent | null = null;
  #agentKey = '';

  private constructor(config: KubeConfig, base: URL) {
    this.#config = config;
    this.#base = base;
  }

  /**
   * Reads a kubeconfig; null looks where kubectl does, and then for the service account of our pod. No I/O but files.
   * Throws CONFIG_KUBECONFIG.
   * @param context of the kubeconfig; null for the one that is current there
   */
  static load(kubeconfig: string | null, context: string | null = null): KubeApi {
    const config = new KubeConfig();
    const where = kubeconfig ?? 'KUBECONFIG, ~/.kube/config or the service account of a pod';
    try {
      if (kubeconfig === null) config.loadFromDefault();
      else config.loadFromFile(kubeconfig);
    } catch (cause) {
      throw unusable(where, cause instanceof Error ? cause.message : String(cause), cause);
    }
    if (context !== null) {
      const names = config.getContexts().map(({ name }) => name);
      if (!names.includes(context))
        throw unusable(where, `there is no context ${context}; there are: ${names.join(', ') || 'none'}`);
      config.setCurrentContext(context);
    }
    const server = config.getCurrentCluster()?.server;
    // What the library falls back to when it has found nothing.
    if (server === undefined || (kubeconfig === null && server === 'http://localhost:8080'))
      throw unusable(where, 'no cluster is named there');
    if (!URL.canParse(server)) throw unusable(where, `${server} is no address of a server`);
    return new KubeApi(config, new URL(server));
  }

  /** For people: where the server is. */
  get server(): string {
    return this.#base.href;
  }

  /** The namespace the credentials are for, null when they don't say. */
  get namespace(): string | null {
    return this.#config.getContextObject(this.#config.getCurrentContext())?.namespace ?? null;
  }

  async json(request: ApiRequest): Promise<unknown> {
    const what = nameOf(request);
    const text = await this.#send(request, async (response, call) => {
      const body = await textOf(response, call);
      if (isGood(response)) return body;
      throw statusError(what, response.statusCode ?? 0, parsed(body), retryAfter(response));
    });
    if (text === '') return null;
    const value = parsed(text);
    if (value === undefined) throw new ApiError(0, '', `${what}: the answer is not JSON`);
    return value;
  }

  async lines(request: ApiRequest, { silentMs, onOpen, onLine }: LineReader): Promise<void> {
    const what = nameOf(request);
    await this.#send(request, async (response, call) => {
      if (!isGood(response)) {
        throw statusError(
          what,
          response.statusCode ?? 0,
          parsed(await textOf(response, call)),
          retryAfter(response),
        );
      }
      onOpen?.();
      call.expect(silentMs, 'nothing came');
      let pieces: Buffer[] = [];
      let length = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        call.expect(silentMs, 'nothing came');
        let start = 0;
        for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
          const line = Buffer.concat([...pieces, chunk.subarray(start, end)]).toString('utf8');
          pieces = [];
          length = 0;
          start = end + 1;
          if (line !== '') onLine(line);
        }
        if (start < chunk.length) pieces.push(chunk.subarray(start));
        length += chunk.length - start;
        if (length > maxLineBytes) throw new ApiError(0, '', `${what}: a line has no end`);
      }
    });
  }

  /** Drops the connections. */
  close(): void {
    this.#agent?.destroy();
  }

  async #send<T>(
    request: ApiRequest,
    read: (response: http.IncomingMessage, call: Call) => Promise<T>,
  ): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      const credentials = await this.#authenticated();
      const call = new Call(request, this.#base, credentials);
      try {
        return await read(await call.response, call);
      } catch (error) {
        if (hasStatus(error, 401)) this.#credentials = null;
        // The server closed a connection in the moment we took it from the pool again.
        if (attempt === 0 && call.isStale) continue;
        throw call.explain(error);
      } finally {
        call.end();
      }
    }
  }

  async #authenticated(): Promise<Renewed> {
    const now = performance.now();
    if (this.#credentials !== null && now < this.#credentials.until) return this.#credentials;
    const options: https.RequestOptions = {};
    try {
      await this.#config.applyToHTTPSOptions(options);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new ApiError(0, '', `no credentials for ${this.server}: ${why}`, { cause });
    }
    const headers: http.OutgoingHttpHeaders = {
      ...(options.headers as http.OutgoingHttpHeaders | undefined),
    };
    if (typeof options.auth === 'string')
      headers.Authorization = `Basic ${Buffer.from(options.auth).toString('base64')}`;
    this.#credentials = { headers, agent: this.#agentFor(options), until: now + credentialsMs };
    return this.#credentials;
  }

  /** One agent as long as the certificates are the same; connections of the one before end by themselves. */
  #agentFor(options: https.RequestOptions): http.Agent {
    if (this.#config.getCurrentCluster()?.proxyUrl !== undefined && options.agent instanceof http.Agent)
      return options.agent;
    const { ca, cert, key, passphrase, pfx, rejectUnauthorized, servername } = options;
    const tls = { ca, cert, key, passphrase, pfx, rejectUnauthorized, servername };
    const agentKey = JSON.stringify(tls);
    if (this.#agent !== null && agentKey === this.#agentKey) return this.#agent;
    const given = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
    const common = { keepAlive: true, keepAliveMsecs: keepAliveMs, maxFreeSockets: 32 };
    this.#agentKey = agentKey;
    this.#agent =
      this.#base.protocol === 'http:' ? new http.Agent(common) : new https.Agent({ ...given, ...common });
    return this.#agent;
  }
}

function isGood(response: http.IncomingMessage): boolean {
  const { statusCode = 0 } = response;
  return statusCode >= 200 && statusCode < 300;
}

/** Undefined for what is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function retryAfter(response: http.IncomingMessage): number | null {
  const seconds = Number(response.headers['retry-after'] ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 60) * 1_000 : null;
}

function unusable(where: string, why: string, cause?: unknown): CulvertError {
  return new CulvertError('CONFIG_KUBECONFIG', `no cluster can be found by ${where}: ${why}`, {
    fix: 'name a kubeconfig with --kubeconfig',
    ...(cause === undefined ? {} : { cause }),
  });
}
