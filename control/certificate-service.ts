/**
 * The certificate service: signs for workloads, after making sure that whoever asks may have the identity.
 *
 * An agent gets what pods of its own node have, a workload that asks for itself gets its own. Every refusal is in the log
 * and counted by its reason; the client hears the code and a short text. Protocol: istio.v1.auth.
 */
import { Metadata, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import { CulvertError, asCulvertError, describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { formatSpiffeId, parseSpiffeId } from '../model/identity.ts';
import { protocols } from '../proto/load.ts';
import type { WireCertificateRequest, WireCertificateResponse } from '../proto/messages.ts';
import { readForeignRequest } from '../tunnel/certificate-request.ts';
import { systemClock, type Clock } from '../tunnel/clock.ts';
import type { Caller } from './authenticate.ts';
import type { ClusterAuthority } from './authority-store.ts';
import type { ControlMetrics } from './control-metrics.ts';
import { Rate, type RateLimit } from './rate.ts';

/** Whether a running pod of the identity's service account is on the node: true, or why not. */
export type MayHave = (
  agent: { readonly node: string; readonly podUid: string | null },
  identity: { readonly trustDomain: string; readonly namespace: string; readonly serviceAccount: string },
) => true | string;

export interface CertificateServiceOptions {
  readonly authority: Pick<ClusterAuthority, 'sign'>;
  readonly callerOf: (metadata: Metadata) => Caller;
  /** Who may ask for identities of others. */
  readonly isAgent: (caller: Caller) => boolean;
  readonly mayHave: MayHave;
  readonly trustDomain: () => string;
  readonly log: Logger;
  readonly metrics: Pick<ControlMetrics, 'certificatesIssued' | 'certificatesRefused'>;
  /** Life of a certificate where the client does not say, and the bounds of what it may say, milliseconds. */
  readonly ttlMs: { readonly default: number; readonly min: number; readonly max: number };
  /** Requests of one caller. */
  readonly requests: RateLimit;
  readonly clock: Clock;
}

/** Why a request is refused: the label of the counter and the code in the log. */
type Reason =
  | 'CERTIFICATE_REQUEST_INVALID'
  | 'CERTIFICATE_IDENTITY_INVALID'
  | 'CERTIFICATE_IDENTITY_MISMATCH'
  | 'CERTIFICATE_TRUST_DOMAIN'
  | 'CERTIFICATE_NOT_AN_AGENT'
  | 'CERTIFICATE_NODE_UNKNOWN'
  | 'CERTIFICATE_NOT_ON_NODE'
  | 'CERTIFICATE_TOO_MANY_REQUESTS'
  | 'AUTHORITY_FAILED';

/** What the client hears. */
const answers: Readonly<Record<Reason, { readonly code: status; readonly details: string }>> = {
  CERTIFICATE_REQUEST_INVALID: {
    code: status.INVALID_ARGUMENT,
    details: 'the certificate request is invalid',
  },
  CERTIFICATE_IDENTITY_INVALID: { code: status.INVALID_ARGUMENT, details: 'the identity is invalid' },
  CERTIFICATE_IDENTITY_MISMATCH: {
    code: status.INVALID_ARGUMENT,
    details: 'the certificate request is for another identity',
  },
  CERTIFICATE_TRUST_DOMAIN: { code: status.PERMISSION_DENIED, details: 'another trust domain' },
  CERTIFICATE_NOT_AN_AGENT: { code: status.PERMISSION_DENIED, details: 'not allowed to ask for others' },
  CERTIFICATE_NODE_UNKNOWN: { code: status.PERMISSION_DENIED, details: 'the token is not bound to a node' },
  CERTIFICATE_NOT_ON_NODE: { code: status.PERMISSION_DENIED, details: 'no such workload on this node' },
  CERTIFICATE_TOO_MANY_REQUESTS: { code: status.RESOURCE_EXHAUSTED, details: 'too many requests' },
  AUTHORITY_FAILED: { code: status.UNAVAILABLE, details: 'the authority cannot sign now' },
};

type Call = ServerUnaryCall<WireCertificateRequest, WireCertificateResponse>;
type Reply = sendUnaryData<WireCertificateResponse>;

const hourMs = 3_600_000;
/** Callers whose rate is remembered. */
const maxCallers = 20_000;

export class CertificateService {
  readonly definition = protocols.services.certificates;
  readonly handlers = { CreateCertificate: (call: Call, reply: Reply): void => this.#answer(call, reply) };
  readonly #options: CertificateServiceOptions;
  readonly #rates = new Map<string, Rate>();

  constructor(
    given: Omit<CertificateServiceOptions, 'ttlMs' | 'requests' | 'clock'> &
      Partial<CertificateServiceOptions>,
  ) {
    this.#options = {
      ttlMs: { default: 24 * hourMs, min: hourMs / 60, max: 7 * 24 * hourMs },
      // An agent that starts on a full node asks for each service account at once.
      requests: { perSecond: 20, burst: 1_000 },
      clock: systemClock,
      ...given,
    };
  }

  #answer(call: Call, reply: Reply): void {
    const { callerOf, metrics, log } = this.#options;
    const caller = callerOf(call.metadata);
    const impersonated = stringOf(call.request, 'ImpersonatedIdentity');
    try {
      const certChain = this.#create(caller, call.request, impersonated);
      metrics.certificatesIssued.inc({ kind: impersonated === null ? 'own' : 'impersonated' });
      reply(null, protocols.certificateResponse.create({ certChain }));
    } catch (thrown) {
      const error = asCulvertError(thrown, 'AUTHORITY_FAILED');
      const reason: Reason = isReason(error.code) ? error.code : 'AUTHORITY_FAILED';
      metrics.certificatesRefused.inc({ reason });
      log[error.side === 'client' ? 'warn' : 'error'](
        {
          code: error.code,
          client: caller.serviceAccount,
          node: caller.node,
          pod: caller.podName,
          identity: impersonated === null ? null : readable(impersonated),
        },
        `no certificate: ${describeError(error)}`,
      );
      const { code, details } = answers[reason];
      reply({ code, details: `${details} (${reason})`, metadata: new Metadata() });
    }
  }

  /** One entry for each certificate, and all roots in the last. Throws CulvertError with a `Reason` or of the authority. */
  #create(caller: Caller, request: WireCertificateRequest, impersonated: string | null): string[] {
    this.#limit(caller);
    const identity = impersonated === null ? this.#ownIdentity(caller) : this.#allowed(caller, impersonated);
    const csr = readForeignRequest(request.csr);
    if (csr.identity !== null && csr.identity !== identity) {
      throw refusal('CERTIFICATE_IDENTITY_MISMATCH', `the request names ${csr.identity}, not ${identity}`);
    }
    const subject = { kind: 'workload', identity } as const;
    const ttlMs = this.#ttl(request.validityDuration);
    const { chainPem, rootsPem } = this.#options.authority.sign(subject, csr.publicKey, ttlMs);
    return [...(chainPem.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n?/g) ?? []), rootsPem];
  }

  #ownIdentity({ namespace, name }: Caller): string {
    return formatSpiffeId({ trustDomain: this.#options.trustDomain(), namespace, serviceAccount: name });
  }

  #allowed(caller: Caller, wanted: string): string {
    const { isAgent, mayHave, trustDomain } = this.#options;
    const identity = parseSpiffeId(wanted);
    if (identity === null)
      throw refusal('CERTIFICATE_IDENTITY_INVALID', `${readable(wanted)} is no identity of a workload`);
    if (!isAgent(caller)) {
      throw refusal(
        'CERTIFICATE_NOT_AN_AGENT',
        `${caller.serviceAccount} asks for ${wanted} and is no agent`,
        'add the service account to those that may be agents, if it is one',
      );
    }
    if (identity.trustDomain !== trustDomain())
      throw refusal('CERTIFICATE_TRUST_DOMAIN', `${wanted} is not of the trust domain ${trustDomain()}`);
    if (caller.node === null) {
      throw refusal(
        'CERTIFICATE_NODE_UNKNOWN',
        'the token of the agent is bound to no node',
        'agents need projected tokens of their pods, and an API server that says the node (1.30 and later)',
      );
    }
    const answer = mayHave({ node: caller.node, podUid: caller.podUid }, identity);
    if (answer !== true) throw refusal('CERTIFICATE_NOT_ON_NODE', `${wanted} on ${caller.node}: ${answer}`);
    return wanted;
  }

  #ttl(seconds: number): number {
    const { default: usual, min, max } = this.#options.ttlMs;
    if (!Number.isFinite(seconds) || seconds <= 0) return usual;
    return Math.min(Math.max(seconds * 1_000, min), max);
  }

  #limit({ serviceAccount, podUid }: Caller): void {
    const { requests, clock } = this.#options;
    const key = `${serviceAccount} ${podUid}`;
    const rate = this.#rates.get(key) ?? new Rate(requests, clock.now());
    this.#rates.delete(key);
    this.#rates.set(key, rate);
    const [oldest] = this.#rates.keys();
    if (this.#rates.size > maxCallers && oldest !== undefined) this.#rates.delete(oldest);
    if (rate.isEmpty(clock.now()))
      throw refusal('CERTIFICATE_TOO_MANY_REQUESTS', 'too many requests of one caller');
    rate.take(clock.now());
  }
}

function refusal(reason: Reason, message: string, fix: string | null = null): CulvertError {
  return new CulvertError(reason, message, { side: 'client', fix });
}

function isReason(code: string): code is Reason {
  return Object.hasOwn(answers, code);
}

/** A text of the request's metadata; null where there is none. */
function stringOf({ metadata }: WireCertificateRequest, key: string): string | null {
  const fields = metadata?.fields ?? {};
  return Object.hasOwn(fields, key) ? (fields[key]?.stringValue ?? '') : null;
}

/** Fit for a log line, whatever the client wrote. */
function readable(text: string): string {
  const quoted = JSON.stringify(text);
  return quoted.length > 200 ? `${quoted.slice(0, 200)}…` : quoted;
}
