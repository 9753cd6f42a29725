/**
 * The addresses of a cluster beside those of its nodes and pods (../addresses.ts): Services, the API server, and the cable
 * between the machine's own namespace and the cluster.
 *
 * All but the cable exist only in the lab's namespaces, so that they may be the same in each cluster.
 */
import { readFileSync } from 'node:fs';
import { CulvertError } from '../../../base/errors.ts';
import { run } from '../run.ts';

export const podRange = { v4: '10.244.0.0/16', v6: 'fd00:10:244::/48' } as const;
export const serviceRange = { v4: '10.96.0.0/16', v6: 'fd00:10:96::/112' } as const;
/** The Service `kubernetes`: always the first address of the range. */
export const apiServiceAddress = '10.96.0.1';
export const dnsServiceAddress = '10.96.0.10';
export const clusterDomain = 'cluster.local';
export const apiPort = 6443;

/** Both ends of the cable, a network of its own. */
export interface Cable {
  /** Interface in the machine's own namespace. */
  readonly interface: string;
  readonly ours: string;
  readonly theirs: string;
}

const cables = 250;

/** A cable whose addresses nobody has. 198.18.0.0/15 is for measurements (RFC 2544): no real network uses it. */
export async function freeCable(): Promise<Cable> {
  const addresses = (await run('ip', ['-4', '-oneline', 'address'])).stdout;
  const interfaces = readFileSync('/proc/net/dev', 'utf8');
  for (let number = 0; number < cables; number++) {
    const cable = { interface: `cvkube${number}`, ours: `198.18.${number}.1`, theirs: `198.18.${number}.2` };
    if (!addresses.includes(` ${cable.ours}/`) && !interfaces.includes(`${cable.interface}:`)) return cable;
  }
  throw new CulvertError('LAB_NO_CABLE', `${cables} clusters are up already`);
}
