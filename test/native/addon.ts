/** The addon as a whole: what it exports, what it refuses, and several threads that use it at once. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { addonPath, loadAddon, native as exported } from '../../native/addon.ts';
import * as native from '../../native/native.ts';
import { namespace, openFiles, runModule } from './fixtures.ts';

const folder = join(import.meta.dirname, '../../native');

t.test('every export of the addon has its declaration, in the same order', async t => {
  const compiled = Object.keys(createRequire(import.meta.url)(addonPath) as object);
  const declared = [...readFileSync(join(folder, 'native.ts'), 'utf8').matchAll(/native\('(\w+)'\)/g)].map(
    match => match[1],
  );
  t.same(['setErrorFactory', ...declared], compiled);
});

t.test('a missing build says what to run', async t => {
  t.throws(() => loadAddon('/nonexistent/culvert.node'), {
    message: /\/nonexistent\/culvert\.node.*make build/,
  });
});

t.test('a build older than the sources says what to run', async t => {
  t.throws(() => exported('notYetCompiled'), { message: /no notYetCompiled.*make build/ });
});

t.test('a wrong argument is a TypeError that names it', async t => {
  const call = (name: string, ...args: readonly unknown[]) =>
    exported<(...args: readonly unknown[]) => unknown>(name)(...args);
  t.throws(() => call('close', '3'), TypeError);
  t.throws(() => call('close', -1), { message: /^fd must be an integer from 0/ });
  t.throws(() => call('close', 1.5), { message: /^fd must be an integer/ });
  t.throws(() => call('close', Number.NaN), { message: /^fd must be an integer/ });
  t.throws(() => call('openNetns'), { message: 'path must be a string' });
  t.throws(() => call('openNetns', '/proc/self/ns/net\0x'), { message: 'path must be a string without NUL' });
  t.throws(() => call('tcpSockets', 0, 5, 1), { message: 'family must be 4 or 6' });
  t.throws(() => call('tcpSockets', 0, 4, 0), { message: 'count must be an integer from 1 to 1024' });
  t.throws(() => call('tcpListener', 0, { address: '::1' }), {
    message: /^port must be an integer from 0 to 65535/,
  });
  t.throws(() => call('tcpListener', 0, null), { message: 'options must be an object' });
  t.throws(() => call('udpSocket', 0, { address: '::1', port: 0, reusePort: 1 }), {
    message: 'reusePort must be a boolean',
  });
  t.throws(() => call('mapLookup', 0, 'key'), { message: 'key must be a Uint8Array' });
  t.throws(() => call('mapLookup', 0, new Float64Array(1)), { message: 'key must be a Uint8Array' });
  t.throws(() => call('mapUpdate', 0, new Uint8Array(1), new Uint8Array(1), 'some'), {
    message: /^mode must be/,
  });
  t.throws(() => call('attachCgroup', 0, 0, 'connect5'), { message: 'attachType connect5 is unknown' });
  t.throws(() => call('ringbufOpen', 0, null), { message: 'onRecords must be a function' });
  t.throws(() => call('socketLoopOpen', new Uint8Array(8), () => {}), {
    message: 'events must be a Uint32Array of pairs',
  });
  t.throws(() => call('socketLoopAdopt', {}, 3), { message: 'loop must be a socket loop' });
  t.throws(() => call('receive', 0, new Uint8Array(4), 5), { message: /^at must be an integer from 0 to 4/ });
  t.throws(() => call('objectLoad', {}), { message: 'object must be a BPF object' });
  t.throws(() => call('ringbufClose', {}), { message: 'ringbuf must be a ring buffer' });
  t.throws(
    () => call('objectOpen', '/x', { rodata: {} }),
    { name: 'NativeError' },
    'the file is looked at first',
  );
});

t.test('an exception in a getter of the options passes through', async t => {
  const options = {
    get address(): string {
      throw new RangeError('mine');
    },
    port: 0,
    reusePort: false,
    v6Only: false,
  };
  t.throws(() => native.udpSocket(0, options), new RangeError('mine'));
});

interface Reply {
  readonly cookie: bigint;
  readonly fds: number;
  readonly error: string;
  readonly fix: string | null;
}

t.test('threads use it at the same time and none disturbs another', async t => {
  const places = [namespace(t), namespace(t), namespace(t)];
  const before = openFiles();
  const replies = await Promise.all(
    places.map(
      place =>
        new Promise<Reply>((resolve, reject) => {
          const worker = new Worker(join(import.meta.dirname, 'worker.ts'), {
            workerData: { netnsFd: place.fd, rounds: 300 },
          });
          let reply: Reply | undefined;
          worker.on('message', (message: Reply) => (reply = message));
          worker.on('error', reject);
          worker.on('exit', () => (reply ? resolve(reply) : reject(new Error('no reply'))));
        }),
    ),
  );
  t.same(
    replies.map(reply => reply.cookie),
    places.map(place => native.netnsCookie(place.fd)),
    'each saw its own namespace',
  );
  t.same(
    replies.map(reply => reply.fds),
    [600, 600, 600],
  );
  for (const reply of replies)
    t.match(reply, { error: 'NativeError EBADF', fix: /closed/ }, 'errors are whole in workers');
  t.equal(openFiles(), before);
  t.ok(native.monotonicNs() > 0n, 'the main thread goes on after the workers unloaded the addon');
});

t.test('it works in a thread when no other thread has it', async t => {
  // A child whose main thread never loads the addon: the last thread to leave must not take its code away.
  const script = `
    import { Worker } from 'node:worker_threads';
    for (let round = 0; round < 3; round++) {
      const worker = new Worker(${JSON.stringify(join(import.meta.dirname, 'worker.ts'))}, { workerData: { netnsFd: null, rounds: 5 }, execArgv: [] });
      await new Promise(resolve => worker.on('exit', resolve));
    }
    console.log('alive');`;
  t.equal(runModule(script).trim(), 'alive');
});
