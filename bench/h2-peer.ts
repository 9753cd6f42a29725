/**
 * One end of the HTTP/2 micro benchmark, a process of its own: a TLS server or client over tunnel/h2 or over node:http2.
 *
 * Both sit behind the same few calls, so that the measures (h2.ts tells which) are written once. Commands and results go
 * over the IPC channel of the parent.
 */
import http2 from 'node:http2';
import tls from 'node:tls';
import { H2Connection } from '../tunnel/h2/connection.ts';
import type { H2Stream, H2StreamHandlers } from '../tunnel/h2/stream.ts';

export type Kind = 'culvert' | 'node';
export type Measure = 'roundTrip' | 'throughput' | 'connects' | 'requests' | 'memory';

/** From the parent. */
export type Command =
  | { readonly do: 'serve'; readonly kind: Kind; readonly key: string; readonly cert: string }
  | {
      readonly do: 'measure';
      readonly kind: Kind;
      readonly port: number;
      readonly measure: Measure;
      readonly seconds: number;
    }
  | { readonly do: 'memory' };

export type Report =
  | { readonly port: number }
  | { readonly value: number }
  | { readonly heap: number; readonly resident: number };

interface Tunnel {
  write(chunk: Buffer): boolean;
  end(): void;
}

interface TunnelEvents {
  onOpen(): void;
  onData(chunk: Buffer): void;
  onDrain(): void;
  onEnd(): void;
}

type Connect = (authority: string, events: TunnelEvents) => Tunnel;

const headers = [
  [
    'baggage',
    'k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=client,service.name=client',
  ],
  ['forwarded', 'for="10.244.1.7:40112";host=server.default.svc.cluster.local'],
  ['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00'],
] as const;
const manyStreams = 100_000;
/** MB; node:http2 refuses streams beyond 10 by default. */
const maxSessionMemory = 10_000;
const windows = { initialWindowSize: 4_194_304, maxFrameSize: 1_048_576, maxConcurrentStreams: manyStreams };
const ignore = (): void => {};

function served(stream: H2Stream, authority: string): H2StreamHandlers {
  let bytes = 0;
  const echo = authority.startsWith('echo');
  return {
    onData: chunk => {
      bytes += chunk.length;
      if (!echo || stream.write(chunk)) return true;
      stream.pause();
      return false;
    },
    onDrain: () => stream.resume(),
    onEnd: () => {
      if (!echo) stream.write(Buffer.from(String(bytes)));
      stream.end();
    },
    onReset: ignore,
  };
}

function serveCulvert(transport: tls.TLSSocket): void {
  const connection = new H2Connection({
    transport,
    role: 'server',
    settings: { maxStreams: manyStreams },
    handlers: {
      onRequest: (stream, request) => {
        stream.handlers = served(stream, request.authority);
        stream.respond(200);
      },
      onClose: ignore,
    },
  });
  transport.once('close', () => connection.destroy());
}

function serveNode(options: tls.TlsOptions): http2.Http2SecureServer {
  const server = http2.createSecureServer({ ...options, settings: windows, maxSessionMemory });
  server.on('session', session => session.setLocalWindowSize(16_777_216));
  server.on('stream', (stream, request) => {
    const echo = String(request[':authority']).startsWith('echo');
    let bytes = 0;
    (stream as http2.ServerHttp2Stream).respond({ ':status': 200 });
    stream.on('error', ignore);
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (echo && !stream.write(chunk)) stream.pause();
    });
    stream.on('drain', () => stream.resume());
    stream.on('end', () => stream.end(echo ? undefined : String(bytes)));
  });
  return server;
}

function serve(command: Extract<Command, { do: 'serve' }>): void {
  const options = {
    key: command.key,
    cert: command.cert,
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3' as const,
    noDelay: true,
  };
  const server = command.kind === 'node' ? serveNode(options) : tls.createServer(options, serveCulvert);
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    send({ port: typeof address === 'object' && address !== null ? address.port : 0 });
  });
}

async function connectCulvert(transport: tls.TLSSocket): Promise<Connect> {
  const connection = new H2Connection({ transport, role: 'client', handlers: { onClose: ignore } });
  await new Promise<void>(resolve => connection.ping(() => resolve()));
  return (authority, events) =>
    connection.connect(authority, headers, {
      onHeaders: () => events.onOpen(),
      onData: chunk => {
        events.onData(chunk);
        return true;
      },
      onDrain: () => events.onDrain(),
      onEnd: () => events.onEnd(),
      onReset: ignore,
    });
}

async function connectNode(transport: tls.TLSSocket): Promise<Connect> {
  const session = http2.connect('https://localhost', {
    createConnection: () => transport,
    settings: { ...windows, enablePush: false },
    maxSessionMemory,
  });
  await new Promise(resolve => session.once('remoteSettings', resolve));
  session.setLocalWindowSize(16_777_216);
  const fields = Object.fromEntries(headers);
  return (authority, events) => {
    const stream = session.request({ ':method': 'CONNECT', ':authority': authority, ...fields });
    stream.on('response', () => events.onOpen());
    stream.on('data', (chunk: Buffer) => events.onData(chunk));
    stream.on('drain', () => events.onDrain());
    stream.on('end', () => events.onEnd());
    stream.on('error', ignore);
    return { write: chunk => stream.write(chunk), end: () => void stream.end() };
  };
}

