import { execFileSync } from 'node:child_process';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cgroup2MountPoint } from '../../base/cgroup.ts';

const mount = cgroup2MountPoint() ?? '';
const name = `culvert-own-cgroup-${process.pid}`;
const module = join(import.meta.dirname, '../../agent/own-cgroup.ts');

/** What a process says that is in a cgroup of its own and, as in a container, in a namespace of which that is the root. */
function inContainer(script: string): string {
  const program = `import { ownCgroup, seeCgroupsOfNode } from ${JSON.stringify(module)};
    import { readFileSync } from 'node:fs';
    import { Worker } from 'node:worker_threads';
    const path = () => /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))[1];
    ${script}`;
  const shell = `echo $$ >${join(mount, name, 'container', 'cgroup.procs')} && exec unshare --cgroup "$@"`;
  const args = ['-c', shell, 'sh', process.execPath, '--input-type=module', '--eval', program];
  return execFileSync('sh', args, { encoding: 'utf8' }).trim();
}

t.before(() => mkdirSync(join(mount, name, 'container'), { recursive: true }));
t.teardown(() => {
  rmdirSync(join(mount, name, 'container'));
  rmdirSync(join(mount, name));
});

t.test('in a container the agent finds its cgroup as the node sees it', async t => {
  const said = inContainer(`console.log(path()); seeCgroupsOfNode(${process.pid}); console.log(path());
    console.log(ownCgroup(${JSON.stringify(mount)})); seeCgroupsOfNode(${process.pid});`);
  t.strictSame(said.split('\n'), ['/', `/${name}/container`, join(mount, name, 'container')]);
});

t.test('a part of the hierarchy does as well, but it must be above', async t => {
  const below = join(mount, name);
  t.equal(
    inContainer(`seeCgroupsOfNode(${process.pid}); console.log(ownCgroup(${JSON.stringify(below)}));`),
    join(below, 'container'),
  );
  const refused = inContainer(`seeCgroupsOfNode(${process.pid});
    try { ownCgroup(${JSON.stringify(join(below, 'container'))}) } catch (error) { console.log(error.code) }`);
  t.equal(refused, 'CGROUP_UNAVAILABLE');
});

t.test('threads that are started then see the same', async t => {
  const said = inContainer(`seeCgroupsOfNode(${process.pid});
    new Worker('import { readFileSync } from "node:fs"; console.log(readFileSync("/proc/thread-self/cgroup", "utf8").match(/^0::(.*)$/m)[1])', { eval: true });`);
  t.equal(said, `/${name}/container`);
});
