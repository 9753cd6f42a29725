/**
 * The body of a request, read once from the client and given to as many tries as it takes: what has been read is kept
 * until it is more than may be kept, and from then on there is no other try.
 */
import { Readable } from 'node:stream';
import type { GrpcMessages } from '../model/grpc-messages.ts';
import type { HeaderList } from '../model/http-head.ts';
import { passableTrailers } from '../model/trailers.ts';

export class RequestBody {
  readonly #source: Readable;
  readonly #isWhole: () => boolean;
  readonly #keepBytes: number;
  readonly #trailers: () => HeaderList;
  /** Sees every byte once, however often it is sent. */
  messages: GrpcMessages | null = null;
  #kept: Buffer[] | null = [];
  #bytes = 0;
  #reader: BodyReader | null = null;
  #started = false;
  #ended = false;
  #error: Error | null = null;
  /** Told of each piece while the beginning is looked at; all of it is kept meanwhile. */
  #onNews: (() => void) | null = null;

  /**
   * @param keepBytes what may be kept for another try; 0: nothing
   * @param isWhole asked at the end: what was broken off may end like what was not
   * @param trailers what came after it, asked once it has ended
   */
  constructor(
    source: Readable,
    keepBytes: number,
    isWhole: () => boolean,
    trailers: () => HeaderList = () => [],
  ) {
    this.#source = source;
    this.#isWhole = isWhole;
    this.#keepBytes = keepBytes;
    this.#trailers = trailers;
  }

  /** Bytes that came from the client so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether everything read so far can be read again. */
  get canReplay(): boolean {
    return this.#kept !== null && this.#error === null;
  }

  /** Whether all of it has come. */
  get complete(): boolean {
    return this.#ended;
  }

  /** The fields that followed it, as far as they may be passed on; none before its end. */
  get trailers(): HeaderList {
    return this.#ended ? passableTrailers(this.#trailers()) : [];
  }

  /** The body from its beginning; a reader that was opened before gets nothing any more. */
  open(): Readable {
    if (!this.canReplay) throw new Error('the body has been read and was not kept');
    this.#reader = new BodyReader(this);
    return this.#reader;
  }

  /** The next piece for a reader, which has had `index` of what is kept. */
  pull(reader: BodyReader, index: number): Buffer | null {
    if (reader !== this.#reader) return null;
    const kept = this.#kept?.[index];
    if (kept !== undefined) return kept;
    if (this.#error !== null) reader.destroy(this.#error);
    else if (this.#ended) reader.push(null);
    else this.#resume();
    return null;
  }

  /**
   * The beginning, at most `maxBytes`; it stays there for who reads the body next. Nothing may have been opened yet. Rejects
   * where the client breaks off, or is slower than it may.
   */
  async peek(maxBytes: number, timeoutMs: number): Promise<{ bytes: Buffer; isWhole: boolean }> {
    const isEnough = (): boolean => this.#ended || this.#error !== null || this.#bytes > maxBytes;
    let timer: NodeJS.Timeout | null = null;
    await new Promise<void>((resolve, reject) => {
      this.#onNews = () => {
        if (isEnough()) resolve();
      };
      timer = setTimeout(() => reject(new Error(`the body did not come within ${timeoutMs} ms`)), timeoutMs);
      this.#onNews();
      if (!isEnough()) this.#resume();
    }).finally(() => {
      this.#onNews = null;
      if (timer !== null) clearTimeout(timer);
      if (!this.#ended) this.#source.pause();
    });
    if (this.#error !== null) throw this.#error;
    const all = Buffer.concat(this.#kept ?? []);
    return { bytes: all.subarray(0, maxBytes), isWhole: this.#ended && all.length <= maxBytes };
  }

  /** All of it, where all has come and was kept; null otherwise. */
  whole(): Buffer | null {
    return this.#ended && this.#kept !== null ? Buffer.concat(this.#kept) : null;
  }

  /** No reader takes any more: what the client still sends is not waited for. */
  abandon(): void {
    this.#reader = null;
    if (this.#ended) return;
    this.#kept = null;
    this.#source.resume();
  }

  #resume(): void {
    if (!this.#started) {
      this.#started = true;
      this.#source
        .on('data', (chunk: Buffer) => this.#arrived(chunk))
        .once('end', () => this.#cameToEnd())
        .once('error', (error: Error) => this.#broken(error))
        .once('close', () => {
          if (!this.#ended) this.#broken(new Error('the client broke off its request'));
        });
      // Of HTTP/2 the end of a body of nothing is told before anybody asks for it.
      if (this.#source.readableEnded) this.#cameToEnd();
    }
    this.#source.resume();
  }

  #cameToEnd(): void {
    if (!this.#isWhole()) return;
    this.#ended = true;
    this.#reader?.push(null);
    this.#onNews?.();
  }

  #arrived(chunk: Buffer): void {
    this.#bytes += chunk.length;
    this.messages?.take(chunk);
    if (this.#bytes > this.#keepBytes && this.#onNews === null) this.#kept = null;
    else this.#kept?.push(chunk);
    if (this.#reader?.give(chunk) === false) this.#source.pause();
    this.#onNews?.();
  }

  #broken(error: Error): void {
    this.#error ??= error;
    this.#reader?.destroy(this.#error);
    this.#onNews?.();
  }
}

/** What one try reads. */
class BodyReader extends Readable {
  readonly #body: RequestBody;
  #index = 0;

  constructor(body: RequestBody) {
    super({ highWaterMark: 64 * 1024 });
    this.#body = body;
    this.on('error', () => {});
  }

  override _read(): void {
    const chunk = this.#body.pull(this, this.#index);
    if (chunk !== null) this.give(chunk);
  }

  /** A piece, in order. */
  give(chunk: Buffer): boolean {
    this.#index += 1;
    return this.push(chunk);
  }
}
