import { join } from 'node:path';
import { renameSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { ConfigFile } from '../../control/config-file.ts';

const account = (name: string): string =>
  `apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: ${name}, namespace: shop }\n`;

const limits = { maxFileBytes: 10_000, settleMs: 60_000 };

/** A file with this text that was written long ago, so that its time stamp tells whether it is the same. */
function fileOf(path: string, text: string): void {
  writeFileSync(path, text);
  utimesSync(path, 1_000, 1_000);
}

t.test('it is read when it may have changed, and news when it has', async t => {
  const path = join(t.testdir({}), 'a.yaml');
  fileOf(path, account('a'));
  const file = new ConfigFile('a.yaml', path, limits);
  t.equal(await file.refresh(false), 'changed');
  t.match(file.objects, [{ name: 'a', origin: { file: 'a.yaml' } }]);
  const { objects } = file;
  t.equal(await file.refresh(false), 'unchanged');
  t.equal(await file.refresh(true), 'unchanged', 'read again, and the same');
  fileOf(path, account('a'));
  t.equal(await file.refresh(false), 'unchanged', 'written again, and the same');
  t.equal(file.objects, objects);
  fileOf(path, account('b'));
  t.equal(await file.refresh(false), 'changed', 'as long, but of another time');
  t.match(file.objects, [{ name: 'b' }]);
});

t.test('a file that was written just now is read again: its time stamp says little', async t => {
  const path = join(t.testdir({ 'a.yaml': account('a') }), 'a.yaml');
  const file = new ConfigFile('a.yaml', path, limits);
  const now = new Date();
  utimesSync(path, now, now);
  t.equal(await file.refresh(false), 'changed');
  writeFileSync(path, account('b'));
  utimesSync(path, now, now);
  t.equal(await file.refresh(false), 'changed');
  t.match(file.objects, [{ name: 'b' }]);
});

t.test('what is broken, empty or gone leaves in force what was', async t => {
  const path = join(t.testdir({}), 'a.yaml');
  fileOf(path, account('a'));
  const file = new ConfigFile('a.yaml', path, limits);
  await file.refresh(false);
  const same = { objects: file.objects };

  fileOf(path, 'kind: [');
  t.equal(await file.refresh(false), 'changed');
  t.match(file, {
    refused: true,
    findings: [{ code: 'file-refused', file: 'a.yaml' }, { code: 'yaml-syntax' }],
  });
  t.match(file, same);
  t.equal(await file.refresh(true), 'unchanged', 'as broken as before');

  fileOf(path, '');
  t.equal(await file.refresh(false), 'unsettled');
  t.match(file, same);
  unlinkSync(path);
  t.equal(await file.refresh(false), 'unsettled');
  t.match(file, same);

  symlinkSync('nowhere', path);
  t.equal(await file.refresh(false), 'changed');
  t.match(file, { refused: true, findings: [{ code: 'unreadable' }], ...same });
  t.equal(await file.refresh(false), 'unchanged');

  fileOf(`${path}.new`, account('a'));
  renameSync(`${path}.new`, path);
  t.equal(await file.refresh(false), 'changed', 'the findings are gone');
  t.match(file, { refused: false, findings: [] });
});

t.test('what stays empty or gone is believed', async t => {
  const path = join(t.testdir({}), 'a.yaml');
  fileOf(path, account('a'));
  const file = new ConfigFile('a.yaml', path, { ...limits, settleMs: 0 });
  await file.refresh(false);
  fileOf(path, '\n');
  t.equal(await file.refresh(false), 'changed');
  t.same(file.objects, []);
  unlinkSync(path);
  t.equal(await file.refresh(false), 'gone');
  t.equal(file.vanish(), 'gone');
});

t.test('a large file leaves room for others while it is parsed', async t => {
  const path = join(t.testdir({}), 'a.yaml');
  fileOf(path, `${account('a')}---\n`.repeat(3_000));
  const file = new ConfigFile('a.yaml', path, { ...limits, maxFileBytes: 1_000_000 });
  let turns = 0;
  let isReading = true;
  const count = (): void => {
    turns += 1;
    if (isReading) setImmediate(count);
  };
  setImmediate(count);
  await file.refresh(false);
  isReading = false;
  t.equal(file.objects.length, 3_000);
  t.ok(turns > 5, `${turns} turns of the event loop`);
});
