/** What of the cluster's own code is about files of machines other than this one. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cacheDirectory, cached } from '../lab/cluster/cache.ts';
import { hierarchies } from '../lab/cluster/cgroups.ts';

t.test('hierarchies of version 1, with two controllers in one, and our place in each', async t => {
  const memberships = ['4:memory:/user.slice', '3:cpu,cpuacct:/', '1:name=systemd:/init.scope', '0::/x', ''];
  const mount = (point: string, options: string): string =>
    `31 24 0:27 / ${point} rw,nosuid shared:9 - cgroup cgroup rw,${options}`;
  const mounts = [
    '25 24 0:22 / /sys/fs/cgroup ro shared:8 - tmpfs tmpfs ro,mode=755',
    '26 25 0:23 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw',
    mount('/sys/fs/cgroup/systemd', 'xattr,name=systemd'),
    mount('/sys/fs/cgroup/cpu,cpuacct', 'cpu,cpuacct'),
    mount('/sys/fs/cgroup/memory', 'memory'),
  ];
  t.strictSame(hierarchies(memberships.join('\n'), mounts.join('\n')), [
    { controllers: 'memory', path: '/sys/fs/cgroup/memory/user.slice' },
    { controllers: 'cpu,cpuacct', path: '/sys/fs/cgroup/cpu,cpuacct/' },
    { controllers: 'name=systemd', path: '/sys/fs/cgroup/systemd/init.scope' },
  ]);
});

t.test('a machine with version 2 alone has none', async t => {
  const mounts = '30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate';
  t.strictSame(hierarchies('0::/user.slice\n', mounts), []);
});

t.test('where the cache is', async t => {
  t.equal(cacheDirectory({ CULVERT_KUBE_CACHE: '/c' }), '/c');
  t.equal(cacheDirectory({ XDG_CACHE_HOME: '/x' }), '/x/culvert/kube');
  t.match(cacheDirectory({}), /\/\.cache\/culvert\/kube$/);
});

t.test('what is made of the same things is made once, and a failure leaves nothing', async t => {
  const before = process.env['CULVERT_KUBE_CACHE'];
  process.env['CULVERT_KUBE_CACHE'] = join(t.testdir({}), 'cache');
  t.teardown(() => {
    if (before === undefined) delete process.env['CULVERT_KUBE_CACHE'];
    else process.env['CULVERT_KUBE_CACHE'] = before;
  });
  let made = 0;
  const make = (path: string): void => {
    made += 1;
    mkdirSync(path);
    writeFileSync(join(path, 'file'), String(made));
  };
  const first = await cached('thing', ['1'], make);
  t.equal(await cached('thing', ['1'], make), first);
  t.equal(made, 1);
  t.not(await cached('thing', ['1', ''], make), first, 'inputs are told apart, not only their text');
  await t.rejects(
    cached('other', [], path => {
      make(path);
      throw new Error('half done');
    }),
    { message: 'half done' },
  );
  t.not(await cached('other', [], make), null);
  t.equal(made, 4, 'the half is made again');
});
