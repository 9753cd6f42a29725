/**
 * A root filesystem as an image in one tar file, in the form that `docker save` writes and that `ctr images import`,
 * `docker load` and `podman load` read. The same files give the same bytes: no times, no owners, sorted names.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export interface ImageConfig {
  /** `name:tag`. */
  readonly tag: string;
  readonly entrypoint: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** A fixed time: an image is named by what it holds, and this says nothing about that. */
const created = '2026-01-01T00:00:00Z';

/** Writes the image of everything below `root` to `out`. Returns the digest of its configuration, which identifies it. */
export function writeImage(out: string, root: string, image: ImageConfig): string {
  const work = mkdtempSync(join(dirname(out), `.${basename(out)}-`));
  try {
    const layer = join(work, 'layer.tar');
    pack(layer, root, ['.']);
    const config = JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      created,
      config: {
        Env: Object.entries(image.environment).map(([name, value]) => `${name}=${value}`),
        Entrypoint: image.entrypoint,
        User: image.user,
        WorkingDir: image.workingDir,
        Labels: image.labels,
      },
      rootfs: { type: 'layers', diff_ids: [`sha256:${digestOfFile(layer)}`] },
    });
    const digest = createHash('sha256').update(config).digest('hex');
    writeFileSync(join(work, `${digest}.json`), config);
    const manifest = [{ Config: `${digest}.json`, RepoTags: [image.tag], Layers: ['layer.tar'] }];
    writeFileSync(join(work, 'manifest.json'), JSON.stringify(manifest));
    const whole = join(work, 'image.tar');
    pack(whole, work, ['manifest.json', `${digest}.json`, 'layer.tar']);
    renameSync(whole, out);
    return `sha256:${digest}`;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function pack(archive: string, folder: string, names: readonly string[]): void {
  execFileSync('tar', [
    `--file=${archive}`,
    '--create',
    '--format=gnu',
    '--sort=name',
    '--mtime=@0',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    // Whatever the umask of who built it.
    '--mode=u+rwX,go+rX,go-w',
    `--directory=${folder}`,
    ...names,
  ]);
}

function digestOfFile(path: string): string {
  const hash = createHash('sha256');
  const file = openSync(path, 'r');
  const buffer = Buffer.allocUnsafe(1 << 20);
  for (let read = readSync(file, buffer); read > 0; read = readSync(file, buffer))
    hash.update(buffer.subarray(0, read));
  closeSync(file);
  return hash.digest('hex');
}
