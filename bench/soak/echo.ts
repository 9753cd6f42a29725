/**
 * The server of soak-requests.ts: `node echo.ts NAME`. It answers each request with what was asked, so that who asked can tell
 * whether the answer is his: HTTP/1.1 on 8080, HTTP/2 on 8081.
 *
 * Paths: `/retry/…` is refused with 503 once and served when it comes again; `/slow/…` never ends; all others return their body.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import http2 from 'node:http2';
import { echoPorts } from './request-objects.ts';

const [name = ''] = process.argv.slice(2);
/** What was refused once. It comes again, so this does not grow. */
const refused = new Set<string>();
/** Of an answer that has no end. */
const pieceMs = 100;

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { url = '', method = '' } = request;
  response.on('error', () => {});
  if (url.startsWith('/retry/') && !refused.delete(url)) {
    refused.add(url);
    response.writeHead(503).end();
    return;
  }
  response.setHeader('x-server', name);
  response.setHeader('x-asked', `${method} ${url}`);
  if (url.startsWith('/slow/')) {
    const timer = setInterval(() => response.write('.'), pieceMs);
    response.write('.');
    response.on('close', () => clearInterval(timer));
    return;
  }
  const chunks: Buffer[] = [];
  request
    .on('data', (chunk: Buffer) => chunks.push(chunk))
    .on('end', () => response.end(chunks.length === 0 ? url : Buffer.concat(chunks)))
    .on('error', () => {});
}

http.createServer({ keepAliveTimeout: 0 }, answer).listen(echoPorts.http1);
// What requests of HTTP/2 have of those of HTTP/1 is all that is used here.
http2.createServer(answer as never).listen(echoPorts.http2);
