import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { dieAlone } from '../../agent/own-cgroup.ts';

t.test('an agent without memory is killed alone, where the kernel can be told', async t => {
  const cgroup = t.testdir();
  t.ok(dieAlone(cgroup), 'without the switch it is so in any case');
  const path = join(cgroup, 'memory.oom.group');
  writeFileSync(path, '1\n');
  t.ok(dieAlone(cgroup));
  t.equal(readFileSync(path, 'utf8'), '0');
  t.notOk(dieAlone(t.testdir({ 'memory.oom.group': {} })), 'and it is said where it is not');
});
