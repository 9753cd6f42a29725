/**
 * Lines of fields in a YAML document: follows aliases and merge keys to the place where a value was written, so that
 * a finding points at the text a person has to change.
 */
import {
  type Alias,
  type Document,
  type LineCounter,
  type Node,
  type Pair,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  visit,
} from 'yaml';
import { type FieldPath, childField } from './located.ts';

/** The lines of one document. */
export class YamlLines {
  readonly #document: Document;
  readonly #counter: LineCounter;
  #targets: ReadonlyMap<Alias, Node | null> | null = null;

  constructor(document: Document, counter: LineCounter) {
    this.#document = document;
    this.#counter = counter;
  }

  /** The line of the member at `path`, or, where it is absent, of the nearest thing around it. */
  at(path: FieldPath): number {
    let node = this.#resolve(this.#document.contents);
    let line = this.#line(node) ?? 1;
    for (const segment of path) {
      const member = this.#member(node, segment);
      if (member === null) return line;
      line = member.line ?? line;
      node = member.node;
    }
    return line;
  }

  /** The line of the first alias that stands for nothing, null when all are good. */
  danglingAlias(): number | null {
    for (const [alias, target] of this.#aliases()) if (target === null) return this.#line(alias) ?? 1;
    return null;
  }

  /**
   * The lines of everything `value` has, by field name, where `value` is what was read from the node at `base`.
   * `intern` keeps one copy of each name over the thousands of objects that share them.
   */
  fieldsOf(value: unknown, base: FieldPath, intern: (name: string) => string): Map<string, number> {
    const lines = new Map<string, number>();
    let node = this.#resolve(this.#document.contents);
    for (const segment of base) node = this.#member(node, segment)?.node ?? null;
    lines.set('', this.at(base));
    this.#collect(value, node, '', lines, intern);
    return lines;
  }

  #collect(
    value: unknown,
    node: Node | null,
    field: string,
    lines: Map<string, number>,
    intern: (name: string) => string,
  ): void {
    if (typeof value !== 'object' || value === null || node === null) return;
    const members: Iterable<[string | number, unknown]> = Array.isArray(value)
      ? value.entries()
      : Object.entries(value);
    for (const [segment, child] of members) {
      const member = this.#member(node, segment);
      if (member === null) continue;
      const name = intern(childField(field, segment));
      if (member.line !== null) lines.set(name, member.line);
      this.#collect(child, member.node, name, lines, intern);
    }
  }

  #member(node: Node | null, segment: string | number): { node: Node | null; line: number | null } | null {
    if (isSeq(node)) {
      const item = typeof segment === 'number' ? (node.items[segment] as Node | null | undefined) : undefined;
      if (item === undefined) return null;
      return { node: this.#resolve(item), line: this.#line(item) };
    }
    const pair = this.#pair(node, String(segment));
    if (pair === null) return null;
    return { node: this.#resolve(pair.value), line: this.#line(pair.key) };
  }

  /** The pair of a key, also through `<<`; what a map says itself goes before what it merges in. */
  #pair(node: Node | null, key: string): Pair<Node | null, Node | null> | null {
    if (!isMap(node)) return null;
    const merged: (Node | null)[] = [];
    for (const pair of node.items as Pair<Node | null, Node | null>[]) {
      if (!isScalar(pair.key)) continue;
      if (typeof pair.key.value === 'symbol') merged.push(this.#resolve(pair.value));
      else if (String(pair.key.value) === key) return pair;
    }
    for (const source of merged) {
      const maps = isSeq(source) ? source.items.map(item => this.#resolve(item as Node | null)) : [source];
      for (const map of maps) {
        const pair = this.#pair(map, key);
        if (pair !== null) return pair;
      }
    }
    return null;
  }

  #aliases(): ReadonlyMap<Alias, Node | null> {
    this.#targets ??= aliasTargets(this.#document);
    return this.#targets;
  }

  #resolve(node: Node | Pair | null | undefined): Node | null {
    if (node === undefined || isPair(node)) return null;
    if (!isAlias(node)) return node;
    return this.#aliases().get(node) ?? null;
  }

  #line(node: Node | null): number | null {
    const offset = node?.range?.[0];
    return offset === undefined ? null : this.#counter.linePos(offset).line;
  }
}

/** What each alias stands for: the last node before it with that anchor. One pass, where Alias.resolve makes one each. */
function aliasTargets(document: Document): Map<Alias, Node | null> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node | null>();
  visit(document, {
    Node: (_, node) => {
      if (isAlias(node)) targets.set(node, anchors.get(node.source) ?? null);
      else if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return targets;
}
