/**
 * One copy of what many objects share: text as namespaces, nodes and phases, and what all pods of a Deployment have alike,
 * such as labels and containers. A large cluster has a hundred thousand objects, and what is parsed from JSON is new each
 * time.
 */
import { hash } from 'node:crypto';

/** Names that are no longer used are forgotten with all others when so many have come. */
const maxTexts = 50_000;
/** Longer text is hardly ever shared. */
const maxLength = 64;
/** Members that objects made from one template have alike. */
const shared: ReadonlySet<string> = new Set([
  'labels',
  'annotations',
  'ownerReferences',
  'containers',
  'initContainers',
  'selector',
]);
/** Of these, too, all are forgotten when so many have come: some have a name of their own in each object. */
const maxShared = 10_000;

export class Intern {
  readonly #texts = new Map<string, string>();
  /** By the hash of what they are as JSON. */
  readonly #shared = new Map<string, object>();

  text(text: string): string {
    if (text.length > maxLength) return text;
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    if (this.#texts.size >= maxTexts) this.#texts.clear();
    this.#texts.set(text, text);
    return text;
  }

  /** Replaces every text in a tree of plain maps and lists, and what is shared, in place. */
  object(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (typeof value !== 'object' || value === null || value instanceof Map) return value;
    const members = value as Record<string, unknown>;
    for (const [key, member] of Object.entries(value)) {
      if (typeof member === 'string') members[key] = this.text(member);
      else if (shared.has(key) && typeof member === 'object' && member !== null)
        members[key] = this.#one(member);
      else this.object(member);
    }
    return value;
  }

  #one(member: object): object {
    const key = hash('sha256', JSON.stringify(member), 'base64url');
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    if (this.#shared.size >= maxShared) this.#shared.clear();
    this.object(member);
    this.#shared.set(key, member);
    return member;
  }
}
