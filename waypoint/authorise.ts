/**
 * Whether a request or connection may pass: what is attached to its destination, and who asks. Stands between its head and
 * its route; what is judged is the head as the endpoint would get it.
 */
import { asCulvertError, CulvertError } from '../base/errors.ts';
import type { HttpHead } from '../model/http-head.ts';
import type { HttpDecision, HttpPolicySet, RuleMatch } from '../model/http-policy.ts';
import type { PolicyRequest } from '../model/http-policy-facts.ts';
import type { HeaderChange } from '../model/http-route.ts';
import { serviceKey } from '../model/service.ts';
import { withoutOutput } from '../model/token-rule.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { askCustoms } from './customs.ts';
import type { AnswerPlan } from './filters.ts';
import type { Incoming } from './incoming.ts';
import { remoteAddress } from './forwarded.ts';
import { keySetsOf } from './key-sets.ts';
import { authenticate, type Authenticated } from './tokens.ts';

/** `decision` is null where nothing is about the destination. */
export type Verdict = Admitted | Refused;

export interface Admitted {
  readonly kind: 'admitted';
  /** What goes on. */
  readonly head: HttpHead;
  readonly decision: HttpDecision | null;
  /** What authorizers add to the headers of the response. */
  readonly told: readonly HeaderChange[];
}

export interface Refused {
  readonly kind: 'refused';
  readonly answer: AnswerPlan;
  /** For the access log: clients are not told which policy it was. */
  readonly error: CulvertError;
  readonly decision: HttpDecision | null;
}

type Context = Pick<WaypointContext, 'policies' | 'metrics'>;

/**
 * At once where nobody has to be asked and no token to be read.
 * @param head of the request, with what the waypoint adds to it
 */
export function authorise(
  context: WaypointContext,
  incoming: Incoming,
  head: HttpHead,
): Verdict | Promise<Verdict> {
  const { client, destination } = incoming;
  const services = servicesOf(destination);
  const set = context.policies.for(services);
  const rules = context.authentications.for(services);
  if (set.isEmpty && rules.length === 0) return admitted(head, null);
  const bare = withoutOutput(head, rules);
  const customs = set.customs(policyRequest(client, destination, bare));
  if (customs.length === 0) return read(context, incoming, bare, []);
  return askCustoms(context, incoming, bare, customs).then(asked =>
    asked.kind === 'refused' ? asked : read(context, incoming, asked.head, asked.told),
  );
}

/** What comes after CUSTOM policies: tokens, and the policies that may be about them. */
function read(
  context: WaypointContext,
  { client, destination }: Incoming,
  head: HttpHead,
  told: readonly HeaderChange[],
): Verdict | Promise<Verdict> {
  const services = servicesOf(destination);
  const set = context.policies.for(services);
  const judged = ({ head: bare, claims }: Authenticated): Verdict => {
    if (set.isEmpty) return admitted(bare, null, told);
    const request = { ...policyRequest(client, destination, bare), claims };
    const decision = counted(context, judge(set, request));
    return decision.allowed ? admitted(bare, decision, told) : refused(decision);
  };
  const authenticated = authenticate(keySetsOf(context), head, context.authentications.for(services));
  if (!(authenticated instanceof Promise)) return judged(authenticated);
  return authenticated.then(judged, (thrown: unknown) => unauthenticated(context, thrown));
}

function admitted(
  head: HttpHead,
  decision: HttpDecision | null,
  told: readonly HeaderChange[] = [],
): Admitted {
  return { kind: 'admitted', head, decision, told };
}

/** About a connection that is carried as it is; null where nothing is about its destination. */
export function authoriseConnection(
  context: Context,
  client: Client,
  destination: Destination,
  sni: string | null = null,
): HttpDecision | null {
  const set = context.policies.for(servicesOf(destination));
  if (set.isEmpty) return null;
  return counted(context, judgeConnection(set, { ...policyRequest(client, destination, null), sni }));
}

/** The same once more, of one that is open: nothing is counted. */
export function decisionNow(
  context: Pick<WaypointContext, 'policies'>,
  client: Client,
  destination: Destination,
  sni: string | null = null,
): HttpDecision | null {
  const set = context.policies.for(servicesOf(destination));
  return set.isEmpty
    ? null
    : judgeConnection(set, { ...policyRequest(client, destination, null), sni }).decision;
}

interface Judged {
  readonly decision: HttpDecision;
  readonly audited: readonly string[];
  /** What a policy that is only tried out would have done. */
  readonly wouldDeny: HttpDecision | null;
}

function judge(set: HttpPolicySet, request: PolicyRequest): Judged {
  const decision = set.decide(request);
  const dry = decision.allowed ? set.decideDryRun(request) : null;
  return {
    decision,
    audited: set.audits(request).map(({ policy }) => policy),
    wouldDeny: dry?.allowed === false ? dry : null,
  };
}

/** Nobody is asked about what is no request. */
function judgeConnection(set: HttpPolicySet, request: PolicyRequest): Judged {
  const [custom] = set.customs(request);
  return custom === undefined
    ? judge(set, request)
    : { decision: unasked(custom), audited: [], wouldDeny: null };
}

/** Who cannot be asked has not allowed it. */
function unasked({ policy, rule, provider }: RuleMatch): HttpDecision {
  return {
    allowed: false,
    policy,
    rule,
    reason: `${policy} rule ${rule}: ${provider} can not be asked about this`,
  };
}

function counted({ metrics }: Context, { decision, audited, wouldDeny }: Judged): HttpDecision {
  for (const policy of audited) metrics.judged(policy, 'audited');
  if (!decision.allowed) metrics.judged(decision.policy ?? 'none', 'denied');
  if (wouldDeny === null) return decision;
  metrics.judged(wouldDeny.policy ?? 'none', 'would-deny');
  return { ...decision, reason: `${decision.reason}; dry run: ${wouldDeny.reason}` };
}

function refused(decision: HttpDecision): Refused {
  const error = policyDenied(decision);
  const { code } = error;
  return {
    kind: 'refused',
    answer: { kind: 'answer', status: 403, headers: [], code, reason: 'access is denied by policy' },
    error,
    decision,
  };
}

function unauthenticated({ metrics }: Context, thrown: unknown): Refused {
  const error = asCulvertError(thrown, 'TOKEN_INVALID', { side: 'client' });
  const { code } = error;
  metrics.refused(code);
  const headers = ['www-authenticate', 'Bearer error="invalid_token"'];
  const reason = 'the token is not valid';
  return {
    kind: 'refused',
    answer: { kind: 'answer', status: 401, headers, code, reason },
    error,
    decision: null,
  };
}

export function policyDenied({ reason }: HttpDecision): CulvertError {
  return new CulvertError('POLICY_DENIED', reason, { side: 'client' });
}

/** The service that was dialled; for the address of a pod all services that lead to the port: it is no way around them. */
function servicesOf(destination: Destination): readonly string[] {
  if (destination.kind === 'service') return [serviceKey(destination.service)];
  const { workload, port } = destination;
  return Object.entries(workload.services)
    .filter(([, mappings]) => mappings.some(({ targetPort }) => targetPort === port))
    .map(([key]) => key)
    .sort();
}

function policyRequest(client: Client, destination: Destination, head: HttpHead | null): PolicyRequest {
  return {
    identity: client.identity,
    sourceIp: client.address,
    remoteIp: head === null ? null : remoteAddress(head, client),
    destinationIp: destination.address,
    destinationPort: destination.port,
    sni: null,
    head,
    claims: null,
  };
}
