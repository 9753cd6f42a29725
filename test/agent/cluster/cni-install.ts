/** The plugin in the node's chain: put in, kept in, taken out, beside other programs that write the same files. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import {
  configurationFiles,
  type PluginEntry,
  withoutPlugin,
  withPlugin,
} from '../../../agent/cluster/cni-conf.ts';
import { CniInstall, uninstallCni } from '../../../agent/cluster/cni-install.ts';
import { createLogger } from '../../../base/log.ts';
import { eventually } from '../../lab/eventually.ts';

execFileSync('make', ['-s', '-C', join(import.meta.dirname, '../../../native/cni'), 'all']);
const warned: unknown[] = [];
const log = Object.assign(createLogger({ component: 'test', level: 'silent' }), {
  warn: ({ code }: { code: unknown }) => warned.push(code),
});
const entry: PluginEntry = {
  type: 'culvert-cni',
  socket: '/run/culvert/cni.sock',
  enrolledNamespaces: '/etc/cni/net.d/culvert-enrolled-namespaces',
  timeoutMs: 25_000,
};

interface List {
  readonly plugins: readonly { readonly type: string }[];
}

const bridge = { type: 'bridge', bridge: 'cni0', ipam: { type: 'host-local' } };
/** With spaces that nobody would write again. */
const list = (...types: readonly string[]): string =>
  `{ "cniVersion": "1.0.0",\n  "name": "net", "plugins": ${JSON.stringify(types.map(type => ({ type })))} }\n`;
const types = (text: string): string[] => (JSON.parse(text) as List).plugins.map(({ type }) => type);

t.test('text: one more plugin, and one less', async t => {
  const original = list('bridge', 'portmap');
  const put = withPlugin('10-net.conflist', original, entry);
  if (put.kind !== 'insert') throw new Error(put.kind);
  t.same(JSON.parse(put.text), {
    cniVersion: '1.0.0',
    name: 'net',
    plugins: [{ type: 'bridge' }, { type: 'portmap' }, entry],
  });
  t.same(withPlugin('10-net.conflist', put.text, entry), { kind: 'already' });
  t.equal(withoutPlugin('10-net.conflist', put.text, original), original, 'letter for letter');
  t.same(types(withoutPlugin('10-net.conflist', put.text, list('other')) ?? ''), ['bridge', 'portmap']);
  t.equal(withoutPlugin('10-net.conflist', original, null), null);

  const moved = withPlugin('10-net.conflist', list('bridge', 'culvert-cni', 'portmap'), entry);
  t.same(moved.kind === 'insert' && types(moved.text), ['bridge', 'portmap', 'culvert-cni'], 'always last');
  const renewed = withPlugin('a.conflist', put.text, { ...entry, timeoutMs: 1 });
  t.match(renewed.kind === 'insert' && JSON.parse(renewed.text), { plugins: [{}, {}, { timeoutMs: 1 }] });
});

t.test('text: a plugin alone becomes a list', async t => {
  const put = withPlugin(
    '10-net.conf',
    JSON.stringify({ cniVersion: '0.3.1', name: 'net', ...bridge }),
    entry,
  );
  t.same(put.kind === 'insert' && JSON.parse(put.text), {
    cniVersion: '0.3.1',
    name: 'net',
    plugins: [{ cniVersion: '0.3.1', name: 'net', ...bridge }, entry],
  });
});

t.test('text: where it would do harm it stays out', async t => {
  const refused = (text: string): unknown => withPlugin('x.conflist', text, entry);
  for (const text of [
    '',
    '[]',
    '{}',
    '{"name":"net"}',
    '{"name":"net","plugins":[]}',
    '{"name":"n","plugins":[1]}',
  ])
    t.match(refused(text), { kind: 'impossible', why: /no CNI configuration/ });
  t.match(refused('{"name":"n","plugins":[{"type":"a"}]}'), { why: /cniVersion is missing/ });
  t.match(refused('{"cniVersion":"0.2.0","name":"n","plugins":[{"type":"a"}]}'), { why: /"0.2.0"/ });
  t.match(refused('{"cniVersion":"2.0.0","name":"n","plugins":[{"type":"a"}]}'), { why: /"2.0.0"/ });
  t.match(refused(list('culvert-cni')), { why: /no plugin/ });
  t.same(
    configurationFiles(['b.conflist', 'a.conf', 'c.json', 'd.txt', '.a.conflist.culvert-new', 'a.conf.x']),
    ['a.conf', 'b.conflist', 'c.json'],
  );
});

