/**
 * Sessions: what a client is given so that its next request goes to the endpoint that answered this one.
 *
 * The value is a digest of the endpoint's name and the moment the session began. It says nothing of addresses, and it can
 * only choose among the endpoints that the rule sends to anyway: one that nobody has leads where any request goes. So it
 * needs no secret, and every replica of a waypoint reads what another one wrote.
 */
import { createHash } from 'node:crypto';
import { headerOf, type HeaderList, type HttpHead } from '../model/http-head.ts';
import type { HttpSession } from '../model/http-route.ts';
import type { Way } from './balance.ts';
import { cookieOf, setCookie } from './cookies.ts';

/** The session of a request, as it is planned. */
export interface PlannedSession {
  readonly session: HttpSession;
  /** Uid of the endpoint that the client was tied to, while it is one; null: none. */
  readonly endpoint: string | null;
  /** When the session began, milliseconds since the epoch; null: with this request. */
  readonly since: number | null;
}

/** What a client sent, as far as it is one of ours and not too old. */
export interface Ticket {
  readonly mark: string;
  readonly since: number;
}

const markLength = 22;
const maxMarks = 10_000;
const marks = new Map<string, string>();

/** What stands for an endpoint. */
export function markOf(uid: string): string {
  let mark = marks.get(uid);
  if (mark === undefined) {
    if (marks.size >= maxMarks) marks.clear();
    mark = createHash('sha256').update(`culvert session\0${uid}`).digest('base64url').slice(0, markLength);
    marks.set(uid, mark);
  }
  return mark;
}

export function ticketOf(session: HttpSession, head: HttpHead, now: number): Ticket | null {
  const text =
    session.type === 'cookie' ? cookieOf(head, session.name) : headerOf(head.headers, session.name);
  const [, mark, seconds] = /^([\w-]{22})\.([0-9a-z]{1,9})$/.exec(text ?? '') ?? [];
  if (mark === undefined || seconds === undefined) return null;
  const since = Number.parseInt(seconds, 36) * 1000;
  // A session from the future would outlast its limit.
  if (since > now + 60_000) return null;
  return session.absoluteMs !== null && now - since >= session.absoluteMs ? null : { mark, since };
}

/** Headers of the response; none where the client has them already. */
export function sessionHeader(
  { session, endpoint, since }: PlannedSession,
  way: Way,
  now: number,
): HeaderList {
  const { uid } = way.workload;
  const isSame = endpoint === uid && since !== null;
  const begun = isSame ? since : now;
  const value = `${markOf(uid)}.${Math.floor(begun / 1000).toString(36)}`;
  if (session.type === 'header') return [session.name, value];
  if (isSame) return [];
  const { name, path, keepMs } = session;
  return ['set-cookie', setCookie({ name, value, path, keepMs, attributes: [] })];
}
