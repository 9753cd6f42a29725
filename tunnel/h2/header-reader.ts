/**
 * From the bytes of a header block to a request or response, remembering the last one.
 *
 * Responses of one peer are mostly the same bytes (200 and its baggage). The same bytes mean the same fields as long as
 * the dynamic table did not change, neither before nor by decoding them; then the earlier answer is given again.
 */
import { HeaderDecoder } from './header-decoder.ts';
import { readRequest, readResponse } from './header-rules.ts';
import type { ConnectHeaders, ResponseHeaders } from './header-rules.ts';
import type { HeaderField } from './header-table.ts';
import type { H2Limits } from './limits.ts';

/** Longer blocks are not worth keeping for every connection. */
const rememberedBytes = 1024;

export class HeaderReader<T extends ConnectHeaders | ResponseHeaders> {
  readonly #decoder: HeaderDecoder;
  readonly #read: (fields: readonly HeaderField[]) => T | null;
  #lastBlock: Buffer | null = null;
  #lastResult: T | null = null;
  #lastGeneration = 0;

  constructor(limits: H2Limits, read: (fields: readonly HeaderField[]) => T | null) {
    this.#decoder = new HeaderDecoder(limits);
    this.#read = read;
  }

  /** Reads source[start, end): null where the list is malformed. Throws Faults as HeaderDecoder.decode does. */
  read(source: Buffer, start: number, end: number): T | null {
    const last = this.#lastBlock;
    if (
      last !== null &&
      last.length === end - start &&
      this.#lastGeneration === this.#decoder.generation &&
      last.compare(source, start, end) === 0
    ) {
      return this.#lastResult;
    }
    const before = this.#decoder.generation;
    const result = this.#read(this.#decoder.decode(source, start, end));
    if (this.#decoder.generation === before && end - start <= rememberedBytes) {
      this.#lastBlock = Buffer.from(source.subarray(start, end));
      this.#lastResult = result;
      this.#lastGeneration = before;
    }
    return result;
  }
}

export function requestReader(limits: H2Limits): HeaderReader<ConnectHeaders> {
  return new HeaderReader(limits, readRequest);
}

export function responseReader(limits: H2Limits): HeaderReader<ResponseHeaders> {
  return new HeaderReader(limits, readResponse);
}
