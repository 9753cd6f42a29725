/**
 * The objects of a cluster that are in force, held against the same schemas as those of a directory.
 *
 * Second step of reflect → objects → build. What an object says that the mesh does not read is not kept, and a change of
 * it is no change. An object that can not be understood is a finding, and its last good version stays in force, so that a
 * slip in a policy never opens what it closed. Changes are handed on together, a moment after they came.
 */
import { isDeepStrictEqual } from 'node:util';
import { systemClock } from '../../tunnel/clock.ts';
import { type KindName, kinds } from '../../model/kinds/registry.ts';
import type { ObjectChanges } from '../build-incremental.ts';
import { check } from '../check.ts';
import type { FieldLines } from '../raw-object.ts';
import { Debounce, type DebounceOptions } from '../debounce.ts';
import { type Finding, compareFindings } from '../finding.ts';
import { type Located, type LocatedObject, clusterOrigin, objectName } from '../located.ts';
import { type ServedKind, servedKey } from './discovery.ts';
import { Intern } from './intern.ts';
import type { ApiObject } from './api-events.ts';
import { type OwnObject, hasOurStatus, isForeignRoute, ownObject } from './own-object.ts';
import type { ReflectorSink } from './reflector.ts';

export type { OwnObject };

export interface ClusterObjectsOptions {
  /** Told of changes, together, once `open` was called. */
  readonly onChange: (changes: ObjectChanges) => void;
  /** Told of each change at once, also before `open`; null is for what was not there and what is gone. */
  readonly onObject?: (before: LocatedObject | null, after: LocatedObject | null) => void;
  readonly debounce?: DebounceOptions;
}

const defaultDebounce: DebounceOptions = { quietMs: 20, maxMs: 100, clock: systemClock };

/** Objects of one kind and group. */
interface Shelf {
  readonly served: ServedKind;
  readonly objects: Map<string, LocatedObject>;
  /** Of those kinds only whose status may be ours to write. */
  readonly own: Map<string, OwnObject>;
  readonly findings: Map<string, readonly Finding[]>;
  /** What a list under way has brought; null outside lists. */
  seen: Set<string> | null;
}

interface Change {
  /** What whoever is told of changes knows. */
  readonly before: LocatedObject | null;
  after: LocatedObject | null;
}

export class ClusterObjects {
  readonly #options: ClusterObjectsOptions;
  readonly #shelves = new Map<string, Shelf>();
  readonly #pending = new Map<string, Change>();
  readonly #debounce: Debounce;
  readonly #intern = new Intern();
  #isOpen = false;
  #changes = 0;

  constructor(options: ClusterObjectsOptions) {
    this.#options = options;
    this.#debounce = new Debounce(options.debounce ?? defaultDebounce, () => this.#publish());
  }

  /** Where the objects of one kind come in. */
  sink(served: ServedKind): ReflectorSink {
    const key = servedKey(served);
    const known = this.#shelves.get(key);
    // Another version of the same kind takes the place of the one before: its list says what is gone.
    const shelf: Shelf = {
      objects: new Map(),
      own: new Map(),
      findings: new Map(),
      ...known,
      served,
      seen: null,
    };
    this.#shelves.set(key, shelf);
    return {
      begin: () => (shelf.seen = new Set()),
      set: object => this.#set(shelf, object),
      delete: ({ metadata }) => this.#delete(shelf, nameKey(metadata.namespace, metadata.name)),
      end: () => {
        const { seen } = shelf;
        shelf.seen = null;
        if (seen === null) return;
        for (const name of [...shelf.objects.keys(), ...shelf.findings.keys()])
          if (!seen.has(name)) this.#delete(shelf, name);
      },
    };
  }

  /** The server has this kind no more: neither has the mesh. */
  drop(served: ServedKind): void {
    const shelf = this.#shelves.get(servedKey(served));
    if (shelf === undefined) return;
    for (const name of [...shelf.objects.keys(), ...shelf.findings.keys()]) this.#delete(shelf, name);
    this.#shelves.delete(servedKey(served));
  }

  /** Hands on everything that is there, and from now on every change. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#pending.clear();
    this.#debounce.close();
    this.#options.onChange({ set: this.all(), removed: [] });
  }

  /** Nothing is handed on after this. */
  close(): void {
    this.#isOpen = false;
    this.#debounce.close();
  }

