/** BPF objects: opened, configured, loaded, and what is said when the kernel refuses. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as native from '../../native/native.ts';
import { compile, directory, failure, noOptions, openFiles, sample, u32, u64 } from './fixtures.ts';

const skipPrograms = ['refused'];

t.test('globals have the values given by symbol, each in its size', async t => {
  const rodata = { tiny: 200, small: 0xfedc, word: 0xffff_ffff, wide: 0xffff_ffff_ffff_fffen, negative: -7 };
  const object = sample(t, { rodata });
  const { context } = native.testRun(object.programFd('read_globals'), Buffer.alloc(40));
  const seen = [0, 8, 16, 24].map(offset => context.readBigUInt64LE(offset));
  t.same(seen, [200n, 0xfedcn, 0xffff_ffffn, 0xffff_ffff_ffff_fffen]);
  t.equal(context.readBigInt64LE(32), -7n);
});

t.test('a program of type tc runs in a namespace, with what it is given', async t => {
  const object = sample(t, {});
  const own = native.openNetns('/proc/self/ns/net');
  t.teardown(() => native.close(own));
  const program = object.programFd('first_word');
  t.equal(native.runProgram(program, own, u32(0x0102_0304)), 0x0102_0304);
  t.match(
    failure(() => native.runProgram(program, program, u32(1))),
    { code: 'EINVAL', syscall: 'setns(CLONE_NEWNET)' },
  );
  t.match(
    failure(() => native.runProgram(own, own, u32(1))),
    { syscall: 'bpf(BPF_PROG_TEST_RUN)' },
  );
});

t.test('a value that does not fit, or a symbol that is none, is refused', async t => {
  const path = compile(t, 'sample');
  const open = (rodata: Record<string, number | bigint>) =>
    failure(() => native.openObject(path, { ...noOptions, rodata, skipPrograms }));
  t.match(open({ tiny: 256 }), { code: 'ERANGE', syscall: 'set rodata tiny', message: /1 bytes/ });
  t.match(open({ tiny: -129 }), { code: 'ERANGE' });
  t.match(open({ word: 0x1_0000_0000n }), { code: 'ERANGE' });
  t.match(open({ wide: 1n << 64n }), { code: 'ERANGE' });
  t.match(open({ wide: -(1n << 63n) - 1n }), { code: 'ERANGE' });
  t.match(open({ word: 1.5 }), { code: 'ERANGE' });
  t.match(open({ wide: 2 ** 60 }), { code: 'ERANGE' }, 'a number that JavaScript cannot hold exactly');
  t.match(open({ text: 1 }), { code: 'EINVAL', message: /no number/ });
  t.match(open({ absent: 1 }), {
    code: 'ENOENT',
    syscall: 'set rodata absent',
    message: /no such const volatile/,
  });
  native.openObject(path, { ...noOptions, rodata: { tiny: -128, wide: -1n }, skipPrograms }).close();
});

t.test('names and descriptors of programs and maps', async t => {
  const object = native.openObject(compile(t, 'sample'), { ...noOptions, skipPrograms });
  t.teardown(() => object.close());
  t.match(
    failure(() => object.programFd('permit')),
    { code: 'EBADF', message: /not loaded/ },
  );
  t.match(
    failure(() => object.mapFd('table')),
    { code: 'EBADF', message: /load the object first/ },
  );
  object.load();
  t.ok(object.programs().includes('permit'));
  t.notOk(object.programs().includes('refused'), 'skipped');
  t.ok(object.maps().includes('table'));
  t.match(native.programInfo(object.programFd('permit')), {
    name: 'permit',
    type: 'cgroup_sock_addr',
    tag: /^[0-9a-f]{16}$/,
  });
  t.match(native.mapInfo(object.mapFd('table')), {
    name: 'table',
    type: 'hash',
    keySize: 4,
    valueSize: 8,
    maxEntries: 4,
  });
  t.match(
    failure(() => object.programFd('absent')),
    { code: 'ENOENT', syscall: 'use of program absent' },
  );
  t.match(
    failure(() => object.mapFd('absent')),
    { code: 'ENOENT' },
  );
  t.match(
    failure(() => object.programFd('refused')),
    { code: 'EBADF' },
  );
});

t.test('the verifier is quoted: the telling lines in the message, everything in the log', async t => {
  const path = compile(t, 'sample');
  const before = openFiles();
  const object = native.openObject(path, noOptions);
  t.teardown(() => object.close());
  const error = failure(() => object.load());
  t.match(error, { code: 'EACCES', syscall: 'bpf(BPF_PROG_LOAD) refused', fix: /verifier/ });
  t.match(error.message, /R0 invalid mem access 'map_value_or_null'/);
  t.notMatch(error.message, /processed \d+ insns|failed to load object/);
  t.ok(error.message.length < 1200, `${error.message.length} characters`);
  t.match(error.log, /BEGIN PROG LOAD LOG[^]*call bpf_map_lookup_elem#1[^]*processed \d+ insns/);
  t.throws(() => object.load(), { name: 'NativeError' }, 'the object is good for nothing but close');
  object.close();
  t.equal(openFiles(), before, 'what was loaded before it is gone');
});

t.test('a map that the kernel refuses is named', async t => {
  const object = native.openObject(compile(t, 'sample'), {
    ...noOptions,
    skipPrograms,
    maxEntries: { events: 4097 },
  });
  t.teardown(() => object.close());
  // libbpf rounds a ring buffer up to a power of two pages, so the size is wrong only by what the kernel can give.
  object.load();
  t.equal(native.mapInfo(object.mapFd('events')).maxEntries, 8192);
  const huge = native.openObject(compile(t, 'sample'), {
    ...noOptions,
    skipPrograms,
    maxEntries: { table: 0xffff_ffff },
  });
  t.teardown(() => huge.close());
  t.match(
    failure(() => huge.load()),
    { code: 'E2BIG', syscall: 'bpf(BPF_MAP_CREATE) table' },
  );
});

t.test('sizes of maps are replaced by name', async t => {
  const object = sample(t, { maxEntries: { table: 77 } });
  t.equal(native.mapInfo(object.mapFd('table')).maxEntries, 77);
  const open = (maxEntries: Record<string, number>) => () =>
    native.openObject(compile(t, 'sample'), { ...noOptions, maxEntries });
  t.match(failure(open({ absent: 1 })), { code: 'ENOENT', syscall: 'size of map absent' });
  t.throws(open({ table: 0 }), TypeError);
});

t.test('an existing map takes the place of that of the object', async t => {
  const first = sample(t);
  native.mapUpdate(first.mapFd('table'), u32(1), u64(41n), 'any');
  const second = sample(t, { reuseMaps: { table: first.mapFd('table') } });
  t.equal(native.mapInfo(second.mapFd('table')).id, native.mapInfo(first.mapFd('table')).id);
  first.close();
  t.same(native.mapLookup(second.mapFd('table'), u32(1)), u64(41n), 'and outlives the object it came from');
});

t.test('a map of another shape is refused before anything is loaded', async t => {
  const first = sample(t);
  const open = (reuseMaps: Record<string, number>) =>
    failure(() => native.openObject(compile(t, 'sample'), { ...noOptions, reuseMaps, skipPrograms }));
  t.match(open({ table: first.mapFd('counters') }), {
    code: 'EINVAL',
    message: /percpu_array of 4 → 4 bytes, the object has hash of 4 → 8/,
  });
  t.match(open({ absent: first.mapFd('table') }), { code: 'ENOENT', syscall: 'reuse of map absent' });
  t.match(open({ table: 0x7fff_ffff }), { code: 'EBADF' });
});

t.test('files that are no BPF objects', async t => {
  const path = join(directory(t), 'x.bpf.o');
  t.match(
    failure(() => native.openObject(path, noOptions)),
    { code: 'ENOENT', fix: /make build/ },
  );
  writeFileSync(path, 'not an object');
  t.match(
    failure(() => native.openObject(path, noOptions)),
    { code: 'ENOEXEC', syscall: `open(BPF object) ${path}` },
  );
  const wrong = { ...noOptions, skipPrograms: ['absent'] };
  t.match(
    failure(() => native.openObject(compile(t, 'sample'), wrong)),
    { code: 'ENOENT', syscall: 'skip of program absent' },
  );
});

t.test('close gives every descriptor back, once', async t => {
  const path = compile(t, 'sample');
  const before = openFiles();
  {
    using object = native.openObject(path, { ...noOptions, skipPrograms });
    object.load();
    t.ok(openFiles() > before);
    object.close();
    t.equal(openFiles(), before);
  }
  t.match(
    failure(() => {
      const object = native.openObject(path, noOptions);
      object.close();
      object.load();
    }),
    { code: 'EBADF', syscall: 'use of a closed BPF object' },
  );
});
