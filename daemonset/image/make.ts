/**
 * `make image`: builds the image with the container engine of this machine, or without one where there is none, and its
 * bill of materials.
 *
 *   node daemonset/image/make.ts [--tag NAME:TAG] [--base IMAGE]
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { versionString } from '../../base/version.ts';
import { runtimePackages } from './application.ts';
import { buildImage } from './build.ts';
import { billOfMaterials } from './sbom.ts';
import type { SystemPackage } from './system.ts';

const checkout = join(import.meta.dirname, '../..');
const output = join(import.meta.dirname, 'build');

interface Engine {
  readonly name: string;
  readonly build: readonly string[];
}

const ignore = 'daemonset/image/Containerfile.dockerignore';

/** The first one that answers; `docker` is often there without its daemon. */
function engine(): Engine | null {
  const engines: readonly (Engine & { readonly probe: readonly string[] })[] = [
    { name: 'podman', build: ['build', '--ignorefile', ignore], probe: ['info'] },
    { name: 'buildah', build: ['build', '--ignorefile', ignore], probe: ['info'] },
    // It finds the ignore file by its name.
    { name: 'docker', build: ['build'], probe: ['info'] },
  ];
  return engines.find(({ name, probe }) => spawnSync(name, probe, { stdio: 'ignore' }).status === 0) ?? null;
}

function withEngine({ name, build }: Engine, tag: string, base: string | undefined): string {
  const args = [...build, '-f', 'daemonset/image/Containerfile', '--build-arg', `VERSION=${versionString()}`];
  if (base !== undefined) args.push('--build-arg', `BASE=${base}`);
  execFileSync(name, [...args, '-t', tag, '.'], { cwd: checkout, stdio: 'inherit' });
  const sbom = join(output, 'culvert.sbom.json');
  const system = systemPackages(name, tag);
  writeFileSync(
    sbom,
    billOfMaterials({
      version: versionString(),
      packages: runtimePackages(),
      system,
      distribution: 'debian',
    }),
  );
  return sbom;
}

/** What dpkg says inside the image. */
function systemPackages(name: string, tag: string): SystemPackage[] {
  const query = ['dpkg-query', '-W', '-f', '${Package}\t${Version}\t${Architecture}\n'];
  const run = (args: readonly string[]): string => execFileSync(name, args, { encoding: 'utf8' });
  let listed: string;
  if (name === 'buildah') {
    const container = run(['from', tag]).trim();
    listed = run(['run', container, '--', ...query]);
    run(['rm', container]);
  } else listed = run(['run', '--rm', '--entrypoint', '/usr/bin/env', tag, ...query]);
  return listed
    .trim()
    .split('\n')
    .map(line => {
      const [packageName = '', version = '', architecture = ''] = line.trim().split('\t');
      return { name: packageName, version, architecture };
    });
}

const { values } = parseArgs({
  options: { tag: { type: 'string', default: `culvert:${versionString()}` }, base: { type: 'string' } },
});
mkdirSync(output, { recursive: true });
const found = engine();
if (found === null) {
  const archive = join(output, 'culvert.tar');
  process.stdout.write(
    "no podman, buildah or docker answers here: making the image from this machine's own libraries\n",
  );
  const { sbom } = buildImage(archive, values.tag);
  process.stdout.write(`${values.tag}  ${archive}\n${' '.repeat(values.tag.length)}  ${sbom}\n`);
  process.stdout.write('load it on each node, for example with: ctr -n k8s.io images import culvert.tar\n');
} else {
  const sbom = withEngine(found, values.tag, values.base);
  process.stdout.write(`${values.tag}  built by ${found.name}\n${' '.repeat(values.tag.length)}  ${sbom}\n`);
}
