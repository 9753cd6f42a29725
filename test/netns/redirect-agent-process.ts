/**
 * The agent of redirect-agent.ts in a process of its own, to be killed: `node redirect-agent-process.ts OPTIONS`, where OPTIONS is
 * the JSON of what Redirect.open takes and a list of pods.
 */
import { Redirect, type RedirectOptions } from '../../agent/redirect.ts';
import type { LabPod } from '../lab/pod.ts';
import { PodAgent } from './redirect-agent.ts';

interface Pod {
  readonly netns: string;
  readonly addresses: readonly string[];
  readonly failMode: 'open' | 'closed';
}

const { redirect: options, pods } = JSON.parse(process.argv[2] ?? '') as {
  redirect: RedirectOptions;
  pods: readonly Pod[];
};
const redirect = Redirect.open(options);
for (const { netns, addresses, failMode } of pods) {
  await PodAgent.start(() => redirect, { netnsPath: netns } as LabPod, {
    addresses,
    failMode,
    ports: options.ports,
  });
}
process.stdout.write('enrolled\n');
