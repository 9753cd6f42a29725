/**
 * Files with certificates and keys that rules name: read when they are needed first, looked at every few seconds, so that a
 * certificate that was renewed is used without anybody restarting anything.
 */
import { readFileSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';

interface Held {
  readonly stamp: string;
  readonly text: string | null;
  readonly problem: string | null;
}

/** Authorities and chains; whatever is larger is none. */
const maxBytes = 1 << 20;
const lookMs = 5_000;

export class TlsFiles {
  readonly #held = new Map<string, Held>();
  readonly #timer: NodeJS.Timeout;
  readonly #onChange: () => void;

  /** @param onChange some file that was asked for is another */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
    this.#timer = setInterval(() => void this.look(), lookMs).unref();
  }

  /** The text of a file, or why there is none. */
  read(path: string): { readonly text: string } | { readonly problem: string } {
    let held = this.#held.get(path);
    if (held === undefined) this.#held.set(path, (held = load(path)));
    return held.text === null ? { problem: held.problem ?? '' } : { text: held.text };
  }

  /** Looks whether any is another. */
  async look(): Promise<void> {
    let isNews = false;
    for (const [path, { stamp }] of this.#held) {
      const now = await stat(path).then(stampOf, () => '');
      if (now === stamp) continue;
      this.#held.set(path, load(path));
      isNews = true;
    }
    if (isNews) this.#onChange();
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

function load(path: string): Held {
  try {
    const stats = statSync(path);
    if (!stats.isFile() || stats.size > maxBytes)
      return { stamp: stampOf(stats), text: null, problem: `${path} is no file of certificates` };
    return { stamp: stampOf(stats), text: readFileSync(path, 'utf8'), problem: null };
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : String(thrown);
    return { stamp: '', text: null, problem: `${path} can not be read: ${code}` };
  }
}

function stampOf({ ino, size, mtimeMs }: { ino: number; size: number; mtimeMs: number }): string {
  return `${ino} ${size} ${mtimeMs}`;
}
