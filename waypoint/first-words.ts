/**
 * Listens to a client until it is clear what it speaks, of TLS until it has said which name it asks for, and gives back what it
 * has heard: whoever serves the connection reads it from its first byte.
 */
import { CulvertError } from '../base/errors.ts';
import { readClientHello, type ClientHello } from './client-hello.ts';
import { detect, type Detected } from './sniff.ts';
import type { StreamSocket } from './stream-socket.ts';

export interface Heard {
  /** `silence`: nothing has been said. */
  readonly what: Detected | 'silence';
  /** Of TLS. */
  readonly hello: ClientHello | null;
  /** Why what began like TLS has no name that can be told; null where nothing is wrong. */
  readonly trouble: CulvertError | null;
  /** What has been said before the client said that it would say no more: it can not be given back. */
  readonly left: Buffer | null;
}

export interface Patience {
  /** How long a client may be silent; null: as it likes. */
  readonly silenceMs: number | null;
  /** Whether TLS is waited for until its first message is whole, and how long; null: TLS is nothing special. */
  readonly helloMs: number | null;
}

/**
 * The socket is paused when `done` is called: once, or never where it closes before.
 * @returns what ends the listening without a result
 */
export function hear(
  socket: StreamSocket,
  { silenceMs, helloMs }: Patience,
  done: (heard: Heard) => void,
): () => void {
  const chunks: Buffer[] = [];
  let [total, wanted] = [0, 1];
  let timer = silenceMs === null ? null : setTimeout(onSilence, silenceMs);
  let isTls = false;
  const stop = (): Buffer | null => {
    if (timer !== null) clearTimeout(timer);
    socket.off('data', onData).off('end', onEnd).off('close', onClose);
    socket.pause();
    if (total === 0 || socket.destroyed) return null;
    const said = Buffer.concat(chunks);
    if (socket.readableEnded) return said;
    socket.unshift(said);
    return null;
  };
  const settle = (
    what: Heard['what'],
    hello: ClientHello | null = null,
    trouble: CulvertError | null = null,
  ): void => {
    const left = stop();
    done({ what, hello, trouble, left });
  };
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk);
    total += chunk.length;
    if (total < wanted) return;
    const bytes = Buffer.concat(chunks);
    chunks.splice(0, chunks.length, bytes);
    const what = detect(bytes);
    if (helloMs === null) {
      if (what !== null) settle(what === 'tls' ? 'tcp' : what);
      return;
    }
    if (!isTls && (what === 'tls' || (what === null && bytes[0] === 0x16))) {
      isTls = true;
      if (timer !== null) clearTimeout(timer);
      timer = setTimeout(onHelloLate, helloMs, helloMs);
    }
    if (what === 'tls') readHello(bytes);
    else if (what !== null) settle(what);
  };
  const readHello = (bytes: Buffer): void => {
    const read = readClientHello(bytes);
    if (read.kind === 'more') wanted = read.wanted;
    else if (read.kind === 'hello') settle('tls', read.hello);
    else settle('tcp', null, helloTrouble('CLIENT_HELLO_INVALID', `its ClientHello can not be: ${read.why}`));
  };
  function onHelloLate(ms: number): void {
    settle('tcp', null, helloTrouble('CLIENT_HELLO_TIMEOUT', `its ClientHello was not whole after ${ms} ms`));
  }
  function onSilence(): void {
    settle(total === 0 ? 'silence' : 'tcp');
  }
  const onEnd = (): void => {
    if (socket.destroyed) return;
    const trouble = isTls ? helloTrouble('CLIENT_HELLO_INVALID', 'its ClientHello ends in the middle') : null;
    settle('tcp', null, trouble);
  };
  const onClose = (): void => {
    stop();
  };
  socket.on('data', onData).once('end', onEnd).once('close', onClose);
  socket.resume();
  return stop;
}

export function helloTrouble(code: string, message: string): CulvertError {
  return new CulvertError(code, message, { side: 'client' });
}
