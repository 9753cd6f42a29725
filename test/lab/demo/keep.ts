/**
 * With KEEP=1 everything stays: how to look around in it, what to try, and how to end it.
 */
import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeNames } from './cast.ts';
import type { Report } from './report.ts';
import type { Stage } from './stage.ts';

const culvert = fileURLToPath(new URL('../../../cli/culvert', import.meta.url));

export function howToLookAround(stage: Stage, report: Report): void {
  const { lab, configDir } = stage;
  const { netns } = lab.node('node-a');
  const program = relative(process.cwd(), culvert);
  const enter = writeEnterScript(stage);
  report.heading('It is still up. Things to try:');
  report.row('a shell in a pod', `${enter} front`);
  report.row('one request', `${enter} front curl http://web.shop/`);
  report.row('why', `${program} explain --config ${configDir} http://web.shop/admin --account front`);
  report.row('status', `ip netns exec ${netns} ${program} status`);
  report.row('edit', `${configDir}/*.yaml; a change is in force when you have saved it`);
  report.row('connections', `tail -f ${nodeNames.map(node => stage.agent(node).accessLogPath).join(' ')}`);
  report.row('logs', `${join(lab.directory, 'logs')}/*-culvert.out, those of the programs beside them`);
  report.row('metrics', `ip netns exec ${netns} curl http://127.0.0.1:15020/metrics`);
  report.row('listen', `ip netns exec ${netns} tcpdump -ni eth0`);
  report.row('end it', 'make demo-down');
}

/**
 * Writes a script that starts a shell or a command in a pod. `ip netns exec` alone is not enough: the mesh captures what
 * runs in the pod's cgroup, as a container's processes do.
 */
function writeEnterScript(stage: Stage): string {
  const { lab } = stage;
  const pods = lab.allPods.map(({ name, cgroup, netns }) => `  ${name}) group=${cgroup} netns=${netns} ;;`);
  const path = join(lab.directory, 'enter');
  const lines = [
    '#!/bin/sh',
    '# enter POD [COMMAND…]: a shell or a command in the cgroup and the network namespace of a pod',
    'case $1 in',
    ...pods,
    `  *) echo "usage: $0 ${lab.allPods.map(({ name }) => name).join('|')} [COMMAND...]" >&2; exit 64 ;;`,
    'esac',
    'shift',
    'echo $$ >"$group/cgroup.procs" || exit',
    '[ $# -gt 0 ] || set -- sh',
    'exec ip netns exec "$netns" "$@"',
    '',
  ];
  writeFileSync(path, lines.join('\n'), { mode: 0o755 });
  return path;
}
