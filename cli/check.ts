/**
 * `culvert check`: can this machine carry the mesh, and is what runs here well? Each line says what was found and, where
 * it isn't as it should be, what to do. Exits 1 when something is missing.
 */
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import type { PathMode } from '../agent/config.ts';
import type { AgentStatus } from '../agent/status.ts';
import { cgroup2MountPoint } from '../base/cgroup.ts';
import { CulvertError, describeError } from '../base/errors.ts';
import { formatFinding } from '../control/finding.ts';
import { askAgent } from './admin-client.ts';
import { type CheckResult, showChecks } from './check-result.ts';

interface CheckOptions {
  readonly output: string;
  readonly bpffs: string;
  readonly cgroupRoot?: string;
  readonly admin: string;
}

const bpfFsMagic = 0xcafe4a11;
const cgroup2Magic = 0x63677270;

export async function check(options: CheckOptions): Promise<void> {
  const results = [
    machine(),
    ...(await kernelFeatures()),
    cgroup(options.cgroupRoot),
    bpffs(options.bpffs),
    clock(),
    files(),
  ];
  results.push(...(await runningAgent(options.admin)));
  showChecks(results, options.output);
}

function machine(): CheckResult {
  if (process.platform !== 'linux')
    return missing('operating system', process.platform, 'Culvert needs Linux');
  return { name: 'operating system', state: 'ok', found: `Linux ${release()} ${process.arch}`, fix: null };
}

async function kernelFeatures(): Promise<CheckResult[]> {
  try {
    const { probe } = await import('../native/native.ts');
    return probe().map(feature =>
      feature.available
        ? { name: feature.name, state: 'ok', found: feature.detail, fix: null }
        : // Without this one a refusal is EPERM instead of ECONNREFUSED; everything else is needed.
          {
            name: feature.name,
            state: /set_retval|BTF/i.test(feature.name) ? 'warning' : 'missing',
            found: feature.detail,
            fix: `needs ${feature.needs}`,
          },
    );
  } catch (error) {
    return [missing('native addon', describeError(error), "run 'make build' in the checkout")];
  }
}

function cgroup(given: string | undefined): CheckResult {
  const path = given ?? cgroup2MountPoint();
  if (path === null) {
    return {
      name: 'cgroup v2',
      state: 'warning',
      found: 'not mounted',
      fix: 'the agent mounts one of its own; pods started before are in its root, which is enough',
    };
  }
  if (!isFilesystem(path, cgroup2Magic))
    return missing('cgroup v2', `${path} is not in a cgroup v2 hierarchy`, 'give another --cgroup-root');
  return { name: 'cgroup v2', state: 'ok', found: path, fix: null };
}

function bpffs(path: string): CheckResult {
  if (existsSync(path) && isFilesystem(path, bpfFsMagic))
    return { name: 'bpffs', state: 'ok', found: path, fix: null };
  return {
    name: 'bpffs',
    state: 'warning',
    found: `${path} is no bpffs`,
    fix: 'the agent mounts it there when it starts',
  };
}

function isFilesystem(path: string, magic: number): boolean {
  try {
    return statfsSync(path).type === magic;
  } catch {
    return false;
  }
}

/** Certificates are back-dated by two minutes at most: a clock that is off makes them invalid. */
function clock(): CheckResult {
  const now = new Date();
  if (now.getUTCFullYear() < 2025)
    return missing('clock', now.toISOString(), 'set the clock, or certificates are not valid');
  return { name: 'clock', state: 'ok', found: now.toISOString(), fix: null };
}

function files(): CheckResult {
  const hard =
    /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 'unlimited';
  const few = hard !== 'unlimited' && Number(hard) < 65_536;
  return {
    name: 'open files',
    state: few ? 'warning' : 'ok',
    found: `${hard} at most`,
    fix: few ? 'a connection takes two; raise the hard limit (ulimit -Hn) for busy nodes' : null,
  };
}

/** What it means that the kernel path is less than was asked for. */
const lessPath: Readonly<Record<PathMode, string>> = {
  off: 'connections between pods of this node go through the agent instead',
  direct: 'sockets are not joined',
  join: '--kernel-path direct joins nothing; docs/troubleshooting.md says which programs need that',
};

/** What a running agent says of itself; none running is not a fault of the machine. */
async function runningAgent(admin: string): Promise<CheckResult[]> {
  let state: AgentStatus;
  try {
    state = await askAgent<AgentStatus>(admin, '/status');
  } catch (error) {
    if (error instanceof CulvertError && error.code === 'AGENT_UNREACHABLE') {
      return [{ name: 'agent', state: 'warning', found: `none on ${admin}`, fix: 'culvert run starts one' }];
    }
    throw error;
  }
  const results: CheckResult[] = [
    state.ready
      ? { name: 'agent', state: 'ok', found: `ready on node ${state.node}`, fix: null }
      : missing('agent', `not ready: ${state.pending.join(', ')}`, 'its log has the reason'),
  ];
  const { mode, problem } = state.kernelPath;
  results.push({
    name: 'kernel path',
    state: problem === null ? 'ok' : 'warning',
    found: problem === null ? mode : `${mode}: ${problem}`,
    fix: problem === null ? null : lessPath[mode],
  });
  for (const pod of state.pods) {
    if (pod.problem !== null)
      results.push(missing(`pod ${pod.namespace}/${pod.name}`, pod.problem, 'it is not protected'));
    else if (pod.certificateUntil === null) {
      results.push(
        missing(
          `pod ${pod.namespace}/${pod.name}`,
          'no valid certificate',
          'see /certificates on the admin port',
        ),
      );
    }
  }
  for (const file of state.configuration.refused) {
    results.push(
      missing(
        `file ${file}`,
        'refused; its last good content is in force',
        'correct it, the findings say where',
      ),
    );
  }
  for (const finding of state.configuration.findings) {
    if (finding.severity === 'info') continue;
    const severe = finding.severity === 'error';
    results.push({
      name: 'configuration',
      state: severe ? 'missing' : 'warning',
      found: formatFinding(finding),
      fix: null,
    });
  }
  return results;
}

function missing(name: string, found: string, fix: string): CheckResult {
  return { name, state: 'missing', found, fix };
}
