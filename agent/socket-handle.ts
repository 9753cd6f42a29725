/**
 * Two things that node:net does not give: the descriptor of a socket, and a reset that always works.
 */
import type net from 'node:net';
import * as native from '../native/native.ts';

interface WithHandle {
  readonly _handle: { readonly fd: number } | null;
}

/** The descriptor of a socket of this process; -1 once it is closed. */
export function fdOf(socket: net.Socket): number {
  // The one name for it that Node has; there is no public one.
  // oxlint-disable-next-line no-underscore-dangle
  return (socket as unknown as WithHandle)._handle?.fd ?? -1;
}

/**
 * Ends a connection with RST. Not socket.resetAndDestroy(): while an end() is still being sent libuv refuses it, and the
 * descriptor is lost (seen on Node 26).
 */
export function reset(socket: net.Socket): void {
  if (socket.destroyed) return;
  const fd = fdOf(socket);
  if (fd >= 0) native.resetOnClose(fd);
  socket.destroy();
}
