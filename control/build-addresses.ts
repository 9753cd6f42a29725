/**
 * Addresses for hosts of ServiceEntries that have none, so that DNS can give each host one of its own and connections to it
 * are known for what they are: 240.240.0.0/16, and for the same number 2001:2::f0f0:0/112.
 *
 * Every replica comes to the same by the objects alone: what stands in a status holds, the rest follows from the name of the
 * host. The status makes it last, where two names would have had the same number.
 */
import { hash } from 'node:crypto';
import { canonicalIp } from '../model/address.ts';
import { autoAllocate, firstMark } from '../model/kinds/marks.ts';
import type { AllocatedAddress } from '../model/kinds/service-entry.ts';
import type { Objects } from './build-objects.ts';
import { compare } from './finding.ts';
import { type Located, compareLocated } from './located.ts';

/** Without the first and the last address of the IPv4 range. */
const numbers = 0xfffe;

interface Wish {
  readonly host: string;
  /** Service key, `namespace/hostname`: entries that share it share the number. */
  readonly key: string;
  readonly entry: Located<'ServiceEntry'>;
  /** The number that its status has. */
  readonly told: number | null;
}

export class AutoAddresses {
  readonly #objects: Objects;
  /** By entry, `namespace/name`. */
  readonly #wishes = new Map<string, readonly Wish[]>();
  #numbers: ReadonlyMap<string, number> = new Map();

  constructor(objects: Objects) {
    this.#objects = objects;
  }

  /** Addresses of the hosts of an entry that has none of its own, as its status is to have them. */
  of(namespace: string, name: string): readonly AllocatedAddress[] {
    const wishes = this.#wishes.get(`${namespace}/${name}`) ?? [];
    return wishes.flatMap(({ host, key }) => {
      const number = this.#numbers.get(key);
      return number === undefined ? [] : addressesOf(number).map(value => ({ host, value }));
    });
  }

  /** Takes in that these entries are others than before, or gone; returns all whose addresses are others now. */
  apply(entries: Iterable<{ readonly namespace: string; readonly name: string }>): Located<'ServiceEntry'>[] {
    let isNews = false;
    for (const { namespace, name } of entries) {
      const id = `${namespace}/${name}`;
      const entry = this.#objects.get('ServiceEntry', namespace, name);
      const wishes = entry === null ? [] : wishesOf(entry);
      isNews ||= wishes.length > 0 || this.#wishes.has(id);
      if (wishes.length > 0) this.#wishes.set(id, wishes);
      else this.#wishes.delete(id);
    }
    if (!isNews) return [];
    const before = this.#numbers;
    const all = [...this.#wishes.values()].flat();
    this.#numbers = assign(all);
    const changed = all.filter(({ key }) => before.get(key) !== this.#numbers.get(key));
    return [...new Set(changed.map(({ entry }) => entry))];
  }
}

/** Those of a status first, the older object before the younger; then by name, each the next that is free. */
function assign(wishes: readonly Wish[]): Map<string, number> {
  const numbersOf = new Map<string, number>();
  const taken = new Set<number>();
  const take = (key: string, number: number): void => {
    numbersOf.set(key, number);
    taken.add(number);
  };
  for (const { key, told } of wishes.toSorted(bySeniority))
    if (told !== null && !taken.has(told) && !numbersOf.has(key)) take(key, told);
  for (const key of wishes.map(wish => wish.key).sort(compare)) {
    if (numbersOf.has(key) || taken.size >= numbers) continue;
    let number = ownNumber(key);
    while (taken.has(number)) number = (number % numbers) + 1;
    take(key, number);
  }
  return numbersOf;
}

function bySeniority(a: Wish, b: Wish): number {
  const created = ({ entry }: Wish): string => entry.value.metadata.creationTimestamp ?? '';
  return compare(created(a), created(b)) || compareLocated(a.entry, b.entry) || compare(a.key, b.key);
}

function wishesOf(entry: Located<'ServiceEntry'>): Wish[] {
  const { spec, metadata, status } = entry.value;
  const chooses =
    spec.resolution === 'STATIC' || spec.resolution === 'DNS' || spec.resolution === 'DNS_ROUND_ROBIN';
  const isOff = firstMark(metadata.labels, autoAllocate)?.value === 'false';
  if (!chooses || isOff || (spec.addresses ?? []).length > 0) return [];
  const hosts = new Set(spec.hosts.map(host => host.toLowerCase()).filter(host => !host.startsWith('*')));
  return [...hosts].map(host => ({
    host,
    key: `${entry.namespace}/${host}`,
    entry,
    told: toldNumber(status.addresses.filter(allocated => allocated.host.toLowerCase() === host)),
  }));
}

function toldNumber(allocated: readonly AllocatedAddress[]): number | null {
  for (const { value } of allocated) {
    const [, high, low] = /^240\.240\.(\d{1,3})\.(\d{1,3})$/.exec(canonicalIp(value) ?? '') ?? [];
    const number = Number(high) * 256 + Number(low);
    if (number >= 1 && number <= numbers) return number;
  }
  return null;
}

function ownNumber(key: string): number {
  return (hash('sha256', key, 'buffer').readUInt32BE(0) % numbers) + 1;
}

function addressesOf(number: number): string[] {
  const v6 = canonicalIp(`2001:2::f0f0:${number.toString(16)}`);
  return [`240.240.${number >> 8}.${number & 255}`, ...(v6 === null ? [] : [v6])];
}
