/** What the first bytes of a client say about what it speaks. */
import { beginsHello } from './client-hello.ts';

export type Detected = 'http1' | 'http2' | 'tls' | 'tcp';

/** RFC 9113 §3.4 */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'];
/** As many as tell a TLS record with the first message of a client. */
const helloLength = 6;

/** What the first bytes of a client are, or null where more are needed to tell. */
export function detect(bytes: Buffer): Detected | null {
  if (beginsHello(bytes)) return bytes.length < helloLength ? null : 'tls';
  const length = Math.min(bytes.length, preface.length);
  if (bytes.compare(preface, 0, length, 0, length) === 0) return length === preface.length ? 'http2' : null;
  const text = bytes.toString('latin1', 0, 16);
  for (const method of methods) {
    const start = `${method} `;
    if (text.startsWith(start)) {
      const next = text[start.length];
      if (next === undefined) return null;
      // A path, an absolute URL, an asterisk; the target of a CONNECT is a name.
      return method === 'CONNECT' || /[/*A-Za-z]/.test(next) ? 'http1' : 'tcp';
    }
    if (start.startsWith(text)) return null;
  }
  return 'tcp';
}
