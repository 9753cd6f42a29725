/**
 * Builds the image of this checkout without a container engine, from the checkout and this machine's own libraries:
 *
 *   node daemonset/image/build.ts OUT.tar [--tag NAME:TAG]
 *
 * OUT.tar is what `ctr images import`, `docker load` and `podman load` read; beside it, OUT.sbom.json says what is inside.
 * Takes some seconds after `make build`. `make image` uses a container engine and the Containerfile where there is one.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { versionString } from '../../base/version.ts';
import { home, installApplication, program } from './application.ts';
import { writeImage } from './archive.ts';
import { billOfMaterials } from './sbom.ts';
import { installSystem, unprivileged } from './system.ts';

export interface BuiltImage {
  readonly archive: string;
  readonly sbom: string;
  /** Digest of the image's configuration; equal for equal contents. */
  readonly id: string;
}

/**
 * @param archive path of the tar file to write
 * @param tag `name:tag` that the image gets where it is imported
 */
export function buildImage(archive: string, tag: string): BuiltImage {
  mkdirSync(dirname(archive), { recursive: true });
  const root = mkdtempSync(join(tmpdir(), 'culvert-image-'));
  try {
    const packages = installApplication(root);
    const system = installSystem(root);
    const sbom = `${archive.replace(/\.tar$/, '')}.sbom.json`;
    const text = billOfMaterials({
      version: versionString(),
      packages,
      system,
      distribution: distribution(),
    });
    writeFileSync(sbom, text);
    const id = writeImage(archive, root, {
      tag,
      entrypoint: [program],
      user: `${unprivileged}:${unprivileged}`,
      workingDir: home,
      environment: environment,
      labels: {
        'org.opencontainers.image.title': 'culvert',
        'org.opencontainers.image.description':
          'a service mesh without sidecars: agent, control plane, command line',
        'org.opencontainers.image.version': versionString(),
        'org.opencontainers.image.licenses': 'Apache-2.0',
      },
    });
    return { archive, sbom, id };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/**
 * As in the Containerfile. One malloc arena: glibc would keep one for each thread. The young generation of the heap is small, but
 * for waypoints, whose pods say otherwise (see cli/culvert for both).
 */
const environment = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  MALLOC_ARENA_MAX: '1',
  NODE_ENV: 'production',
  NODE_OPTIONS: '--max-semi-space-size=2',
};

function distribution(): string {
  return /^ID=(\S+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]?.replaceAll('"', '') ?? 'debian';
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    options: { tag: { type: 'string', default: `culvert:${versionString()}` } },
    allowPositionals: true,
  });
  const [archive] = positionals;
  if (archive === undefined) {
    process.stderr.write('usage: node daemonset/image/build.ts OUT.tar [--tag NAME:TAG]\n');
    process.exitCode = 64;
  } else {
    const built = buildImage(resolve(archive), values.tag);
    const megabytes = Math.round(statSync(built.archive).size / 1e6);
    process.stdout.write(`${values.tag}  ${built.id.slice(0, 19)}  ${megabytes} MB  ${built.archive}\n`);
  }
}
