/**
 * One copy of what many objects share: text as namespaces, nodes and phases, and what all pods of a Deployment have alike,
 * such as labels and containers. A large cluster has a hundred thousand objects, and what is parsed from JSON is new each
 * time.
 */
import { hash } from 'node:crypto';

/** Names that are no longer used are forgotten with all others when so many have come. */
const maxTexts = 10_000;
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
/** What says one of a few things, if it is a map: the conditions of an endpoint. A pod's are a list, with times of its own. */
const oneOfFew = 'conditions';
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
      else if (typeof member !== 'object' || member === null) continue;
      else if (shared.has(key) || (key === oneOfFew && !Array.isArray(member)))
        members[key] = this.#one(member);
      else {
        this.object(member);
        // One that was filled member by member has room for sixteen more.
        if (Array.isArray(member)) members[key] = member.slice();
      }
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
