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

import { measures } from './h2-measures.ts';
import type { Connect, Measure } from './h2-measures.ts';

export type Kind = 'culvert' | 'node';

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
