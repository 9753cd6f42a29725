/**
 * Sets of counters under labels, as a shard keeps them and as the main thread adds them up.
 *
 * A shard has one SeriesTable per family: bounded, forgetting what is unused, and telling the main thread only what
 * changed, with everything repeated now and then in case a message was lost. SeriesTotals sums all shards and keeps what
 * dead ones had counted, so a counter never goes down.
 */
export type Labels = Readonly<Record<string, string>>;

/** Counters under one set of labels; counting is plain arithmetic on its own fields. */
export interface Row {
  /** Set by the table when it forgets the row: look it up anew before counting again. */
  expired: boolean;
  /** A row in use is never forgotten. */
  readonly busy: boolean;
  /** Current totals, always in the same order. */
  read(): readonly number[];
}

/** What changed since the last one; `rows` has `[id, ...totals]` one behind the other, `width` numbers each. */
export interface SeriesDelta {
  /** It has everything that exists: what isn't in it is gone. */
  readonly full: boolean;
  readonly created: readonly { readonly id: number; readonly key: string; readonly labels: Labels }[];
  readonly removed: readonly number[];
  readonly width: number;
  readonly rows: Float64Array;
}

export interface SeriesTableOptions<R extends Row> {
  /** A row with all counters at zero. */
  readonly make: (labels: Labels) => R;
  /** Labels of the row that takes what is over `max`, made from those it can't have; a handful of kinds at most. */
  readonly overflow: (labels: Labels) => Labels;
  readonly max: number;
  /** A row that is neither busy nor counted on for this long is forgotten, milliseconds. */
  readonly expireMs: number;
  readonly now: () => number;
}

/** Unused series live this long by default, milliseconds. */
export const seriesExpireMs = 600_000;

/** Every so many deltas one is full. */
const fullEvery = 10;

interface Entry<R> {
  readonly id: number;
  readonly key: string;
  readonly labels: Labels;
  readonly row: R;
  told: readonly number[] | null;
  changedAt: number;
}

export class SeriesTable<R extends Row> {
  readonly #options: SeriesTableOptions<R>;
  readonly #entries = new Map<string, Entry<R>>();
  #nextId = 1;
  #deltas = 0;

  constructor(options: SeriesTableOptions<R>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The row for these labels, whose text is `key`; the overflow row when there are too many. */
  get(key: string, labels: () => Labels): R {
    const found = this.#entries.get(key);
    if (found !== undefined) return found.row;
    const wanted = labels();
    if (this.#entries.size < this.#options.max) return this.#create(key, wanted);
    const instead = this.#options.overflow(wanted);
    const insteadKey = `overflow ${Object.values(instead).join(' ')}`;
    return this.#entries.get(insteadKey)?.row ?? this.#create(insteadKey, instead);
  }

  /** Forgets what is unused and returns what the main thread doesn't know yet. */
  delta(): SeriesDelta {
    const now = this.#options.now();
    const full = this.#deltas++ % fullEvery === 0;
    const created: { id: number; key: string; labels: Labels }[] = [];
    const removed: number[] = [];
    const rows: number[] = [];
    let width = 1;
    for (const entry of this.#entries.values()) {
      const values = entry.row.read();
      width = values.length + 1;
      const changed = entry.told === null || differs(entry.told, values);
      if (changed) {
        entry.changedAt = now;
      } else if (!entry.row.busy && now - entry.changedAt >= this.#options.expireMs) {
        entry.row.expired = true;
        this.#entries.delete(entry.key);
        removed.push(entry.id);
        continue;
      }
      if (full || entry.told === null) created.push({ id: entry.id, key: entry.key, labels: entry.labels });
      if (full || changed) rows.push(entry.id, ...values);
      entry.told = values;
    }
    return { full, created, removed, width, rows: Float64Array.from(rows) };
  }

  #create(key: string, labels: Labels): R {
    const row = this.#options.make(labels);
    this.#entries.set(key, {
      id: this.#nextId++,
      key,
      labels,
      row,
      told: null,
      changedAt: this.#options.now(),
    });
    return row;
  }
}

