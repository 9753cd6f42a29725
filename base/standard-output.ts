/**
 * A descriptor of standard output on which a write never waits: a reader that sleeps gives EAGAIN instead.
 *
 * A write that waits occupies a thread of libuv's pool, and a process with such a thread can't even exit.
 */
import fs from 'node:fs';
import net from 'node:net';

let descriptor: number | null = null;
/** Keeps the object that made a socket non-blocking; libuv never closes descriptors 0 to 2. */
let holder: net.Socket | null = null;

/** The same for each call in this thread. */
export function standardOutput(): number {
  descriptor ??= open();
  return descriptor;
}

function open(): number {
  try {
    const kind = fs.fstatSync(1);
    if (kind.isSocket()) {
      // As under systemd. Sockets can't be opened by path, and libuv makes what it adopts non-blocking.
      holder ??= new net.Socket({ fd: 1, readable: false, writable: true }).on('error', () => {}).unref();
    } else if (!kind.isFile()) {
      // A description of our own: whoever shares the pipe or terminal with us keeps waiting writes.
      return fs.openSync(
        '/proc/self/fd/1',
        fs.constants.O_WRONLY | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY,
      );
    }
  } catch {
    // Closed, or somebody else's: then it is used as it is.
  }
  return 1;
}