/** A node's two directories with these files. */
function node(files: Readonly<Record<string, string>>) {
  const root = t.testdir({ conf: files, bin: {} });
  const places = { binDir: join(root, 'bin'), confDir: join(root, 'conf') };
  const path = (name: string): string => join(places.confDir, name);
  return {
    ...places,
    path,
    read: (name: string): string => readFileSync(path(name), 'utf8'),
    /** As careful programs do. */
    write: (name: string, text: string): void => {
      writeFileSync(path('.other'), text);
      renameSync(path('.other'), path(name));
    },
    install: (): CniInstall => {
      const install = new CniInstall({ ...places, entry, log });
      t.teardown(() => install.close());
      install.start();
      return install;
    },
    /** Waits until a file has these plugins. */
    until: (name: string, ...wanted: readonly string[]): Promise<unknown> =>
      eventually(
        () => existsSync(path(name)) && types(readFileSync(path(name), 'utf8')).join() === wanted.join(),
        {
          what: `${wanted.join()} in ${name}`,
        },
      ),
  };
}

t.test('put in and taken out, it was never there', async t => {
  const files = {
    '10-net.conflist': list('bridge'),
    '99-loopback.conflist': list('loopback'),
    'readme.txt': 'x',
  };
  const it = node(files);
  const install = it.install();
  t.same(install.state, { file: it.path('10-net.conflist'), trouble: null });
  t.same(types(it.read('10-net.conflist')), ['bridge', 'culvert-cni']);
  t.equal(it.read('99-loopback.conflist'), list('loopback'), 'a runtime takes the first file only');
  t.equal(statSync(join(it.binDir, 'culvert-cni')).mode & 0o777, 0o755);
  t.match(
    execFileSync(join(it.binDir, 'culvert-cni'), { env: { CNI_COMMAND: 'VERSION' }, encoding: 'utf8' }),
    /1\.1\.0/,
  );
  install.close();
  uninstallCni(it);
  t.same(Object.fromEntries(readdirSync(it.confDir).map(name => [name, it.read(name)])), files);
  t.same(readdirSync(it.binDir), []);
  uninstallCni(it);
  uninstallCni({ binDir: join(it.binDir, 'no'), confDir: join(it.binDir, 'where') });
});

t.test('a plugin alone comes back as it was', async t => {
  const text = JSON.stringify({ cniVersion: '0.4.0', name: 'net', ...bridge });
  const it = node({ '10-net.conf': text });
  const install = it.install();
  t.same(types(it.read('10-net.conflist')), ['bridge', 'culvert-cni']);
  t.notOk(existsSync(it.path('10-net.conf')), 'its name would come before the list');
  // Whoever made it makes it again, with a change.
  it.write('10-net.conf', text.replace('cni0', 'cni1'));
  await eventually(() => it.read('10-net.conflist').includes('cni1'), { what: 'the change' });
  t.notOk(existsSync(it.path('10-net.conf')));
  install.close();
  uninstallCni(it);
  t.same(readdirSync(it.confDir), ['10-net.conf']);
  t.equal(it.read('10-net.conf'), text.replace('cni0', 'cni1'));
});

t.test('nothing to be put into yet', async t => {
  const it = node({});
  const install = it.install();
  t.match(install.state, { file: null, trouble: /no CNI configuration/ });
  it.write('05-bad.conflist', 'not finished');
  it.write('10-net.conflist', list('bridge'));
  await it.until('10-net.conflist', 'bridge', 'culvert-cni');
  t.equal(it.read('05-bad.conflist'), 'not finished', 'what no runtime reads is left alone');
});