interface Total {
  readonly key: string;
  readonly labels: Labels;
  /** What shards counted that have forgotten the row or are dead. */
  base: number[];
  readonly parts: Map<number, readonly number[]>;
  orphanedAt: number;
}

export interface SeriesTotalsOptions {
  /** How long the totals of dead shards outlive the last shard that knew the row, milliseconds. */
  readonly expireMs: number;
  readonly now: () => number;
  /** Corrects the last totals of a shard that died, where its death itself changes them. */
  readonly settle?: (values: readonly number[]) => readonly number[];
}

export class SeriesTotals {
  readonly #options: SeriesTotalsOptions;
  readonly #totals = new Map<string, Total>();
  /** Rows of each shard by the id that the shard gave them. */
  readonly #sources = new Map<number, Map<number, Total>>();

  constructor(options: SeriesTotalsOptions) {
    this.#options = options;
  }

  /** @param source a number that no other shard has or had: a replaced shard gets a new one */
  apply(source: number, delta: SeriesDelta): void {
    let ids = this.#sources.get(source);
    if (ids === undefined) this.#sources.set(source, (ids = new Map()));
    for (const id of delta.full ? missing(ids, delta) : delta.removed) {
      const total = ids.get(id);
      ids.delete(id);
      if (total === undefined) continue;
      this.#keep(total, source, values => values);
      if (total.parts.size === 0) this.#totals.delete(total.key);
    }
    for (const { id, key, labels } of delta.created) {
      const known = this.#totals.get(key);
      const total = known ?? { key, labels, base: [], parts: new Map(), orphanedAt: 0 };
      if (known === undefined) this.#totals.set(key, total);
      ids.set(id, total);
    }
    for (let at = 0; at + delta.width <= delta.rows.length; at += delta.width) {
      const id = delta.rows[at];
      if (id === undefined) continue;
      ids.get(id)?.parts.set(source, [...delta.rows.subarray(at + 1, at + delta.width)]);
    }
  }

  /** A shard is gone: what it had counted stays. */
  retire(source: number): void {
    const settle = this.#options.settle ?? ((values: readonly number[]) => values);
    for (const total of this.#sources.get(source)?.values() ?? []) this.#keep(total, source, settle);
    this.#sources.delete(source);
  }

  /** Labels and sums of all shards, in the order in which they first appeared. */
  rows(): { readonly labels: Labels; readonly values: readonly number[] }[] {
    const now = this.#options.now();
    const rows: { labels: Labels; values: readonly number[] }[] = [];
    for (const total of this.#totals.values()) {
      if (total.parts.size === 0 && now - total.orphanedAt >= this.#options.expireMs) {
        this.#totals.delete(total.key);
        continue;
      }
      let values: readonly number[] = total.base;
      for (const part of total.parts.values()) values = sum(values, part);
      rows.push({ labels: total.labels, values });
    }
    return rows;
  }

  #keep(total: Total, source: number, settle: (values: readonly number[]) => readonly number[]): void {
    const part = total.parts.get(source);
    if (part === undefined) return;
    total.base = sum(total.base, settle(part));
    total.parts.delete(source);
    total.orphanedAt = this.#options.now();
  }
}

/** Ids that the shard has forgotten, told by a full delta. */
function missing(ids: ReadonlyMap<number, Total>, delta: SeriesDelta): number[] {
  const present = new Set(delta.created.map(({ id }) => id));
  return [...ids.keys()].filter(id => !present.has(id));
}

function sum(a: readonly number[], b: readonly number[]): number[] {
  return (a.length >= b.length ? a : b).map((_, at) => (a[at] ?? 0) + (b[at] ?? 0));
}

function differs(a: readonly number[], b: readonly number[]): boolean {
  return a.some((value, at) => value !== b[at]);
}
