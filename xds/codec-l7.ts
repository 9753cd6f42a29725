/**
 * What waypoints follow as messages of our own, and back: one message for all lists of model/l7.ts, the resource itself as
 * JSON.
 *
 * Waypoints and control planes of different versions meet. What a waypoint can not read is refused, and what that is about
 * is not served by it: a rule that is passed over would let requests through or send them elsewhere.
 */
import { describeError } from '../base/errors.ts';
import {
  confidential,
  type L7Change,
  type L7List,
  type L7Resource,
  l7Check,
  l7Features,
  l7Label,
  l7Lists,
} from '../model/l7.ts';
import type { Sparse } from '../proto/load.ts';
import type { WireWaypointResource } from '../proto/messages.ts';

/** What a resource that can not be used keeps from being served. */
export interface Barred {
  /** Of the resource. */
  readonly name: string;
  /** See model/l7.ts; `everything` is one of them. */
  readonly about: readonly string[];
  readonly reason: string;
}

/** Among what a resource is about. */
export const everything = '*';

export type ReadL7 =
  | { readonly kind: 'change'; readonly change: L7Change }
  | { readonly kind: 'barred'; readonly barred: Barred };

/** The name of a resource. */
export function l7Name(list: string, key: string): string {
  return `${list}/${key}`;
}

/** What is no more, by the name it had; null where no list has such names. */
export function l7Removal(name: string): L7Change | null {
  const slash = name.indexOf('/');
  const list = listOf(name.slice(0, slash));
  return list === null ? null : { list, key: name.slice(slash + 1), resource: null };
}

export function l7ToWire(list: L7List, resource: L7Resource): Sparse<WireWaypointResource> {
  const { key, about, needs } = l7Label(list, resource);
  // Members in one order, or equal resources would be different bytes.
  return { list, key, json: JSON.stringify(resource, inOrder), needs, about };
}

export function l7FromWire({ list: said, key, json, needs, about }: WireWaypointResource): ReadL7 {
  const barred = (reason: string): ReadL7 => ({
    kind: 'barred',
    barred: { name: l7Name(said, key), about, reason },
  });
  const list = listOf(said);
  if (list === null) return barred(`this version has no ${said}`);
  const unknown = needs.filter(feature => !l7Features.has(feature));
  if (unknown.length > 0) return barred(`this version does not know ${unknown.join(', ')}`);
  try {
    const resource = JSON.parse(json) as L7Resource;
    const label = l7Label(list, resource);
    if (label.key !== key) return barred(`it is ${label.key} by what it says`);
    l7Check(list, resource);
    return { kind: 'change', change: { list, key, resource } };
  } catch (thrown) {
    // What a parser says shows what it has read.
    return barred(`it can not be read${confidential.has(list) ? '' : `: ${describeError(thrown)}`}`);
  }
}

function listOf(name: string): L7List | null {
  return l7Lists.find(list => list === name) ?? null;
}

function inOrder(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
