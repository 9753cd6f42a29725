/**
 * What the API server sends of a collection, read: lists and the events of a watch. Pure; whatever it is not sure of it
 * refuses.
 */
import { ApiError, statusError } from './api-error.ts';

/** An object as the server sent it: of its content only the metadata that we need ourselves is certain. */
export interface ApiObject {
  readonly [member: string]: unknown;
  readonly metadata: ApiMetadata;
}

export interface ApiMetadata {
  readonly [member: string]: unknown;
  readonly name: string;
  readonly resourceVersion: string;
}

/** What came is not what the protocol says. */
export class Garbage extends ApiError {
  constructor(path: string, what: string) {
    super(0, '', `GET ${path}: ${what}`);
  }
}

export interface List {
  readonly items: readonly ApiObject[];
  readonly metadata: { readonly resourceVersion: string; readonly continue: string | null };
}

/** Throws Garbage for what is no list. */
export function listOf(answer: unknown, path: string): List {
  const { items, metadata } = record(answer);
  const { resourceVersion, continue: next } = record(metadata);
  // An empty collection may be null, as Go writes it.
  if (!Array.isArray(items ?? []) || typeof resourceVersion !== 'string')
    throw new Garbage(path, 'the answer is no list');
  const objects = ((items ?? []) as unknown[]).map(item => objectOf(item, path));
  const isMore = typeof next === 'string' && next !== '';
  return { items: objects, metadata: { resourceVersion, continue: isMore ? next : null } };
}

export interface Event {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: ApiObject;
}

const eventTypes: ReadonlySet<unknown> = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK']);

/** Throws for what is no event, and what the server means when the event is an error. */
export function eventOf(line: string, path: string): Event {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Garbage(path, 'a line of the watch is not JSON');
  }
  const { type, object } = record(value);
  if (type === 'ERROR') throw statusError(`GET ${path}`, 500, object);
  if (!eventTypes.has(type)) throw new Garbage(path, `the watch brought ${JSON.stringify(type)}`);
  if (type === 'BOOKMARK') {
    const { resourceVersion } = record(record(object).metadata);
    if (typeof resourceVersion !== 'string') throw new Garbage(path, 'a bookmark has no version');
    return { type, object: { metadata: { name: '', resourceVersion } } };
  }
  return { type: type as Event['type'], object: objectOf(object, path) };
}

function objectOf(value: unknown, path: string): ApiObject {
  const object = record(value);
  const { name, resourceVersion } = record(object.metadata);
  if (typeof name !== 'string' || typeof resourceVersion !== 'string' || resourceVersion === '')
    throw new Garbage(path, 'an object has no name or no version');
  return object as unknown as ApiObject;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
