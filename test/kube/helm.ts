/** Helm, built from its Go module and kept beside the other programs of the lab. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cached } from '../lab/cluster/cache.ts';
import { type Finished, run } from '../lab/run.ts';

const version = 'v3.22.0';
const module = 'helm.sh/helm/v3/cmd/helm';
const buildMs = 15 * 60_000;

/** Path of the program. The first time takes a minute or two. */
function buildHelm(): Promise<string> {
  return cached(`helm-${version}`, [], async path => {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-helm-'));
    try {
      const env = { GOBIN: folder, CGO_ENABLED: '0', GOFLAGS: '', GOWORK: 'off', GOTOOLCHAIN: 'local' };
      await run('go', ['install', '-ldflags=-s -w', `${module}@${version}`], {
        cwd: folder,
        env,
        timeoutMs: buildMs,
      });
      await run('mv', [join(folder, 'helm'), path]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

/** Runs it, with nothing of this user's own Helm configuration. */
export async function helm(
  args: readonly string[],
  options: { check?: boolean; timeoutMs?: number } = {},
): Promise<Finished> {
  const home = mkdtempSync(join(tmpdir(), 'culvert-helm-home-'));
  try {
    const env = { HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home };
    return await run(await buildHelm(), args, { ...options, env });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
