/** Entries of BPF maps, one by one and all at once. */
import t from 'tap';
import * as native from '../../native/native.ts';
import { failure, sample, u32, u64 } from './fixtures.ts';

/** Keys of a 4-byte key map, sorted. */
function keysOf(entries: native.MapEntries): number[] {
  return Array.from({ length: entries.count }, (_, i) => entries.keys.readUInt32LE(i * entries.keySize)).sort(
    (a, b) => a - b,
  );
}

t.test('an entry is written, read, replaced, taken and deleted', async t => {
  const table = sample(t).mapFd('table');
  t.equal(native.mapLookup(table, u32(1)), null);
  t.match(
    failure(() => native.mapUpdate(table, u32(1), u64(1n), 'replace')),
    { code: 'ENOENT' },
  );
  native.mapUpdate(table, u32(1), u64(1n), 'create');
  t.match(
    failure(() => native.mapUpdate(table, u32(1), u64(2n), 'create')),
    { code: 'EEXIST' },
  );
  native.mapUpdate(table, u32(1), u64(2n), 'replace');
  t.same(native.mapLookup(table, u32(1)), u64(2n));
  t.same(native.mapTake(table, u32(1)), u64(2n));
  t.equal(native.mapTake(table, u32(1)), null);
  native.mapUpdate(table, u32(1), u64(3n), 'any');
  t.equal(native.mapDelete(table, u32(1)), true);
  t.equal(native.mapDelete(table, u32(1)), false);
});

t.test('a full map says so', async t => {
  const table = sample(t).mapFd('table');
  for (let key = 0; key < 4; key++) native.mapUpdate(table, u32(key), u64(0n), 'any');
  t.match(
    failure(() => native.mapUpdate(table, u32(9), u64(0n), 'any')),
    { code: 'E2BIG', fix: /max_entries/ },
  );
});

t.test('keys and values of another size never reach the kernel', async t => {
  const object = sample(t);
  const table = object.mapFd('table');
  t.match(
    failure(() => native.mapLookup(table, Buffer.alloc(3))),
    { code: 'EINVAL', message: /the key has 3 bytes, the map 4/ },
  );
  t.match(
    failure(() => native.mapDelete(table, Buffer.alloc(5))),
    { code: 'EINVAL' },
  );
  t.match(
    failure(() => native.mapTake(table, Buffer.alloc(0))),
    { code: 'EINVAL' },
  );
  t.match(
    failure(() => native.mapUpdate(table, u32(1), u32(1), 'any')),
    { message: /the value has 4 bytes, the map 8/ },
  );
  t.match(
    failure(() => native.mapLookup(object.programFd('permit'), u32(1))),
    { code: 'EINVAL', message: /is no BPF map/ },
  );
  t.match(
    failure(() => native.mapEntriesBatch(0x7fff_ffff)),
    { code: 'EBADF' },
  );
});

t.test('a per-CPU value has one part for each possible CPU', async t => {
  const counters = sample(t).mapFd('counters');
  const value = native.mapLookup(counters, u32(0));
  t.equal(value?.length, native.possibleCpus() * 8);
  const written = Buffer.concat(
    Array.from({ length: native.possibleCpus() }, (_, cpu) => u64(BigInt(cpu + 1))),
  );
  native.mapUpdate(counters, u32(1), written, 'any');
  const all = native.mapEntriesBatch(counters);
  t.match(all, { count: 2, keySize: 4, valueSize: native.possibleCpus() * 8 });
  t.same(all.values.subarray(all.valueSize), written);
});

t.test('thousands of entries are read in batches, each once', async t => {
  const large = sample(t).mapFd('large');
  t.equal(native.mapEntriesBatch(large).count, 0);
  const count = 5000;
  for (let key = 0; key < count; key++) native.mapUpdate(large, u32(key), u64(BigInt(key) * 3n), 'any');
  const entries = native.mapEntriesBatch(large);
  t.same(
    keysOf(entries),
    Array.from({ length: count }, (_, key) => key),
  );
  t.equal(entries.keys.length, count * 4);
  t.equal(entries.values.length, count * 8);
  for (const i of [0, 511, 512, 513, count - 1]) {
    t.equal(
      entries.values.readBigUInt64LE(i * 8),
      BigInt(entries.keys.readUInt32LE(i * 4)) * 3n,
      'key and value stand together',
    );
  }
});

t.test('a map without batch operations is read key by key', async t => {
  const object = sample(t);
  const jumps = object.mapFd('jumps');
  for (const slot of [1, 4, 6]) native.mapUpdate(jumps, u32(slot), u32(object.programFd('permit')), 'any');
  const entries = native.mapEntriesBatch(jumps);
  t.same(keysOf(entries), [1, 4, 6]);
  t.equal(entries.values.readUInt32LE(0), native.programInfo(object.programFd('permit')).id);
});

t.test('what a map type cannot do has a name, though the errno is one of the kernel alone', async t => {
  const jumps = sample(t).mapFd('jumps');
  t.match(
    failure(() => native.mapTake(jumps, u32(0))),
    { code: 'ENOTSUPP', errno: 524, message: /operation not supported/ },
  );
});

t.test('reading while others write returns no key twice', async t => {
  const large = sample(t).mapFd('large');
  for (let round = 0; round < 20; round++) {
    for (let key = 0; key < 1000; key++) native.mapUpdate(large, u32(round * 300 + key), u64(1n), 'any');
    for (let key = 0; key < 300; key++) native.mapDelete(large, u32(round * 300 + key));
    const keys = keysOf(native.mapEntriesBatch(large));
    t.equal(new Set(keys).size, keys.length);
  }
});
