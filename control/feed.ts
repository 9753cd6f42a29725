/**
 * What one client is still to hear of one type. There are two kinds: of clients that want everything
 * (wildcard-feed.ts), and of clients that ask for names or may see some only (keyed-feed.ts).
 */
import type { Frame, Resource } from './resource.ts';

/** A piece of news; what is in it counts as told. */
export interface News {
  /** Encoded `resources` fields of a response. */
  readonly frames: readonly Frame[];
  readonly removed: readonly string[];
  /** Whether that was everything, or the size limit has ended it. */
  readonly complete: boolean;
}

export interface Feed {
  readonly hasNews: boolean;
  /** Takes what the client has not heard, until it is larger than `maxBytes`: always something, if there is anything. */
  take(maxBytes: number): News;
  /** Whether there is more than so many bytes. */
  exceeds(bytes: number): boolean;
  close(): void;
}

/** Names and versions a client says it has, from `initial_resource_versions`. */
export type KnownVersions = ReadonlyMap<string, string>;

/** Adds up what goes into one response. */
export class Batch {
  readonly frames: Frame[] = [];
  readonly removed: string[] = [];
  #bytes = 0;

  add(frame: Frame): void {
    this.frames.push(frame);
    this.#bytes += frame.length;
  }

  remove(name: string): void {
    this.removed.push(name);
    this.#bytes += name.length + 4;
  }

  get bytes(): number {
    return this.#bytes;
  }

  news(complete: boolean): News {
    return { frames: this.frames, removed: this.removed, complete };
  }
}

export function sizeOf(resource: Resource): number {
  return resource.frame?.length ?? resource.name.length + 4;
}
