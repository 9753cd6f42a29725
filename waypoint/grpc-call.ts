/** One call of gRPC by the waypoint itself: a message to a service of the mesh, and the message that comes back. */
import { Readable } from 'node:stream';
import { CulvertError } from '../base/errors.ts';
import { headerOf, type HeaderList } from '../model/http-head.ts';
import type { Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import type { OutgoingCall } from './outgoing.ts';
import { askEndpoints, NoAnswer } from './own-call.ts';
import { poolsOf } from './pools.ts';

export interface UnaryCall {
  /** `namespace/hostname` */
  readonly service: string;
  readonly port: number;
  /** `/package.Service/Method` */
  readonly path: string;
  readonly message: Buffer;
  readonly timeoutMs: number;
}

/** A flag and a length come before each message. */
const prefixBytes = 5;
const maxBytes = 1024 * 1024;

/** Rejects with GRPC_CALL_FAILED, GRPC_CALL_TIMEOUT, or the error of the way. */
export function callUnary(context: WaypointContext, call: UnaryCall): Promise<Buffer> {
  return askEndpoints(context, call, (way, leftMs) => callOnce(context, call, way, leftMs));
}

function callOnce(
  context: WaypointContext,
  { service: key, port, path, message, timeoutMs }: UnaryCall,
  way: Way,
  leftMs: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let isOver = false;
    const settle = (error: Error | null, answer: Buffer): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      if (error === null) resolve(answer);
      else reject(error);
    };
    const giveUp = (error: CulvertError): void => {
      sent.abort();
      settle(error, none);
    };
    const conclude = (grpcStatus: string | null, grpcMessage: string | null): void => {
      if (grpcStatus !== '0')
        settle(failed(`${key} answers with status ${grpcStatus ?? '-'}: ${grpcMessage ?? ''}`), none);
      else settle(messageIn(Buffer.concat(chunks)), Buffer.concat(chunks).subarray(prefixBytes));
    };
    let head: HeaderList = [];
    const body = Buffer.concat([prefixOf(message.length), message]);
    const authority = `${way.service?.hostname ?? way.address}:${port}`;
    const sent: OutgoingCall = poolsOf(context).http2.send(
      way,
      {
        head: {
          method: 'POST',
          path,
          query: null,
          scheme: 'http',
          authority,
          headers: ['content-type', 'application/grpc', 'grpc-timeout', `${Math.ceil(leftMs)}m`],
        },
        body: Readable.from([body], { objectMode: false }),
      },
      {
        onInformation: () => {},
        onResponse: (status, headers) => {
          head = headers;
          if (status !== 200) giveUp(failed(`${key} answers with HTTP ${status}`));
        },
        onData: chunk => {
          bytes += chunk.length;
          if (bytes <= maxBytes) chunks.push(chunk);
          else giveUp(failed(`${key} answers with more than ${maxBytes} bytes`));
          return true;
        },
        onEnd: trailers => {
          const said = (name: string): string | null => headerOf(trailers, name) ?? headerOf(head, name);
          conclude(said('grpc-status'), said('grpc-message'));
        },
        onSwitch: (_headers, socket) => socket.destroy(),
        onError: ({ error }) => settle(new NoAnswer(error), none),
      },
    );
    const timer = setTimeout(() => {
      const late = `${key} does not answer within ${timeoutMs} ms`;
      giveUp(new CulvertError('GRPC_CALL_TIMEOUT', late, { side: 'server' }));
    }, leftMs);
  });
}

const none = Buffer.alloc(0);

function prefixOf(length: number): Buffer {
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(length, 1);
  return prefix;
}

/** What is wrong with the answer, null where it is one message as it is. */
function messageIn(answer: Buffer): CulvertError | null {
  const isOne =
    answer.length >= prefixBytes && answer[0] === 0 && answer.readUInt32BE(1) === answer.length - prefixBytes;
  return isOne ? null : failed('the answer is not one message as it is');
}

function failed(message: string): CulvertError {
  return new CulvertError('GRPC_CALL_FAILED', message, { side: 'server' });
}
