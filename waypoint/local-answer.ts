/**
 * Answers that no endpoint gave: a few words for a person, and for gRPC the status that its clients understand.
 */
import { STATUS_CODES } from 'node:http';
import { headerOf, type HeaderList, type HttpHead } from '../model/http-head.ts';

export interface LocalAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Buffer | null;
  readonly grpcStatus: string | null;
}

/** Of HTTP statuses that a waypoint answers with (gRPC, "HTTP to gRPC Status Code Mapping"); else UNKNOWN. */
const grpcStatuses = new Map([
  [401, 16],
  [403, 7],
  [404, 12],
  [500, 14],
  [503, 14],
  [504, 4],
]);

export function isGrpc(head: HttpHead): boolean {
  return headerOf(head.headers, 'content-type')?.startsWith('application/grpc') === true;
}

/** A status of gRPC as it may be counted: what is none is UNKNOWN, as clients take it; '' where nothing was said. */
export function grpcStatusOf(said: string | null): string {
  if (said === null) return '';
  return /^(?:\d|1[0-6])$/.test(said) ? said : '2';
}

export function localAnswer(
  plan: {
    readonly status: number;
    readonly headers: HeaderList;
    readonly code: string | null;
    readonly reason: string;
    readonly grpcStatus?: number;
    readonly body?: Buffer;
  },
  head: HttpHead,
): LocalAnswer {
  const { status, headers, code, reason } = plan;
  if (code !== null && isGrpc(head)) {
    const grpcStatus = String(plan.grpcStatus ?? grpcStatuses.get(status) ?? 2);
    const message = encodeURIComponent(`${code}: ${reason}`).replaceAll('%20', ' ');
    const own = ['content-type', 'application/grpc', 'grpc-status', grpcStatus, 'grpc-message', message];
    const fields = [...headers, ...own];
    return { status: 200, headers: fields, body: null, grpcStatus };
  }
  const { body: given = null } = plan;
  if (code === null || given !== null) {
    const length = given === null ? [] : ['content-length', String(given.length)];
    const hasBody = given !== null && given.length > 0 && status !== 204 && status !== 304;
    const isSent = hasBody && head.method !== 'HEAD';
    return { status, headers: [...headers, ...length], body: isSent ? given : null, grpcStatus: null };
  }
  const text = Buffer.from(`${STATUS_CODES[status] ?? 'Error'}: ${reason} (${code})\n`);
  const body = head.method === 'HEAD' ? null : text;
  const fields = [
    ...headers,
    'content-type',
    'text/plain; charset=utf-8',
    'content-length',
    String(text.length),
  ];
  return { status, headers: fields, body, grpcStatus: null };
}