t.test('others write', async t => {
  const it = node({ '10-net.conflist': list('bridge') });
  const install = it.install();
  it.write('10-net.conflist', list('bridge', 'bandwidth'));
  await it.until('10-net.conflist', 'bridge', 'bandwidth', 'culvert-cni');
  // Another mesh puts its own at the end.
  it.write('10-net.conflist', list('bridge', 'bandwidth', 'culvert-cni', 'other-cni'));
  await it.until('10-net.conflist', 'bridge', 'bandwidth', 'other-cni', 'culvert-cni');
  // A new network plugin with a name that comes first.
  it.write('00-new.conflist', list('ptp'));
  await it.until('00-new.conflist', 'ptp', 'culvert-cni');
  await it.until('10-net.conflist', 'bridge', 'bandwidth', 'other-cni');
  rmSync(it.path('00-new.conflist'));
  await it.until('10-net.conflist', 'bridge', 'bandwidth', 'other-cni', 'culvert-cni');
  rmSync(join(it.binDir, 'culvert-cni'));
  it.write('11-touch.conflist', list('x'));
  await eventually(() => existsSync(join(it.binDir, 'culvert-cni')), { what: 'the program' });
  install.close();
  uninstallCni(it);
  t.same(types(it.read('10-net.conflist')), ['bridge', 'bandwidth', 'other-cni']);
});

t.test('one that insists is not fought without end', async t => {
  const it = node({ '10-net.conflist': list('bridge') });
  const install = it.install();
  warned.length = 0;
  for (let times = 1; times < 5; times += 1) {
    it.write('10-net.conflist', list('bridge'));
    await it.until('10-net.conflist', 'bridge', 'culvert-cni');
  }
  t.same(warned, ['CNI_REWRITTEN'], 'and a person is told');
  // Now it takes its time.
  it.write('10-net.conflist', list('bridge'));
  await it.until('10-net.conflist', 'bridge', 'culvert-cni');
  install.close();
});

t.test('one that writes without a pause does not keep it out', async t => {
  const it = node({ '10-net.conflist': list('bridge') });
  const install = it.install();
  const before = install.inserted;
  it.write('10-net.conflist', list('bridge'));
  // Always sooner than the plugin would wait for somebody who is done.
  const writes = setInterval(() => it.write('99-clock', String(Date.now())), 10);
  t.teardown(() => clearInterval(writes));
  await it.until('10-net.conflist', 'bridge', 'culvert-cni');
  t.equal(install.inserted, before + 1, 'and each time is counted');
  clearInterval(writes);
  install.close();
});

t.test('a link stays a link, and rights stay what they were', async t => {
  const it = node({});
  mkdirSync(join(it.binDir, 'elsewhere'));
  const real = join(it.binDir, 'elsewhere', 'real.conflist');
  writeFileSync(real, list('bridge'), { mode: 0o600 });
  symlinkSync(real, it.path('10-net.conflist'));
  const install = it.install();
  t.ok(lstatSync(it.path('10-net.conflist')).isSymbolicLink());
  t.same(types(readFileSync(real, 'utf8')), ['bridge', 'culvert-cni']);
  t.equal(statSync(real).mode & 0o777, 0o600);
  install.close();
  uninstallCni(it, true);
  t.equal(readFileSync(real, 'utf8'), list('bridge'));
  t.ok(existsSync(join(it.binDir, 'culvert-cni')), 'kept where it is still needed to take pods down');
});

t.test('no place for it', async t => {
  const it = node({ file: '' });
  const install = new CniInstall({ confDir: it.confDir, binDir: join(it.path('file'), 'bin'), entry, log });
  t.throws(() => install.start(), { code: 'CNI_INSTALL' });
  install.close();
});
