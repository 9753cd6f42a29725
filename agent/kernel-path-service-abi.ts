/**
 * A Service as the kernel knows it: its endpoints, and the table by which bpf/service.h draws one of them.
 *
 * Vose's alias method: each endpoint has a column of the same width, which it shares with at most one other so that all
 * get what their weights say. A draw is a column and a point in it, whatever the weights are.
 */
import { encodeVerdictKey, pathSizes, type VerdictKey } from './kernel-path-abi.ts';
import { encodeAddress, sizes } from './redirect-abi.ts';

/** CULVERT_MAX_SERVICES and CULVERT_MAX_CHOICES. */
export const maxServices = 4096;
export const maxChoices = 64;

export interface Choice {
  readonly address: string;
  readonly port: number;
  /** Greater than 0. */
  readonly weight: number;
  /** A pod of this node, about which there may be a verdict. */
  readonly here: boolean;
}

const hereBit = 1;
const [countAt, choicesAt] = [pathSizes.verdictKey, pathSizes.verdictKey + 8];
const [portAt, flagsAt, shareAt, otherAt] = [16, 18, 20, 24];

/** Value of `services`, for 1 to `maxChoices` choices. */
export function encodeService(key: VerdictKey, choices: readonly Choice[]): Buffer {
  const bytes = Buffer.alloc(pathSizes.service);
  encodeVerdictKey(key).copy(bytes, 0);
  bytes.writeUInt32LE(choices.length, countAt);
  const columns = columnsOf(choices.map(({ weight }) => weight));
  for (const [index, { address, port, here }] of choices.entries()) {
    const at = choicesAt + index * pathSizes.choice;
    const { share, other } = columns[index] ?? { share: 1, other: index };
    encodeAddress(address).copy(bytes, at, 0, sizes.address);
    bytes.writeUInt16BE(port, at + portAt);
    bytes.writeUInt16LE(here ? hereBit : 0, at + flagsAt);
    bytes.writeUInt32LE(Math.min(2 ** 32 - 1, Math.floor(share * 2 ** 32)), at + shareAt);
    bytes.writeUInt32LE(other, at + otherAt);
  }
  return bytes;
}

export interface Column {
  /** Of its own endpoint, from 0 to 1. */
  readonly share: number;
  /** Whose the rest is. */
  readonly other: number;
}

/** One column for each weight. */
export function columnsOf(weights: readonly number[]): readonly Column[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const left = weights.map(weight => (weight / total) * weights.length);
  const columns: Column[] = weights.map((_, index) => ({ share: 1, other: index }));
  const poor = [...left.keys()].filter(index => (left[index] ?? 0) < 1);
  const rich = [...left.keys()].filter(index => (left[index] ?? 0) >= 1);
  for (let small = poor.pop(); small !== undefined; small = poor.pop()) {
    const large = rich.at(-1);
    // Only rounding has left it without one that has more than enough.
    if (large === undefined) break;
    const share = left[small] ?? 1;
    columns[small] = { share, other: large };
    const rest = (left[large] ?? 1) - (1 - share);
    left[large] = rest;
    if (rest >= 1) continue;
    rich.pop();
    poor.push(large);
  }
  return columns;
}
