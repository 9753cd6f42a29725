/**
 * Kubernetes and CoreDNS, built from their Go modules, and the few small programs of our own that the cluster needs.
 *
 * Kubernetes is not meant to be imported: in its own go.mod the libraries that live in the same repository have version
 * v0.0.0 and are replaced by folders. Published, they have the version v0.X.Y for Kubernetes v1.X.Y. So we write a go.mod
 * of our own with the same requirements and with those versions, and let Go fill in the checksums.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../run.ts';
import { cached } from './cache.ts';
import { coreDnsVersion, kubernetesVersion } from './versions.ts';

export interface Binaries {
  /** Folder with kube-apiserver, kubelet, kubectl and so on. */
  readonly kubernetes: string;
  readonly coredns: string;
  /** First process of a pod and of a node: does nothing, and buries orphans. */
  readonly pause: string;
  /** Client and server for tests. */
  readonly talk: string;
  /** Stands before runc where cgroup v2 has no controllers. */
  readonly runcWithoutLimits: string;
}

/** Tells about steps that take long. */
export type Progress = (line: string) => void;

const commands = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'kubectl',
];
const buildMs = 30 * 60_000;
const source = (name: string): string => join(import.meta.dirname, 'programs', name);

/** Builds what is not in the cache. The first time takes minutes, a look at the cache milliseconds. */
export async function buildBinaries(progress: Progress = () => {}): Promise<Binaries> {
  // One after the other: each uses every processor.
  const kubernetes = await buildKubernetes(progress);
  const coredns = await buildCoreDns(progress);
  const [pause, talk, runcWithoutLimits] = await Promise.all([
    buildC('pause'),
    buildGo('talk'),
    buildGo('runc-without-limits'),
  ]);
  return { kubernetes, coredns, pause, talk, runcWithoutLimits };
}

function buildKubernetes(progress: Progress): Promise<string> {
  const [, minor = ''] = kubernetesVersion.split('.');
  const variables = { gitVersion: kubernetesVersion, gitMajor: '1', gitMinor: minor };
  const settings = Object.entries(variables).map(
    ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
  );
  const flags = `-ldflags=-s -w ${settings.join(' ')}`;
  return cached(`kubernetes-${kubernetesVersion}`, [flags, ...commands], async path => {
    progress(`building Kubernetes ${kubernetesVersion} (the first time: some minutes)`);
    await inModule(await kubernetesModule(), async folder => {
      mkdirSync(path);
      const packages = commands.map(name => `k8s.io/kubernetes/cmd/${name}`);
      await go(['build', flags, '-o', `${path}/`, ...packages], folder);
    });
  });
}

/** A go.mod whose packages can be built. */
async function kubernetesModule(): Promise<string> {
  const module = 'k8s.io/kubernetes';
  const downloaded = await go(['mod', 'download', '-json', `${module}@${kubernetesVersion}`], tmpdir());
  const { GoMod } = JSON.parse(downloaded) as { GoMod: string };
  const { Go, Require, Replace } = JSON.parse(await go(['mod', 'edit', '-json', GoMod], tmpdir())) as {
    Go: string;
    Require: { Path: string; Version: string }[];
    Replace: { Old: { Path: string }; New: { Path: string } }[];
  };
  const libraryVersion = kubernetesVersion.replace('v1.', 'v0.');
  const libraries = Replace.filter(({ New }) => New.Path.startsWith('./')).map(({ Old }) => Old.Path);
  return [
    'module culvert.dev/lab/kubernetes',
    `go ${Go}`,
    `require ${module} ${kubernetesVersion}`,
    ...Require.map(({ Path, Version }) => `require ${Path} ${Version}`),
    ...libraries.map(path => `replace ${path} => ${path} ${libraryVersion}`),
    '',
  ].join('\n');
}

function buildCoreDns(progress: Progress): Promise<string> {
  return cached(`coredns-${coreDnsVersion}`, [], async path => {
    progress(`building CoreDNS ${coreDnsVersion}`);
    const folder = mkdtempSync(join(tmpdir(), 'culvert-kube-go-'));
    try {
      await go(['install', '-ldflags=-s -w', `github.com/coredns/coredns@${coreDnsVersion}`], folder, {
        GOBIN: folder,
        GOFLAGS: '',
      });
      await run('mv', [join(folder, 'coredns'), path]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

/** One file of the standard library's Go, so that no module is needed. */
export function buildGo(name: string): Promise<string> {
  return cached(name, [readFileSync(source(`${name}.go`))], async path => {
    await go(['build', '-ldflags=-s -w', '-o', path, source(`${name}.go`)], tmpdir(), { GOFLAGS: '' });
  });
}

function buildC(name: string): Promise<string> {
  return cached(name, [readFileSync(source(`${name}.c`))], async path => {
    await run('cc', ['-Os', '-Wall', '-Wextra', '-Werror', '-static', '-s', '-o', path, source(`${name}.c`)]);
  });
}

async function inModule(goMod: string, act: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-kube-go-'));
  try {
    writeFileSync(join(folder, 'go.mod'), goMod);
    await act(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function go(args: readonly string[], cwd: string, env: Record<string, string> = {}): Promise<string> {
  const settings = { CGO_ENABLED: '0', GOFLAGS: '-mod=mod', GOWORK: 'off', GOTOOLCHAIN: 'local', ...env };
  return (await run('go', args, { cwd, env: settings, timeoutMs: buildMs })).stdout;
}
