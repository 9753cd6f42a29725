/**
 * The client of soak-requests.ts: `node askers.ts ADDRESS`. For each line with a number on standard input it makes that many
 * requests, of all kinds in turn and some at a time, holds every answer against what it must be, and prints one line of JSON.
 */
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { web } from './request-objects.ts';

export interface Asked {
  readonly asked: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly wrong: number;
  /** Of those that were wrong. */
  readonly examples: readonly string[];
}

/** What is asked, and what must come of it. */
interface Kind {
  readonly version: 1 | 2;
  readonly path?: string;
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly bodyBytes?: number;
  readonly canary?: boolean;
  /** Over a connection of its own. */
  readonly alone?: boolean;
  readonly status?: number;
  /** The client goes when the answer has begun. */
  readonly breaksOff?: boolean;
  /** Asked in one round of so many. HTTP/2 takes 33 resets a second and connection for an attack (nghttp2, CVE-2023-44487). */
  readonly everyRounds?: number;
}

interface Answer {
  readonly status: number;
  readonly server: string;
  readonly asked: string;
  readonly body: string;
}

const kinds: Readonly<Record<string, Kind>> = {
  get: { version: 1 },
  head: { version: 1, method: 'HEAD' },
  'get over HTTP/2': { version: 2 },
  canary: { version: 1, canary: true },
  post: { version: 1, method: 'POST', bodyBytes: 2_000 },
  'post over HTTP/2': { version: 2, method: 'POST', bodyBytes: 2_000 },
  'large post': { version: 1, method: 'POST', bodyBytes: 60_000 },
  'large post over HTTP/2': { version: 2, method: 'POST', bodyBytes: 60_000 },
  retried: { version: 1, path: '/retry' },
  'retried over HTTP/2': { version: 2, path: '/retry' },
  denied: { version: 1, path: '/denied', status: 403 },
  'denied over HTTP/2': { version: 2, path: '/denied', status: 403 },
  'on a connection of its own': { version: 1, alone: true },
  'broken off': { version: 1, path: '/slow', breaksOff: true },
  'broken off over HTTP/2': { version: 2, path: '/slow', breaksOff: true, everyRounds: 8 },
};
/** Most requests of a mesh are like these, so they come this many times as often. */
const usual = { get: 20, 'get over HTTP/2': 5, canary: 3, post: 3 };
const round = Object.keys(kinds).flatMap(name =>
  Array.from({ length: name in usual ? usual[name as keyof typeof usual] : 1 }, () => name),
);
const parallel = 64;
const patienceMs = 30_000;
const examplesMost = 5;

const [address = ''] = process.argv.slice(2);
const kept = new http.Agent({ keepAlive: true, maxSockets: parallel });
const bodies = new Map<number, string>();
let session: http2.ClientHttp2Session | null = null;
let number = 0;

function bodyOf(bytes: number): string {
  let body = bodies.get(bytes);
  if (body === undefined) bodies.set(bytes, (body = 'culvert '.repeat(bytes / 8)));
  return body;
}

function headersOf({ canary, bodyBytes = 0 }: Kind): Record<string, string> {
  const length = bodyBytes === 0 ? {} : { 'content-length': String(bodyBytes) };
  return { ...length, ...(canary === true ? { 'x-canary': 'yes' } : {}) };
}

async function byHttp1(kind: Kind, path: string): Promise<Answer> {
  const request = http.request({
    host: address,
    port: web.http1,
    path,
    method: kind.method ?? 'GET',
    headers: headersOf(kind),
    agent: kind.alone === true ? false : kept,
    timeout: patienceMs,
  });
  request.on('timeout', () => request.destroy(new Error('no answer in time')));
  request.end(bodyOf(kind.bodyBytes ?? 0));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const { headers, statusCode: status = 0 } = response;
  const head = { status, server: String(headers['x-server']), asked: String(headers['x-asked']) };
  if (kind.breaksOff !== true) return { ...head, body: await text(response) };
  request.on('error', () => {});
  response.on('error', () => {}).destroy();
  return { ...head, body: '' };
}

async function byHttp2(kind: Kind, path: string): Promise<Answer> {
  if (session === null || session.closed || session.destroyed) {
    session = http2.connect(`http://${address}:${web.http2}`);
    session.on('error', () => {});
  }
  const { method = 'GET' } = kind;
  const { bodyBytes = 0 } = kind;
  const fields = { ':method': method, ':path': path, ...headersOf(kind) };
  const stream = session.request(fields, { endStream: bodyBytes === 0 });
  stream.setTimeout(patienceMs, () => stream.destroy(new Error('no answer in time')));
  if (bodyBytes > 0) stream.end(bodyOf(bodyBytes));
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  const status = Number(headers[':status']);
  const head = { status, server: String(headers['x-server']), asked: String(headers['x-asked']) };
  if (kind.breaksOff !== true) return { ...head, body: await text(stream) };
  stream.on('error', () => {}).close(http2.constants.NGHTTP2_CANCEL);
  return { ...head, body: '' };
}

/** What is wrong with an answer; null where nothing is. */
function fault(kind: Kind, path: string, { status, server, asked, body }: Answer): string | null {
  const { status: wanted = 200, method = 'GET', bodyBytes = 0 } = kind;
  if (status !== wanted) return `status ${status}`;
  if (wanted !== 200 || kind.breaksOff === true) return null;
  if (asked !== `${method} ${path}`) return `the answer is to ${asked}`;
  if (kind.canary === true && server !== 'two') return `from ${server}`;
  const due = method === 'HEAD' ? '' : bodyBytes > 0 ? bodyOf(bodyBytes) : path;
  return body === due ? null : `a body of ${body.length} instead of ${due.length}`;
}

/** Null where the answer was as it must be. */
async function ask(name: string): Promise<string | null> {
  const kind = kinds[name];
  if (kind === undefined) return 'no such kind';
  number += 1;
  const path = `${kind.path ?? '/item'}/${number}`;
  try {
    const answer = await (kind.version === 1 ? byHttp1(kind, path) : byHttp2(kind, path));
    return fault(kind, path, answer);
  } catch (error) {
    return String(error);
  }
}

/** The kind of the request with that number; in place of one whose round it is not, the most usual. */
function kindAt(at: number): string {
  const name = round[at % round.length] ?? 'get';
  return Math.floor(at / round.length) % (kinds[name]?.everyRounds ?? 1) === 0 ? name : 'get';
}

async function askAll(count: number): Promise<Asked> {
  const byKind: Record<string, number> = {};
  const examples: string[] = [];
  let [asked, wrong] = [0, 0];
  const one = async (): Promise<void> => {
    while (asked < count) {
      const name = kindAt(asked);
      asked += 1;
      byKind[name] = (byKind[name] ?? 0) + 1;
      const why = await ask(name);
      if (why === null) continue;
      wrong += 1;
      if (examples.length < examplesMost) examples.push(`${name}: ${why}`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, one));
  return { asked, byKind, wrong, examples };
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await askAll(Number(line)))}\n`);
process.exit();
