/**
 * The beginning of the report: which pods there are, on which node, what runs in them, and who the agents are.
 */
import { nodeNames } from './cast.ts';
import type { Report } from './report.ts';
import type { Stage } from './stage.ts';

export async function introduce(stage: Stage, report: Report): Promise<void> {
  const [nginx, redis, exim, curl] = await Promise.all([
    version(stage, 'nginx', '-v'),
    version(stage, 'redis-server', '--version'),
    version(stage, 'exim4', '-bV'),
    version(stage, 'curl', '--version'),
  ]);
  const programs = {
    front: `curl ${curl}`,
    batch: 'curl',
    cache: `redis-server ${redis}`,
    web: `nginx ${nginx}`,
    mail: `exim ${exim}`,
  };
  const all = Object.entries(programs).map(([name, program]) => ({
    pod: stage.pod(name as keyof typeof programs),
    program,
  }));
  for (const node of nodeNames) {
    const here = all.filter(({ pod }) => pod.node === node);
    const texts = here.map(({ pod, program }) => `${pod.name} ${pod.address} ${program}`);
    report.row(node, [`agent ${stage.agent(node).pid}`, ...texts].join(' · '));
  }
  report.row('configuration', `${stage.configDir}/*.yaml, read by both agents (culvert run)`);
}

/** The first thing that looks like a version in what a program says of itself. */
async function version(stage: Stage, program: string, flag: string): Promise<string> {
  const { stdout, stderr } = await stage.lab.outside.run(program, [flag], { check: false });
  return /\d+\.\d+(\.\d+)?/.exec(stdout + stderr)?.[0] ?? '';
}