  all(): LocatedObject[] {
    return [...this.#shelves.values()].flatMap(({ objects }) => [...objects.values()]);
  }

  /** What is in force under this name; of two groups that have the kind, the one that counts. */
  get<Name extends KindName>(kind: Name, namespace: string, name: string): Located<Name> | null {
    let found: LocatedObject | null = null;
    for (const { served, objects } of this.#shelves.values()) {
      if (served.kind !== kind) continue;
      const object = objects.get(`${namespace}/${name}`);
      if (object !== undefined && (found === null || object.origin.index < found.origin.index))
        found = object;
    }
    return found as unknown as Located<Name> | null;
  }

  /** Everything of a kind that is in force. */
  every<Name extends KindName>(kind: Name): Located<Name>[] {
    const shelves = [...this.#shelves.values()].filter(({ served }) => served.kind === kind);
    return shelves.flatMap(({ objects }) => [...objects.values()]) as unknown as Located<Name>[];
  }

  /** Objects whose status may be ours to write, those that are refused too. */
  own(): OwnObject[] {
    return [...this.#shelves.values()].flatMap(({ own }) => [...own.values()]);
  }

  /** What is wrong with single objects; what is wrong with them together is the builder's to say. */
  findings(): Finding[] {
    const all = [...this.#shelves.values()].flatMap(({ findings }) => [...findings.values()].flat());
    return all.sort(compareFindings);
  }

  /** Objects in force, by kind and group. */
  counts(): Record<string, number> {
    return Object.fromEntries(Array.from(this.#shelves, ([key, { objects }]) => [key, objects.size]));
  }

  /** Changes of what the mesh reads since the start. */
  get changes(): number {
    return this.#changes;
  }

  #set(shelf: Shelf, raw: ApiObject): void {
    const { served, objects } = shelf;
    const { metadata } = raw;
    const key = nameKey(metadata.namespace, metadata.name);
    shelf.seen?.add(key);
    const own = hasOurStatus(served) ? ownObject(served, raw) : null;
    const checked = checkObject(served, raw);
    const before = objects.get(key) ?? null;
    if (checked.object !== null) this.#adopt(shelf, key, before, checked.object);
    const isSame = before !== null && before.value.metadata.uid === metadata.uid;
    // Of what had this name before, nothing may stay.
    if (checked.object === null && before !== null && !isSame) this.#adopt(shelf, key, before, null);
    const said =
      checked.object === null ? [...checked.findings, refusal(served, metadata, isSame)] : checked.findings;
    // Whatever a route to Gateways says, somebody else reads it.
    const findings = own !== null && isForeignRoute(own) ? [] : said;
    if (findings.length > 0) shelf.findings.set(key, findings);
    else shelf.findings.delete(key);
    if (own !== null) {
      shelf.own.set(key, { ...own, findings });
      // A new version that says the same still has its status to get.
      this.#debounce.add();
    }
  }

  #delete(shelf: Shelf, key: string): void {
    const before = shelf.objects.get(key) ?? null;
    const hadFindings = shelf.findings.delete(key);
    shelf.own.delete(key);
    if (before !== null) this.#adopt(shelf, key, before, null);
    else if (hadFindings) this.#debounce.add();
  }

  #adopt(shelf: Shelf, key: string, before: LocatedObject | null, checked: LocatedObject | null): void {
    if (before !== null && checked !== null && isDeepStrictEqual(before.value, checked.value)) return;
    const after = checked === null ? null : this.#shared(checked);
    if (after === null) shelf.objects.delete(key);
    else shelf.objects.set(key, after);
    this.#changes += 1;
    const id = `${servedKey(shelf.served)} ${key}`;
    const pending = this.#pending.get(id);
    if (pending === undefined) this.#pending.set(id, { before, after });
    else pending.after = after;
    this.#options.onObject?.(before, after);
    this.#debounce.add();
  }

  /** The same object in as little memory as it takes. */
  #shared(object: LocatedObject): LocatedObject {
    this.#intern.object(object.value);
    return { ...object, namespace: this.#intern.text(object.namespace) };
  }

  #publish(): void {
    if (!this.#isOpen) return;
    const set: LocatedObject[] = [];
    const removed: LocatedObject[] = [];
    for (const { before, after } of this.#pending.values()) {
      if (after !== null) set.push(after);
      else if (before !== null) removed.push(before);
    }
    this.#pending.clear();
    this.#options.onChange({ set, removed });
  }
}

/** An API server has no lines. */
const noLines: FieldLines = { at: () => null, fieldsOf: () => new Map() };

/** One object of an API server against the schema of its kind. */
export function checkObject(
  served: Pick<ServedKind, 'kind' | 'apiVersion'>,
  raw: ApiObject,
): ReturnType<typeof check> {
  const { kind, apiVersion } = served;
  // Half of an object, and read by nobody.
  delete (raw.metadata as Record<string, unknown>).managedFields;
  const { object, findings } = check({
    value: { ...raw, apiVersion, kind },
    file: null,
    index: 0,
    lines: noLines,
    base: [],
    intern: name => name,
  });
  return {
    object: object === null ? null : { ...object, origin: clusterOrigin(precedence(served)) },
    // A server that is newer than we are knows more fields of its own kinds; nobody has misspelt them.
    findings: kinds[kind].own ? findings : findings.filter(({ code }) => code !== 'unknown-field'),
  };
}

/** Of one kind in two groups, the group that is named first in the registry counts. */
function precedence({ kind, apiVersion }: Pick<ServedKind, 'kind' | 'apiVersion'>): number {
  const { apiVersions } = kinds[kind];
  const groups = [...new Set(apiVersions.map(version => version.replace(/\/.*/, '')))];
  return Math.max(0, groups.indexOf(apiVersion.replace(/\/.*/, '')));
}

function refusal({ kind }: ServedKind, metadata: ApiObject['metadata'], isKept: boolean): Finding {
  const namespace = typeof metadata.namespace === 'string' ? metadata.namespace : '';
  return {
    severity: 'error',
    code: 'object-refused',
    file: null,
    line: null,
    field: null,
    object: objectName({ kind, namespace, name: metadata.name }),
    message: isKept
      ? 'is refused for what is wrong with it: its last good version stays in force'
      : 'is refused for what is wrong with it: nothing of it is in force',
  };
}

function nameKey(namespace: unknown, name: string): string {
  return `${typeof namespace === 'string' ? namespace : ''}/${name}`;
}
