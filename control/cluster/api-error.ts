/** What a request to the API server can end with instead of an answer. */
import { CulvertError } from '../../base/errors.ts';

export class ApiError extends CulvertError {
  /** HTTP status, 0 when there was no answer. */
  readonly status: number;
  /** The word Kubernetes gives: `NotFound`, `Conflict`, `Expired`…; empty when there is none. */
  readonly reason: string;
  /** How long the server asks to be left alone. */
  readonly retryAfterMs: number | null;

  constructor(
    status: number,
    reason: string,
    message: string,
    options: { cause?: unknown; retryAfterMs?: number | null } = {},
  ) {
    super(status === 0 ? 'KUBERNETES_UNREACHABLE' : 'KUBERNETES_REFUSED', message, {
      fix: fixOf(status),
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    });
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** True when the server says that what we go on from is too old to go on from. */
export function isExpired(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 410 || error.reason === 'Expired');
}

/** True for an answer of this HTTP status. */
export function hasStatus(error: unknown, ...statuses: readonly number[]): boolean {
  return error instanceof ApiError && statuses.includes(error.status);
}

/** The error a Status object stands for (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/). */
export function statusError(
  what: string,
  httpStatus: number,
  body: unknown,
  retryAfterMs: number | null = null,
): ApiError {
  const status = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  const reason = typeof status.reason === 'string' ? status.reason : '';
  const code = typeof status.code === 'number' ? status.code : httpStatus;
  const said = typeof status.message === 'string' ? status.message : String(code);
  return new ApiError(code, reason, `${what}: ${said.slice(0, 500)}`, { retryAfterMs });
}

function fixOf(status: number): string | null {
  if (status === 401) return 'the API server does not know these credentials';
  if (status === 403) return 'give the service account the rights of the chart';
  return null;
}
