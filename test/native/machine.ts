/** Clocks, ids, mounts and features of the machine. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import * as native from '../../native/native.ts';
import { cgroup, directory, failure } from './fixtures.ts';

t.test('the clock is that of the kernel', async t => {
  const before = process.hrtime.bigint();
  const now = native.monotonicNs();
  t.ok(before <= now && now <= process.hrtime.bigint());
});

t.test('the id of a cgroup is its inode', async t => {
  const group = cgroup(t);
  const { statSync } = await import('node:fs');
  t.equal(native.cgroupId(group.path), statSync(group.path, { bigint: true }).ino);
  t.match(
    failure(() => native.cgroupId(join(group.path, 'absent'))),
    { code: 'ENOENT', syscall: /name_to_handle_at/ },
  );
});

t.test('filesystems are mounted once and unmounted', async t => {
  const kinds = [
    { mount: native.mountBpffs, magic: 0xcafe4a11 },
    { mount: native.mountCgroup2, magic: 0x63677270 },
  ];
  for (const { mount, magic } of kinds) {
    const path = join(directory(t), 'mount');
    mkdirSync(path);
    t.equal(mount(path), true);
    t.equal(statfsSync(path).type, magic);
    t.equal(mount(path), false, 'it is there already');
    native.unmount(path);
    t.not(statfsSync(path).type, magic);
    t.match(
      failure(() => mount(join(path, 'absent'))),
      { code: 'ENOENT' },
    );
  }
  t.match(
    failure(() => native.unmount('/nonexistent')),
    { code: 'ENOENT', syscall: 'umount /nonexistent' },
  );
});

t.test('what this kernel can do is a list of values', async t => {
  const features = native.probe();
  t.equal(new Set(features.map(feature => feature.name)).size, features.length);
  const by = new Map(features.map(feature => [feature.name, feature]));
  t.match(by.get('kernel'), { available: true, needs: 'Linux 5.15', detail: release() });
  t.match(by.get('CAP_SYS_ADMIN'), { available: true, detail: 'effective' });
  // Everything that this tier of tests uses, so that a probe that is wrong about it shows.
  for (const name of [
    'connect programs',
    'getpeername programs',
    'sock_ops programs',
    'sk_lookup programs',
    'cgroup links',
    'SO_NETNS_COOKIE',
    'ring buffer maps',
    'socket storage maps',
    'socket storage in connect',
    'netns cookie in sock_ops',
  ]) {
    t.match(by.get(name), { available: true, needs: /^Linux \d\.\d+$/, detail: 'works' }, name);
  }
  t.equal(by.get('kernel BTF')?.available, existsSync('/sys/kernel/btf/vmlinux'));
  const [major = 0, minor = 0] = release().split('.').map(Number);
  t.equal(by.get('bpf_set_retval in connect')?.available, major > 5 || (major === 5 && minor >= 18));
});

// Not on a build with AddressSanitizer, which has an allocator of its own.
const isSanitized = process.env['LD_PRELOAD']?.includes('asan') === true;

t.test('of a large block only what is used takes memory', { skip: isSanitized }, async t => {
  // In a process of its own: it is for good.
  const program = `
    const native = await import(${JSON.stringify(new URL('../../native/native.ts', import.meta.url).href)});
    native.keepBlocksApart(48 << 10);
    const filled = Array.from({ length: 500 }, () => Buffer.allocUnsafeSlow(60 << 10).fill(1));
    const full = process.memoryUsage.rss();
    filled.length = 0;
    // Buffers are given back by another thread of V8, in its own time.
    let before = full;
    for (let looks = 0; looks < 250 && full - before < 25e6; looks += 1) {
      global.gc();
      await new Promise(resolve => setTimeout(resolve, 20));
      before = process.memoryUsage.rss();
    }
    const blocks = Array.from({ length: 500 }, () => Buffer.allocUnsafeSlow(60 << 10));
    for (const block of blocks) block[0] = 1;
    console.log(JSON.stringify({ freed: full - before, grown: process.memoryUsage.rss() - before }));
  `;
  const output = execFileSync(process.execPath, ['--expose-gc', '--input-type=module', '--eval', program]);
  const { freed, grown } = JSON.parse(output.toString()) as { freed: number; grown: number };
  t.ok(freed > 15e6, `${freed} of 30 MB are given back`);
  t.ok(grown < 10e6, `as many blocks that are hardly used take ${grown}`);
});

t.test('memory that starting took is given back, and what was in it comes back when needed', async t => {
  const before = process.memoryUsage.rss();
  native.releaseMemory();
  const after = process.memoryUsage.rss();
  t.ok(after < before, `${before} → ${after}`);
  t.equal(
    native.probe().length,
    new Set(native.probe().map(feature => feature.name)).size,
    'the addon still runs',
  );
  t.equal(JSON.stringify(JSON.parse('{"a":[1,2,3]}')), '{"a":[1,2,3]}', 'and so does Node');
});
