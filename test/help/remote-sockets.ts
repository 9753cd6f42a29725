/**
 * Sockets of a program in a pod, held by a test: each call is made there by an unmodified kernel on behalf of an ordinary
 * process (sockets.py), and its outcome comes back with the errno that the program saw.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Place } from '../lab/place.ts';
import type { LabProcess } from '../lab/process.ts';

/** What a call failed with, as `code`: ECONNREFUSED, ECONNRESET… or TIMEOUT when it did not return. */
export class CallError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

type Name = readonly [address: string, port: number];

interface Opened {
  readonly socket: number;
  readonly local: Name;
  readonly peer: Name | null;
  /** What accept() returned. */
  readonly accepted?: Name;
}

export interface Amount {
  readonly bytes: number;
  readonly digest: string;
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
  readonly message?: string;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: CallError) => void;
  readonly timer: NodeJS.Timeout;
}

/** A call that takes longer hangs, and the test should say so rather than its runner. */
const callTimeoutMs = 30_000;
const program = join(import.meta.dirname, 'sockets.py');

/** When the last connection from an address and port was begun, in milliseconds since 1970. */
const begunAt = new Map<string, number>();

/** The same, for whoever looks for what was noted about that connection, and not about an earlier one from there. */
export function lastBegun(source: string): number | null {
  return begunAt.get(source) ?? null;
}

export class RemoteSockets implements AsyncDisposable {
  readonly place: Place;
  readonly #process: LabProcess;
  readonly #listener: Server;
  readonly #control: Socket;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;

  private constructor(place: Place, started: LabProcess, listener: Server, control: Socket) {
    this.place = place;
    this.#process = started;
    this.#listener = listener;
    this.#control = control;
    let rest = '';
    control.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#answer(JSON.parse(line) as Answer);
    });
    control.on('error', () => {});
    control.on('close', () => {
      for (const waiting of this.#waiting.values())
        waiting.reject(new CallError('GONE', 'the program ended'));
    });
  }

  /** @param directory of the lab, for the control socket */
  static async start(place: Place, directory: string): Promise<RemoteSockets> {
    const path = join(directory, `sockets-${place.name}`);
    rmSync(path, { force: true });
    const listener = createServer();
    const connected = new Promise<Socket>(resolve => listener.once('connection', resolve));
    await new Promise<void>(resolve => listener.listen(path, resolve));
    const started = place.spawn('python3', [program, path], { openFiles: 16_384 });
    return new RemoteSockets(place, started, listener, await connected);
  }

  async connect(
    host: string,
    port: number,
    options: { readonly nonblocking?: boolean; readonly bind?: Name } = {},
  ): Promise<RemoteConnection> {
    const begun = Date.now();
    const opened = await this.call<Opened>('connect', { host, port, ...options });
    begunAt.set(opened.local.join(':'), begun);
    return new RemoteConnection(this, opened);
  }

  async listen(host: string, port: number): Promise<RemoteListener> {
    return new RemoteListener(this, await this.call<Opened>('listen', { host, port }));
  }

  /** Begins to echo whatever comes to this port. */
  async serve(host: string, port: number): Promise<void> {
    await this.call('serve', { host, port });
  }

  /** That many connections open at the same time, each answered; returns how many failed, by reason. */
  crowd(host: string, port: number, count: number): Promise<Record<string, number>> {
    return this.call('crowd', { host, port, count });
  }

  async udpServe(host: string, port: number): Promise<void> {
    await this.call('udp_serve', { host, port });
  }

  udpAsk(host: string, port: number, text: string): Promise<{ text: string; source: Name }> {
    return this.call('udp_ask', { host, port, text });
  }

  call<T>(name: string, parameters: Readonly<Record<string, unknown>>): Promise<T> {
    const id = ++this.#calls;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new CallError('TIMEOUT', `${name} in ${this.place.name} did not return`));
      }, callTimeoutMs);
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, timer });
      this.#control.write(`${JSON.stringify({ id, call: name, with: parameters })}\n`);
    });
  }

  /** Ends the program without a word to its peers but what the kernel says. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.#control.destroy();
    await this.#process.stop('SIGKILL');
  }

  #answer(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    if (waiting === undefined) return;
    this.#waiting.delete(answer.id);
    clearTimeout(waiting.timer);
    if (answer.error === undefined) waiting.resolve(answer.value);
    else waiting.reject(new CallError(answer.error, `in ${this.place.name}: ${answer.message ?? ''}`));
  }
}

class RemoteListener {
  readonly #sockets: RemoteSockets;
  readonly #socket: number;

  constructor(sockets: RemoteSockets, opened: Opened) {
    this.#sockets = sockets;
    this.#socket = opened.socket;
  }

  async accept(): Promise<RemoteConnection> {
    return new RemoteConnection(
      this.#sockets,
      await this.#sockets.call<Opened>('accept', { socket: this.#socket }),
    );
  }

  async close(): Promise<void> {
    await this.#sockets.call('close', { socket: this.#socket });
  }
}

export class RemoteConnection {
  readonly #sockets: RemoteSockets;
  readonly #socket: number;
  /** getsockname() and getpeername() (null: it was reset already), and what accept() told where it was accepted. */
  readonly local: Name;
  readonly peer: Name | null;
  readonly accepted: Name | null;

  constructor(sockets: RemoteSockets, opened: Opened) {
    this.#sockets = sockets;
    this.#socket = opened.socket;
    this.local = opened.local;
    this.peer = opened.peer;
    this.accepted = opened.accepted ?? null;
  }

  send(text: string): Promise<void> {
    return this.#call('send', { text });
  }

  /** That many bytes, or fewer where the end comes before. */
  receive(count: number): Promise<string> {
    return this.#call('receive', { count });
  }

  /** Half-close. */
  shutdown(): Promise<void> {
    return this.#call('shutdown');
  }

  close(): Promise<void> {
    return this.#call('close');
  }

  /** Closes with RST. */
  reset(): Promise<void> {
    return this.#call('reset');
  }

  /** Sends a lot, then shuts down. */
  pour(megabytes: number, seed: number): Promise<Amount> {
    return this.#call('pour', { megabytes, seed });
  }

  /** Bytes of `pour` that the kernel has taken so far. */
  progress(): Promise<number> {
    return this.#call('progress');
  }

  /** Receives everything until the end. */
  drink(): Promise<Amount> {
    return this.#call('drink');
  }

  #call<T>(name: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<T> {
    return this.#sockets.call(name, { socket: this.#socket, ...parameters });
  }
}