/** Median round trip of 64 bytes on one stream, microseconds. */
function roundTrip(connect: Connect, seconds: number): Promise<number> {
  const message = Buffer.alloc(64, 'x');
  const samples: number[] = [];
  return new Promise(resolve => {
    let sentAt = 0;
    const until = performance.now() + seconds * 1000;
    const next = (): void => {
      sentAt = performance.now();
      tunnel.write(message);
    };
    const tunnel = connect('echo:1', {
      onOpen: next,
      onDrain: ignore,
      onEnd: ignore,
      onData: () => {
        const now = performance.now();
        samples.push((now - sentAt) * 1000);
        if (now < until) next();
        else {
          tunnel.end();
          resolve(samples.sort((a, b) => a - b)[samples.length >> 1] ?? Number.NaN);
        }
      },
    });
  });
}

/** One stream towards a server that counts, Gbit/s. */
function throughput(connect: Connect, seconds: number): Promise<number> {
  const chunk = Buffer.alloc(65_536, 'x');
  return new Promise(resolve => {
    let startedAt = 0;
    const pump = (): void => {
      while (performance.now() - startedAt < seconds * 1000) {
        if (!tunnel.write(chunk)) return;
      }
      tunnel.end();
    };
    let answer = '';
    const tunnel = connect('sink:1', {
      onOpen: () => {
        startedAt = performance.now();
        pump();
      },
      onDrain: pump,
      onData: data => (answer += data.toString()),
      onEnd: () => resolve((Number(answer) * 8) / (performance.now() - startedAt) / 1e6),
    });
  });
}

/** Streams opened, answered with one byte echoed, and ended, by 32 at a time, per second. */
function connects(connect: Connect, seconds: number): Promise<number> {
  const byte = Buffer.from('x');
  return new Promise(resolve => {
    let done = 0;
    let open = 0;
    const startedAt = performance.now();
    const one = (): void => {
      open += 1;
      const tunnel = connect('echo:1', {
        onOpen: () => tunnel.write(byte),
        onDrain: ignore,
        onData: () => tunnel.end(),
        onEnd: () => {
          done += 1;
          open -= 1;
          const elapsed = performance.now() - startedAt;
          if (elapsed < seconds * 1000) one();
          else if (open === 0) resolve((done / elapsed) * 1000);
        },
      });
    };
    for (let i = 0; i < 32; i += 1) one();
  });
}

/** Round trips of 100 bytes on 64 open streams at once, per second. */
function requests(connect: Connect, seconds: number): Promise<number> {
  const message = Buffer.alloc(100, 'x');
  return new Promise(resolve => {
    let done = 0;
    let over = false;
    const startedAt = performance.now();
    const one = (): void => {
      const tunnel = connect('echo:1', {
        onOpen: () => tunnel.write(message),
        onDrain: ignore,
        onEnd: ignore,
        onData: () => {
          done += 1;
          const elapsed = performance.now() - startedAt;
          if (elapsed < seconds * 1000) tunnel.write(message);
          else if (!over) {
            over = true;
            resolve((done / elapsed) * 1000);
          }
        },
      });
    };
    for (let i = 0; i < 64; i += 1) one();
  });
}

/** Opens 10 000 streams, echoes one byte on each and keeps them, so that the parent can ask both ends for their memory. */
async function memory(connect: Connect): Promise<number> {
  const byte = Buffer.from('x');
  for (let i = 0; i < 100; i += 1) {
    await Promise.all(
      Array.from({ length: 100 }, () => {
        const { promise, resolve } = Promise.withResolvers<void>();
        const tunnel: Tunnel = connect('echo:1', {
          onOpen: () => tunnel.write(byte),
          onDrain: ignore,
          onEnd: ignore,
          onData: () => resolve(),
        });
        return promise;
      }),
    );
  }
  return 10_000;
}

const measures = { roundTrip, throughput, connects, requests, memory };

async function measure(command: Extract<Command, { do: 'measure' }>): Promise<void> {
  const transport = tls.connect({
    host: '127.0.0.1',
    port: command.port,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  });
  transport.setNoDelay(true);
  await new Promise(resolve => transport.once('secureConnect', resolve));
  const connect = await (command.kind === 'node' ? connectNode(transport) : connectCulvert(transport));
  send({ value: await measures[command.measure](connect, command.seconds) });
}

function send(report: Report): void {
  process.send?.(report);
}

process.on('message', (command: Command) => {
  if (command.do === 'serve') serve(command);
  else if (command.do === 'measure') void measure(command);
  else {
    globalThis.gc?.();
    globalThis.gc?.();
    const usage = process.memoryUsage();
    send({ heap: usage.heapUsed + usage.external, resident: usage.rss });
  }
});
process.on('disconnect', () => process.exit());
