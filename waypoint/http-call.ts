/** One HTTP/1.1 request by the waypoint itself to a service of the mesh, and the whole answer. */
import { Readable } from 'node:stream';
import { CulvertError } from '../base/errors.ts';
import type { HeaderList } from '../model/http-head.ts';
import type { Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import type { OutgoingCall } from './outgoing.ts';
import { askEndpoints, NoAnswer } from './own-call.ts';
import { poolsOf } from './pools.ts';

export interface HttpCall {
  /** `namespace/hostname` */
  readonly service: string;
  readonly port: number;
  readonly method: string;
  readonly authority: string;
  /** With its query. */
  readonly path: string;
  readonly headers: HeaderList;
  readonly body: Buffer | null;
  readonly timeoutMs: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Buffer;
}

const maxBytes = 256 * 1024;

/** Rejects with HTTP_CALL_FAILED, HTTP_CALL_TIMEOUT, or the error of the way. */
export function callHttp(context: WaypointContext, call: HttpCall): Promise<HttpAnswer> {
  return askEndpoints(context, call, (way, leftMs) => callOnce(context, call, way, leftMs));
}

function callOnce(
  context: WaypointContext,
  { service: key, method, authority, path, headers, body, timeoutMs }: HttpCall,
  way: Way,
  leftMs: number,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let [bytes, status, list]: [number, number, HeaderList] = [0, 0, []];
    let isOver = false;
    const settle = (end: () => void): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      end();
    };
    const sent: OutgoingCall = poolsOf(context).http1.send(
      way,
      {
        head: { method, path, query: null, scheme: 'http', authority, headers },
        body: body === null ? null : Readable.from([body], { objectMode: false }),
      },
      {
        onInformation: () => {},
        onResponse: (code, fields) => ([status, list] = [code, fields]),
        onData: chunk => {
          bytes += chunk.length;
          if (bytes <= maxBytes) chunks.push(chunk);
          else {
            settle(() => reject(failed(`${key} answers with more than ${maxBytes} bytes`)));
            sent.abort();
          }
          return true;
        },
        onEnd: () => settle(() => resolve({ status, headers: list, body: Buffer.concat(chunks) })),
        onSwitch: (_headers, socket) => socket.destroy(),
        onError: ({ error }) => settle(() => reject(new NoAnswer(error))),
      },
    );
    const timer = setTimeout(() => {
      sent.abort();
      const late = `${key} does not answer within ${timeoutMs} ms`;
      settle(() => reject(new CulvertError('HTTP_CALL_TIMEOUT', late, { side: 'server' })));
    }, leftMs);
  });
}

function failed(message: string): CulvertError {
  return new CulvertError('HTTP_CALL_FAILED', message, { side: 'server' });
}
