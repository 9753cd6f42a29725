/** CUSTOM policies of a request: each of their authorizers is asked in turn, and all have to allow it. */
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { withWanted, type Authorizer, type WantedHeaders } from '../model/authorizer.ts';
import type { HttpHead } from '../model/http-head.ts';
import type { HttpDecision, RuleMatch } from '../model/http-policy.ts';
import { askAuthorizer, type Denied, type ShownBody } from './ask-authorizer.ts';
import type { Refused } from './authorise.ts';
import type { WaypointContext } from './context.ts';
import type { AnswerPlan } from './filters.ts';
import type { Incoming } from './incoming.ts';

export interface Asked {
  readonly kind: 'asked';
  readonly head: HttpHead;
  /** For the headers of the response. */
  readonly told: readonly WantedHeaders[];
}

/** Never rejects: what happens while an authorizer can not be asked is for its provider to say. */
export async function askCustoms(
  context: WaypointContext,
  incoming: Incoming,
  head: HttpHead,
  customs: readonly RuleMatch[],
): Promise<Asked | Refused> {
  const asked = new Set<string>();
  const told: WantedHeaders[] = [];
  let changed = head;
  for (const match of customs) {
    const { authorizer, policy, provider } = match;
    if (authorizer === null) return refused(context, match, 403, `${provider}, which nobody knows here`);
    if (asked.has(authorizer.name)) continue;
    asked.add(authorizer.name);
    const { log, metrics } = context;
    try {
      const body = await shownBody(context, authorizer, incoming);
      if (body === 'too large')
        return refused(context, match, 413, `${provider}: the body is too large to be shown`);
      const answer = await askAuthorizer(context, authorizer, incoming, changed, body);
      if (!answer.allowed) return denied(context, match, answer);
      changed = withWanted(withQuery(changed, answer.query), answer.request);
      told.push(answer.response);
    } catch (thrown) {
      const { code, message } = asCulvertError(thrown, 'AUTHORIZER_UNAVAILABLE');
      const { failOpen, statusOnError } = authorizer;
      log.warn(
        { code: 'AUTHORIZER_UNAVAILABLE', err: `${code}: ${message}`, provider, failOpen },
        'authorizer not asked',
      );
      if (!failOpen) return unavailable(context, match, statusOnError, message);
      metrics.judged(policy, 'allowed-unasked');
    }
  }
  return { kind: 'asked', head: changed, told };
}

async function shownBody(
  { config }: WaypointContext,
  { body: shows }: Authorizer,
  { body }: Incoming,
): Promise<ShownBody | 'too large' | null> {
  if (shows === null || body === null) return null;
  const shown = await body.peek(shows.maxBytes, config.limits.requestHeadMs);
  return shown.isWhole || shows.partial ? shown : 'too large';
}

function withQuery(head: HttpHead, changes: readonly (readonly [string, string | null])[]): HttpHead {
  if (changes.length === 0) return head;
  const names = new Set(changes.map(([name]) => name));
  const kept = (head.query ?? '').split('&').filter(pair => {
    const [name] = new URLSearchParams(pair).keys();
    return pair !== '' && (name === undefined || !names.has(name));
  });
  const set = changes.filter((change): change is [string, string] => change[1] !== null);
  const all = [...kept, ...set.map(pair => new URLSearchParams([pair]).toString())];
  return { ...head, query: all.length === 0 ? null : all.join('&') };
}

function denied(context: WaypointContext, match: RuleMatch, { status, headers, body }: Denied): Refused {
  const plain = refused(context, match, status, `${match.provider}, which denies it`);
  return { ...plain, answer: { ...plain.answer, headers, body } };
}

function unavailable(context: WaypointContext, match: RuleMatch, status: number, why: string): Refused {
  const { answer, decision } = refused(context, match, status, `${match.provider}, which can not be asked`);
  const code = 'AUTHORIZER_UNAVAILABLE';
  const error = new CulvertError(code, `${match.provider}: ${why}`, { side: 'server' });
  return { kind: 'refused', answer: { ...answer, code }, error, decision };
}

function refused({ metrics }: WaypointContext, match: RuleMatch, status: number, why: string): Refused {
  const { policy, rule } = match;
  metrics.judged(policy, 'denied');
  const decision: HttpDecision = {
    allowed: false,
    policy,
    rule,
    reason: `${policy} rule ${rule} asks ${why}`,
  };
  const code = 'AUTHORIZER_DENIED';
  const error = new CulvertError(code, decision.reason, { side: 'client' });
  const answer: AnswerPlan = { kind: 'answer', status, headers: [], code, reason: 'access is denied' };
  return { kind: 'refused', answer, error, decision };
}
