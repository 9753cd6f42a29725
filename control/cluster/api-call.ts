/**
 * One request to the API server under way: sent at once, given up at its deadline or when its signal says so.
 */
import http from 'node:http';
import https from 'node:https';
import { ApiError } from './api-error.ts';

export interface ApiRequest {
  /** GET unless given. */
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query, from the root of the server: `/api/v1/pods?limit=500`. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** `application/json`, or the kind of patch. */
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
  /** Milliseconds until the whole answer must be there; for a stream, until it begins. */
  readonly timeoutMs?: number;
}

/** By whom and over which connections. */
export interface Credentials {
  readonly headers: http.OutgoingHttpHeaders;
  readonly agent: http.Agent;
}

const defaultTimeoutMs = 30_000;
/** Of connections, while nothing is on them. */
export const keepAliveMs = 30_000;
/** A page of 500 objects has a few megabytes. */
const maxAnswerBytes = 128 * 1024 * 1024;

/** One request under way: its deadline, and whoever may stop it. */
export class Call {
  readonly response: Promise<http.IncomingMessage>;
  readonly #request: http.ClientRequest;
  readonly #what: string;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = (): void => this.#stop(new Error('stopped'));
  #timer: NodeJS.Timeout | undefined;
  #answered = false;
  #stoppedBy: Error | null = null;

  constructor(request: ApiRequest, base: URL, { headers, agent }: Credentials) {
    const { method = 'GET', path, body, contentType = 'application/json', signal } = request;
    const url = new URL(base.pathname.replace(/\/$/, '') + path, base);
    const text = body === undefined ? null : Buffer.from(JSON.stringify(body));
    this.#what = nameOf(request);
    this.#signal = signal;
    this.#request = (url.protocol === 'http:' ? http : https).request(url, {
      method,
      agent,
      headers: {
        ...headers,
        accept: request.accept ?? 'application/json',
        'user-agent': 'culvert',
        ...(text === null ? {} : { 'content-type': contentType, 'content-length': text.length }),
      },
    });
    this.response = new Promise((resolve, reject) => {
      this.#request.on('error', reject);
      this.#request.on('response', response => {
        this.#answered = true;
        resolve(response);
      });
      this.#request.on('socket', socket => socket.setKeepAlive(true, keepAliveMs));
    });
    // Whoever asked may have given up before anyone waits for the answer.
    this.response.catch(() => {});
    this.expect(request.timeoutMs ?? defaultTimeoutMs, 'no answer');
    if (signal?.aborted === true) this.#abort();
    else signal?.addEventListener('abort', this.#abort, { once: true });
    this.#request.end(text ?? undefined);
  }

  /** Moves the deadline: another `ms` from now. */
  expect(ms: number, problem: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#stop(new Error(`${problem} within ${ms} ms`)), ms);
    this.#timer.unref();
  }

  get isStale(): boolean {
    return this.#request.reusedSocket && !this.#answered && this.#stoppedBy === null;
  }

  explain(error: unknown): unknown {
    if (error instanceof ApiError) return error;
    const cause = this.#stoppedBy ?? error;
    const why = cause instanceof Error ? cause.message : String(cause);
    return new ApiError(0, '', `${this.#what}: ${why}`, { cause });
  }

  /** Gives back what is held. An answer that was not read to its end costs its connection. */
  end(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#abort);
    void this.response.then(
      response => response.complete || response.destroy(),
      () => this.#request.destroy(),
    );
  }

  #stop(why: Error): void {
    this.#stoppedBy = why;
    this.#request.destroy(why);
  }
}

/** What a request is, for people. Without its query, so that the same failure has the same words each time. */
export function nameOf({ method = 'GET', path }: ApiRequest): string {
  const isWatch = path.includes('?watch=1');
  return `${isWatch ? 'watch' : method} ${path.replace(/\?.*/, '')}`;
}

/** The whole body. */
export async function textOf(response: http.IncomingMessage, call: Call): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxAnswerBytes) throw call.explain(new Error('the answer has no end'));
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
