/**
 * Connects a socket and makes a leg of it. Inside one node the answer is there before connect() returns, and then nobody
 * waits; else there is a deadline.
 */
import { getSystemErrorName } from 'node:util';
import { CulvertError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import type { Leg } from './leg.ts';
import type { LegLoop } from './leg-loop.ts';

const [EALREADY, EINPROGRESS] = [114, 115];

/** Owns `fd` from now on. `done` runs once, maybe before this returns. Returns what aborts the attempt. */
export function dialLeg(
  loop: LegLoop,
  fd: number,
  { address, port }: native.SocketAddress,
  timeoutMs: number,
  done: (error: CulvertError | null, leg: Leg | null) => void,
): () => void {
  const leg = loop.adopt(fd);
  const settle = (errno: number): void => {
    if (errno === 0) {
      done(null, leg);
      return;
    }
    leg.reset();
    done(dialError(address, port, getSystemErrorName(-errno)), null);
  };
  const first = native.connect(fd, address, port);
  if (!isUnderWay(first)) {
    settle(first);
    return () => {};
  }
  let over = false;
  const stop = (): void => {
    over = true;
    clearTimeout(timer);
    unwatch();
  };
  const unwatch = loop.whileConnecting(fd, () => {
    const errno = native.connect(fd, address, port);
    if (isUnderWay(errno)) return;
    stop();
    settle(errno);
  });
  const timer = setTimeout(() => {
    stop();
    leg.reset();
    done(dialTimeout(address, port, timeoutMs), null);
  }, timeoutMs);
  return () => {
    if (over) return;
    stop();
    leg.reset();
  };
}

function isUnderWay(errno: number): boolean {
  return errno === EINPROGRESS || errno === EALREADY;
}

export function dialTimeout(address: string, port: number, timeoutMs: number): CulvertError {
  return new CulvertError('DIAL_TIMEOUT', `no answer from ${address}:${port} within ${timeoutMs} ms`, {
    side: 'server',
    fix: 'look for a NetworkPolicy or a route that drops these packets',
  });
}

/** @param code such as `ECONNREFUSED` */
export function dialError(address: string, port: number, code: string): CulvertError {
  const refused = code === 'ECONNREFUSED';
  return new CulvertError(refused ? 'DIAL_REFUSED' : 'DIAL_FAILED', `${address}:${port}: ${code}`, {
    side: 'server',
    fix: refused ? 'nothing listens there' : null,
  });
}
