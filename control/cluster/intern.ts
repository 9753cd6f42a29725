/**
 * One copy of text that many objects share: namespaces, nodes, label values, phases. A large cluster has a hundred
 * thousand objects, and what is parsed from JSON is new text each time.
 */

/** Names that are no longer used are forgotten with all others when so many have come. */
const maxTexts = 50_000;
/** Longer text is hardly ever shared. */
const maxLength = 64;

export class Intern {
  readonly #texts = new Map<string, string>();

  text(text: string): string {
    if (text.length > maxLength) return text;
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    if (this.#texts.size >= maxTexts) this.#texts.clear();
    this.#texts.set(text, text);
    return text;
  }

  /** Replaces every text in a tree of plain maps and lists, in place. */
  object(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (typeof value !== 'object' || value === null || value instanceof Map) return value;
    for (const [key, member] of Object.entries(value)) {
      if (typeof member === 'string') (value as Record<string, unknown>)[key] = this.text(member);
      else this.object(member);
    }
    return value;
  }
}
