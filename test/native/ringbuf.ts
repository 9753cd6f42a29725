/** Events of BPF programs on the event loop. */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import * as native from '../../native/native.ts';
import { failure, openFiles, runModule, sample } from './fixtures.ts';

/** Makes the program send `count` records, first, first + 1, … and returns how many found no room. */
function emit(object: native.BpfObject, first: number, count: number): number {
  const burst = Buffer.alloc(8);
  burst.writeUInt32LE(first, 0);
  burst.writeUInt32LE(count, 4);
  return native.testRun(object.programFd('emit'), burst).result;
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Collects numbers until there are `count`. */
function collect(
  mapFd: number,
  count: number,
): { ring: native.Ringbuf; done: Promise<number[]>; wakes: () => number } {
  const seen: number[] = [];
  let wakes = 0;
  const { promise, resolve } = Promise.withResolvers<number[]>();
  const ring = native.ringbufOpen(mapFd, records => {
    wakes += 1;
    seen.push(...records.map(record => record.readUInt32LE(0)));
    if (seen.length >= count) resolve(seen);
  });
  return { ring, done: promise, wakes: () => wakes };
}

t.test('records arrive in order, many per wake-up', async t => {
  const object = sample(t);
  const { ring, done, wakes } = collect(object.mapFd('events'), 100);
  t.equal(emit(object, 0, 100), 0);
  t.same(await done, range(100));
  t.equal(wakes(), 1);
  ring.close();
});

t.test('a flood is taken in rounds and nothing is left behind', async t => {
  const object = sample(t);
  const { ring, done, wakes } = collect(object.mapFd('events'), 8192);
  t.equal(emit(object, 0, 8192), 0);
  t.same(await done, range(8192));
  t.equal(wakes(), 2);
  t.equal(emit(object, 8192, 8192), 0, 'the room is free again');
  ring.close();
});

t.test('records sent before the reader opened are not lost', async t => {
  const object = sample(t);
  emit(object, 0, 3);
  const { ring, done } = collect(object.mapFd('events'), 3);
  t.same(await done, range(3));
  ring.close();
});

t.test('after close nothing comes, also when the callback itself closes', async t => {
  const object = sample(t);
  const before = openFiles();
  const { promise, resolve } = Promise.withResolvers<number>();
  const ring = native.ringbufOpen(object.mapFd('events'), records => {
    ring.close();
    ring.close();
    resolve(records.length);
  });
  emit(object, 0, 5);
  t.equal(await promise, 5);
  emit(object, 5, 5);
  const { ring: next, done } = collect(object.mapFd('events'), 5);
  t.same(await done, [5, 6, 7, 8, 9], 'the next reader gets what the closed one did not');
  next.close();
  t.equal(openFiles(), before);
});

t.test('an exception in the callback is an uncaught exception, and reading goes on', async t => {
  const script = `
    import * as fixtures from '${join(import.meta.dirname, 'fixtures.ts')}';
    import * as native from '${join(import.meta.dirname, '../../native/native.ts')}';
    const ends = [];
    const object = fixtures.sample({ teardown: end => ends.unshift(end) });
    process.on('uncaughtException', error => console.log('uncaught', error.message));
    const send = first => native.testRun(object.programFd('emit'), Buffer.from(Uint32Array.of(first, 1).buffer));
    const ring = native.ringbufOpen(object.mapFd('events'), ([record]) => {
      const number = record.readUInt32LE(0);
      if (number === 2) { ring.close(); ends.forEach(end => end()); return console.log('closed'); }
      setImmediate(send, number + 1);
      throw new Error('mine ' + number);
    });
    send(0);`;
  const said = runModule(script);
  t.same(said.trim().split('\n'), ['uncaught mine 0', 'uncaught mine 1', 'closed']);
});

t.test('a thread that ends with an open reader leaves nothing', async t => {
  const object = sample(t);
  const before = openFiles();
  const script = `
    import { parentPort, workerData } from 'node:worker_threads';
    const native = await import(workerData.native);
    native.ringbufOpen(workerData.mapFd, records => parentPort.postMessage(records.length));
    parentPort.postMessage('open');`;
  const workerData = {
    native: import.meta.resolve('../../native/native.ts'),
    mapFd: object.mapFd('events'),
  };
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), { workerData });
  const messages: unknown[] = [];
  await new Promise<void>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('message', (message: unknown) => {
      messages.push(message);
      if (message === 'open') emit(object, 0, 2);
      else resolve();
    });
  });
  t.same(messages, ['open', 2]);
  await worker.terminate();
  t.equal(openFiles(), before);
});

t.test('a map that is no ring buffer is refused', async t => {
  const object = sample(t);
  const before = openFiles();
  t.match(
    failure(() => native.ringbufOpen(object.mapFd('table'), () => {})),
    { code: 'EINVAL', syscall: /ring buffer/ },
  );
  t.match(
    failure(() => native.ringbufOpen(0x7fff_ffff, () => {})),
    { code: 'EBADF' },
  );
  t.equal(openFiles(), before);
});
