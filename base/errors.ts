/**
 * The one error type of every component: what an operator reads in an access line, a log or an exit message.
 *
 * A code never changes its meaning and is never reused; docs/errors.md lists them. `side` says who has to act:
 * the client (who connected), the server (who was dialled) or us.
 */
export type Side = 'client' | 'server' | 'us';

export interface CulvertErrorOptions {
  readonly side?: Side;
  /** The likely remedy, one sentence in lower case, or null where only the message helps. */
  readonly fix?: string | null;
  readonly cause?: unknown;
}

export class CulvertError extends Error {
  override readonly name = 'CulvertError';
  readonly code: string;
  readonly side: Side;
  readonly fix: string | null;

  /**
   * @param code upper-case words, for example TUNNEL_PEER_REFUSED
   * @param message lower case; says what was tried and what came back
   */
  constructor(code: string, message: string, options: CulvertErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.side = options.side ?? 'us';
    this.fix = options.fix ?? null;
  }
}

/** Returns the error as it is, or wraps whatever was thrown under `code`, keeping the original as its cause. */
export function asCulvertError(
  thrown: unknown,
  code: string,
  options: CulvertErrorOptions = {},
): CulvertError {
  if (thrown instanceof CulvertError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new CulvertError(code, message, { ...options, cause: thrown });
}

/** One line for a person: code, message and the likely fix. */
export function describeError(error: unknown): string {
  if (error instanceof CulvertError) {
    return `${error.code}: ${error.message}${error.fix === null ? '' : ` (${error.fix})`}`;
  }
  return error instanceof Error ? error.message : String(error);
}
