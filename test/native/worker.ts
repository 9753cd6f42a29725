/** A thread that makes sockets in a namespace over and over and reports where they were (addon.ts starts it). */
import { parentPort, workerData } from 'node:worker_threads';
import { NativeError } from '../../native/errors.ts';
import * as native from '../../native/native.ts';

const { netnsFd, rounds } = workerData as { netnsFd: number | null; rounds: number };
const place = netnsFd ?? native.openNetns('/proc/self/ns/net');
const cookie = native.netnsCookie(place);
let fds = 0;
for (let round = 0; round < rounds; round++) {
  for (const fd of native.tcpSockets(place, 4, 2)) {
    fds += 1;
    native.close(fd);
  }
  if (native.netnsCookie(place) !== cookie) throw new Error('another thread moved this one');
}
let error = 'none';
let fix: string | null = null;
try {
  native.close(0x7fff_ffff);
} catch (thrown) {
  if (thrown instanceof NativeError) {
    error = `${thrown.name} ${thrown.code}`;
    fix = thrown.fix;
  }
}
parentPort?.postMessage({ cookie, fds, error, fix }, []);
