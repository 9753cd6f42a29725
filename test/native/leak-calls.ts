/**
 * The thread that makes the calls which leak.ts counts: every function of the addon over and over, failures included.
 *
 * Reports `{ calls, failures, files, resident }` when a quarter is done, which fills every cache, and at the end.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import * as native from '../../native/native.ts';
import {
  bpffs,
  cgroup,
  compile,
  namespace,
  noOptions,
  openFiles,
  ownNamespace,
  sample,
  u32,
  u64,
} from './fixtures.ts';

export interface Mark {
  readonly calls: number;
  readonly failures: number;
  readonly files: number;
  /** Bytes of resident memory of the process. */
  readonly resident: number;
}

const { calls } = workerData as { readonly calls: number };
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const ends: (() => void)[] = [];
const t = { teardown: (end: () => void) => void ends.unshift(end) };
const place = namespace(t);
const own = ownNamespace(t);
const group = cgroup(t);
const fs = bpffs(t);
const path = compile(t, 'sample');
const object = sample(t);
const table = object.mapFd('table');
const names = object.mapFd('names');
const permit = object.programFd('permit');
const loopback = { address: '127.0.0.1', port: 0, backlog: 1, reusePort: true, v6Only: true };
const [probe = -1] = native.tcpSockets(own, 4, 1);
t.teardown(() => native.close(probe));

const loop = new native.SocketLoop(new Uint32Array(8), () => {});
t.teardown(() => loop.close());
const inbox = Buffer.alloc(8);

let failures = 0;
const fails = (act: () => unknown) => {
  try {
    act();
  } catch {
    failures += 1;
  }
};
/** Each act makes the number of calls beside it and gives back what it took. */
const acts: readonly (readonly [calls: number, act: () => void])[] = [
  [4, () => native.tcpSockets(place.fd, 4, 3).forEach(native.close)],
  [4, () => native.tcpSockets(place.fd, 6, 3).forEach(native.close)],
  [
    3,
    () => {
      const fd = native.tcpListener(place.fd, loopback);
      native.socketAddress(fd);
      native.close(fd);
    },
  ],
  [
    13,
    () => {
      const listener = native.tcpListener(place.fd, loopback);
      const { port } = native.socketAddress(listener);
      loop.listen(listener);
      const [client = -1] = native.tcpSockets(place.fd, 4, 1);
      loop.adopt(client);
      native.connect(client, '127.0.0.1', port);
      const { fd = -1 } = loop.accept(listener) ?? {};
      loop.watch(fd);
      native.send(client, inbox, true);
      native.push(client);
      native.receive(fd, inbox, 0);
      for (const each of [fd, client, listener]) loop.release(each, true);
    },
  ],
  [2, () => native.close(native.udpSocket(place.fd, loopback))],
  [
    7,
    () => {
      const queue = native.socketQueue();
      native.passSocket(queue.in, probe, 1);
      native.passSocket(queue.in, probe, 2);
      native.takeSocket(queue.out);
      loop.disown(queue.out);
      for (const end of [queue.in, queue.out]) native.close(end);
    },
  ],
  [2, () => native.close(native.openNetns(place.path))],
  [2, () => [native.netnsCookie(place.fd), native.hasIpv6(place.fd)]],
  [2, () => native.close(native.duplicate(probe))],
  [
    3,
    () => {
      native.mapUpdate(table, u32(1), u64(1n), 'any');
      native.mapLookup(table, u32(1));
      native.mapTake(table, u32(1));
    },
  ],
  [2, () => [native.mapDelete(table, u32(2)), native.mapEntriesBatch(table)]],
  [
    2,
    () => {
      native.setPeerName(names, probe, '10.0.0.1', 80);
      native.originalDestination(names, probe);
    },
  ],
  [2, () => [native.monotonicNs(), native.cgroupId(group.path)]],
  [
    3,
    () => {
      const link = native.attachCgroup(permit, group.fd, 'connect4');
      native.linkInfo(link);
      native.close(link);
    },
  ],
  [
    4,
    () => {
      native.pin(table, `${fs}/table`);
      native.close(native.openPinned(`${fs}/table`) ?? -1);
      native.unpin(`${fs}/table`);
    },
  ],
  [
    3,
    () => [
      native.mapInfo(table),
      native.programInfo(permit),
      native.testRun(object.programFd('read_globals'), Buffer.alloc(40)),
    ],
  ],
  [
    8,
    () => {
      fails(() => native.openNetns('/run/netns/cvnat-none'));
      fails(() => native.openNetns('/etc/passwd'));
      fails(() => native.tcpListener(place.fd, { ...loopback, address: '192.0.2.1' }));
      fails(() => native.tcpSockets(table, 4, 2));
      fails(() => native.mapUpdate(table, u32(1), u32(1), 'any'));
      fails(() => native.attachCgroup(permit, place.fd, 'connect4'));
      fails(() => native.openPinned('/etc/passwd'));
      fails(() => native.originalDestination(table, probe));
    },
  ],
];
/** The heavy ones, now and then. */
const seldom = () => {
  native.probe();
  using opened = native.openObject(path, { ...noOptions, skipPrograms: ['refused'] });
  opened.load();
  fails(() => native.openObject(path, { ...noOptions, rodata: { absent: 1 } }));
  using refused = native.openObject(path, noOptions);
  fails(() => refused.load());
  native.ringbufOpen(opened.mapFd('events'), () => {}).close();
};

let done = 0;
async function work(until: number): Promise<Mark> {
  for (let turn = 0; done < until; turn++) {
    for (const [count, act] of acts) {
      act();
      done += count;
    }
    if (turn % 100 === 0) {
      seldom();
      // libuv gives the handle of a ring buffer back in the next turn of the loop.
      await new Promise(resolve => setImmediate(resolve));
    }
  }
  collectGarbage();
  return { calls: done, failures, files: openFiles(), resident: process.memoryUsage.rss() };
}

try {
  const warm = await work(calls / 4);
  parentPort?.postMessage(warm, []);
  parentPort?.postMessage(await work(warm.calls + calls), []);
} finally {
  for (const end of ends) end();
}
