/**
 * The images of the cluster, made here and given to the nodes as files: no registry is asked for anything.
 *
 * An image is a root filesystem with a few words about what to start. Ours hold one or two static programs each.
 */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { writeImage } from '../../../daemonset/image/archive.ts';
import { defaultValues } from '../../../daemonset/values.ts';
import { run } from '../run.ts';
import { type Binaries, buildGo } from './binaries.ts';
import { cached } from './cache.ts';

/** What the container runtime starts first in every pod, to hold its namespaces. */
export const pauseTag = 'culvert.test/pause:1';
/** A shell with the usual commands, and `talk`. */
export const toolsTag = 'culvert.test/tools:1';
export const coreDnsTag = 'culvert.test/coredns:1';
/** The product, under the name that manifests ask for. */
const productTag = `${defaultValues.image.repository}:${defaultValues.image.tag}`;

const busybox = '/bin/busybox';
const checkout = join(import.meta.dirname, '../../..');
const builder = join(checkout, 'daemonset/image/build.ts');

/** Paths of the archives that every node needs, the one without which no pod starts first. */
export async function buildImages(binaries: Binaries): Promise<string[]> {
  const applets = (await run(busybox, ['--list'])).stdout.split('\n').filter(name => name !== '');
  return [
    await image('pause', pauseTag, { '/pause': binaries.pause }, ['/pause']),
    await image('coredns', coreDnsTag, { '/coredns': binaries.coredns }, ['/coredns']),
    await image('tools', toolsTag, { '/bin/busybox': busybox, '/bin/talk': binaries.talk }, [], applets),
  ];
}

/** An archive with the server and client that the conformance suite of Gateway API has in its pods, under this name. */
export async function buildEchoImage(tag: string): Promise<string> {
  const echo = await buildGo('echo');
  const server = '/usr/local/bin/server';
  return image('echo', tag, { [server]: echo, '/bin/client': echo }, [server]);
}

/** Builds the product's image from the checkout as it is now, unless it was built from the same, and returns the archive. */
export function buildProductImage(): Promise<string> {
  return cached('image-culvert.tar', [productTag, ...stateOfCheckout()], async path => {
    // In a process of its own: it takes some seconds in which others have work to do.
    await run(process.execPath, [builder, path, '--tag', productTag], { timeoutMs: 300_000 });
    rmSync(path.replace(/\.tar$/, '.sbom.json'));
  });
}

/** Which files the checkout has and when they were written, those aside that no image could have. */
function stateOfCheckout(): string[] {
  const elsewhere = new Set(['.git', '.tap', 'node_modules', 'test', 'bench', 'docs']);
  return readdirSync(checkout)
    .filter(name => !elsewhere.has(name))
    .flatMap(name => [name, ...filesBelow(name)])
    .map(name => {
      const { size, mtimeMs } = statSync(join(checkout, name));
      return `${name} ${size} ${mtimeMs}`;
    });
}

function filesBelow(folder: string): string[] {
  if (!statSync(join(checkout, folder)).isDirectory()) return [];
  return readdirSync(join(checkout, folder), { recursive: true, encoding: 'utf8' })
    .map(name => join(folder, name))
    .filter(name => statSync(join(checkout, name)).isFile());
}

/**
 * @param programs where in the image each program is, and which program of this machine it is
 * @param applets other names for busybox
 */
function image(
  name: string,
  tag: string,
  programs: Readonly<Record<string, string>>,
  entrypoint: readonly string[],
  applets: readonly string[] = [],
): Promise<string> {
  const inputs = Object.entries(programs).flatMap(([path, program]) => [path, readFileSync(program)]);
  return cached(`image-${name}.tar`, [tag, ...inputs, ...applets], path => {
    const root = mkdtempSync(join(tmpdir(), 'culvert-kube-image-'));
    try {
      for (const folder of ['bin', 'etc', 'proc', 'sys', 'dev']) mkdirSync(join(root, folder));
      mkdirSync(join(root, 'tmp'), { mode: 0o1777 });
      writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
      for (const [place, program] of Object.entries(programs)) {
        mkdirSync(dirname(join(root, place)), { recursive: true });
        copyFileSync(program, join(root, place));
        chmodSync(join(root, place), 0o755);
      }
      for (const applet of applets)
        if (applet !== basename(busybox)) symlinkSync('busybox', join(root, 'bin', applet));
      const environment = { PATH: '/bin' };
      writeImage(path, root, { tag, entrypoint, user: '', workingDir: '/', environment, labels: {} });
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
}
