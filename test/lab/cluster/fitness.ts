/** What this machine must have to hold a cluster, said before anything is made. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { CulvertError } from '../../../base/errors.ts';
import { packagedCniPlugins } from './node-files.ts';

const programs = ['etcd', 'containerd', 'ctr', 'runc', 'nft', 'iptables', 'openssl', 'busybox', 'cc', 'tar'];

/** Why no cluster can be made here, or null. */
export function obstacle(): string | null {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root';
  if (spawnSync('go', ['version']).status !== 0) return 'needs Go, to build Kubernetes';
  return null;
}

/** Throws LAB_UNFIT with what is missing and how to get it. */
export function requireFitness(): void {
  const why = obstacle();
  if (why !== null) throw new CulvertError('LAB_UNFIT', `a cluster ${why}`);
  const folders = (process.env['PATH'] ?? '').split(':').concat('/usr/sbin', '/sbin');
  const missing = programs.filter(name => !folders.some(folder => existsSync(`${folder}/${name}`)));
  if (!existsSync(`${packagedCniPlugins}/ptp`)) missing.push('the CNI plugins');
  if (missing.length === 0) return;
  throw new CulvertError('LAB_UNFIT', `this machine lacks ${missing.join(', ')}`, {
    fix: 'sh native/packages.sh kube',
  });
}
