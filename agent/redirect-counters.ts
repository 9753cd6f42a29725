/**
 * Reads the counters of the BPF programs: one number per verdict, each CPU's own added up.
 */
import * as native from '../native/native.ts';
import { type CounterName, counterNames } from './redirect-abi.ts';
import type { Maps } from './redirect-programs.ts';

/** How often each verdict was given since the maps were made. */
export function readCounters(maps: Pick<Maps, 'counters'>): Record<CounterName, bigint> {
  const { keys, values, keySize, valueSize, count } = native.mapEntriesBatch(maps.counters);
  const sums = Object.fromEntries(counterNames.map(name => [name, 0n])) as Record<CounterName, bigint>;
  for (let entry = 0; entry < count; entry += 1) {
    const name = counterNames[keys.readUInt32LE(entry * keySize)];
    if (name === undefined) continue;
    for (let at = 0; at < valueSize; at += 8) sums[name] += values.readBigUInt64LE(entry * valueSize + at);
  }
  return sums;
}

/** The same for one of them. */
export function countOf(maps: Pick<Maps, 'counters'>, name: CounterName): number {
  return Number(readCounters(maps)[name]);
}
