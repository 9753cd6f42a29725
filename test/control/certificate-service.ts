import { X509Certificate, generateKeyPairSync } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import type { Test } from 'tap';
import { ClusterAuthority } from '../../control/authority-store.ts';
import { CertificateService, type CertificateServiceOptions } from '../../control/certificate-service.ts';
import { protocols } from '../../proto/load.ts';
import type { WireCertificateRequest, WireCertificateResponse } from '../../proto/messages.ts';
import { toStruct } from '../../proto/struct.ts';
import { createRequest } from '../../tunnel/certificate-request.ts';
import { peerIdentity } from '../../tunnel/subject-alt-name.ts';
import { generateKey } from '../../tunnel/x509.ts';
import { MemoryStore } from './memory-store.ts';
import { type Ended, type Serving, agentAccount, bearer, dial, foundation, serve } from './serving.ts';

const cart = 'spiffe://cluster.local/ns/shop/sa/cart';
const hourMs = 3_600_000;

interface Running extends Serving {
  readonly authority: ClusterAuthority;
}

/** Cart runs on n1, till on n2. */
async function start(t: Test, options: Partial<CertificateServiceOptions> = {}): Promise<Running> {
  const base = foundation();
  const { log, metrics, guard } = base;
  const authority = await ClusterAuthority.open({ store: new MemoryStore() });
  t.teardown(() => authority.close());
  const service = new CertificateService({
    authority,
    callerOf: guard.callerOf,
    isAgent: ({ serviceAccount }) => serviceAccount === agentAccount,
    mayHave: ({ node }, { namespace, serviceAccount }) => {
      const runsOn = new Map([
        ['shop/cart', 'n1'],
        ['shop/till', 'n2'],
      ]);
      return runsOn.get(`${namespace}/${serviceAccount}`) === node
        ? true
        : 'no running pod has this service account';
    },
    trustDomain: () => 'cluster.local',
    log,
    metrics,
    ...options,
  });
  return { ...(await serve(t, base, [service])), authority };
}

interface Asking {
  readonly token?: string;
  /** Null for none. */
  readonly impersonate?: string | null;
  readonly csr?: string;
  readonly seconds?: number;
}

function ask(t: Test, serving: Serving, asking: Asking): Promise<readonly string[] | Ended> {
  const {
    token = 'agent.n1',
    impersonate = cart,
    csr = createRequest(cart, generateKey()),
    seconds = 0,
  } = asking;
  const { path, requestSerialize, responseDeserialize } = protocols.services.certificates.CreateCertificate;
  const metadata = impersonate === null ? null : toStruct({ ImpersonatedIdentity: impersonate });
  const request: WireCertificateRequest = protocols.certificateRequest.create({
    csr,
    validityDuration: seconds,
    ...(metadata === null ? {} : { metadata }),
  });
  return new Promise(resolve => {
    dial(t, serving).makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      bearer(token),
      (error: (Error & Ended) | null, response?: WireCertificateResponse) =>
        resolve(error === null ? (response?.certChain ?? []) : { code: error.code, details: error.details }),
    );
  });
}

function isRefusal(answer: readonly string[] | Ended): answer is Ended {
  return 'code' in answer;
}

async function issued(t: Test, serving: Serving, asking: Asking): Promise<X509Certificate> {
  const answer = await ask(t, serving, asking);
  if (isRefusal(answer)) throw new Error(answer.details);
  return new X509Certificate(answer[0] ?? '');
}

t.test('an agent gets what a pod of its node has: leaf first, roots last', async t => {
  const serving = await start(t);
  const key = generateKey();
  const answer = await ask(t, serving, { csr: createRequest(cart, key) });
  if (isRefusal(answer)) throw new Error(answer.details);
  const [leafPem = '', rootsPem = '', ...more] = answer;
  t.same(more, []);
  const leaf = new X509Certificate(leafPem);
  t.equal(peerIdentity(leaf.subjectAltName).identity, cart);
  t.ok(leaf.checkPrivateKey(key.privateKey));
  t.equal(rootsPem, serving.authority.roots());
  t.ok(leaf.verify(new X509Certificate(rootsPem).publicKey));
  t.equal(await serving.metric('certificates_issued_total', { kind: 'impersonated' }), 1);
});

t.test('a workload that asks for itself gets its own, with or without a name in the request', async t => {
  const serving = await start(t);
  const token = 'pod.n1.shop/till';
  const till = 'spiffe://cluster.local/ns/shop/sa/till';
  const keys = [generateKeyPairSync('rsa', { modulusLength: 2048 }), generateKey()];
  for (const key of keys) {
    const leaf = await issued(t, serving, { token, impersonate: null, csr: createRequest(till, key) });
    t.equal(leaf.subjectAltName, `URI:${till}`);
    t.ok(leaf.checkPrivateKey(key.privateKey));
  }
  t.match(await ask(t, serving, { token, impersonate: null }), { code: status.INVALID_ARGUMENT });
  t.equal(await serving.metric('certificates_issued_total', { kind: 'own' }), 2);
});

t.test('the life of a certificate is what is asked for, within bounds', async t => {
  const serving = await start(t, { ttlMs: { default: 24 * hourMs, min: hourMs, max: 48 * hourMs } });
  const asked: [seconds: number, hours: number][] = [
    [0, 24],
    [-5, 24],
    [1, 1],
    [2 * 3_600, 2],
    [1_000 * 3_600, 48],
    [Number.MAX_SAFE_INTEGER, 48],
  ];
  for (const [seconds, hours] of asked) {
    const { validToDate } = await issued(t, serving, { seconds });
    const left = validToDate.getTime() - Date.now();
    t.ok(Math.abs(left - hours * hourMs) < 60_000, `${seconds} s asked, ${left} ms given`);
  }
});

t.test('whatever may not be had is refused, with the reason in log and counter only', async t => {
  const serving = await start(t);
  const other = (text: string): string => createRequest(text, generateKey());
  const refusals: [asking: Asking, code: status, reason: string][] = [
    [{ token: 'agent.n2' }, status.PERMISSION_DENIED, 'CERTIFICATE_NOT_ON_NODE'],
    [
      {
        impersonate: 'spiffe://cluster.local/ns/shop/sa/till',
        csr: other('spiffe://cluster.local/ns/shop/sa/till'),
      },
      status.PERMISSION_DENIED,
      'CERTIFICATE_NOT_ON_NODE',
    ],
    [{ token: 'pod.n1.shop/cart' }, status.PERMISSION_DENIED, 'CERTIFICATE_NOT_AN_AGENT'],
    [
      { impersonate: 'spiffe://else.where/ns/shop/sa/cart' },
      status.PERMISSION_DENIED,
      'CERTIFICATE_TRUST_DOMAIN',
    ],
    [{ impersonate: 'shop/cart' }, status.INVALID_ARGUMENT, 'CERTIFICATE_IDENTITY_INVALID'],
    [{ impersonate: '' }, status.INVALID_ARGUMENT, 'CERTIFICATE_IDENTITY_INVALID'],
    [{ impersonate: `${cart}/../till` }, status.INVALID_ARGUMENT, 'CERTIFICATE_IDENTITY_INVALID'],
    [
      { csr: other('spiffe://cluster.local/ns/shop/sa/till') },
      status.INVALID_ARGUMENT,
      'CERTIFICATE_IDENTITY_MISMATCH',
    ],
    [{ csr: '' }, status.INVALID_ARGUMENT, 'CERTIFICATE_REQUEST_INVALID'],
    [{ csr: 'x'.repeat(1 << 20) }, status.INVALID_ARGUMENT, 'CERTIFICATE_REQUEST_INVALID'],
    [{ csr: other(cart).replace('A', 'B') }, status.INVALID_ARGUMENT, 'CERTIFICATE_REQUEST_INVALID'],
  ];
  for (const [asking, code, reason] of refusals) {
    serving.lines.length = 0;
    const before = await serving.metric('certificates_refused_total', { reason });
    const answer = await ask(t, serving, asking);
    t.match(answer, { code }, reason);
    t.match(serving.lines, [{ level: 'warn', code: reason }]);
    t.equal(await serving.metric('certificates_refused_total', { reason }), before + 1);
  }
  t.match(await ask(t, serving, { token: 'forged' }), { code: status.UNAUTHENTICATED });
  t.equal(await serving.metric('certificates_issued_total'), 0);
  await issued(t, serving, {});
  t.pass('and whoever may have one has it still');
});

t.test('an agent whose token says no node gets nothing of others', async t => {
  const base = foundation({
    review: () => ({
      authenticated: true,
      audiences: ['culvert-ca'],
      user: { username: 'system:serviceaccount:culvert-system:culvert-agent' },
    }),
  });
  const { log, metrics, guard } = base;
  const authority = await ClusterAuthority.open({ store: new MemoryStore() });
  t.teardown(() => authority.close());
  const { callerOf } = guard;
  const service = new CertificateService({
    authority,
    callerOf,
    isAgent: () => true,
    mayHave: () => true,
    trustDomain: () => 'cluster.local',
    log,
    metrics,
  });
  const serving = await serve(t, base, [service]);
  t.match(await ask(t, serving, {}), { code: status.PERMISSION_DENIED, details: /CERTIFICATE_NODE_UNKNOWN/ });
});

t.test('one caller does not keep the others waiting', async t => {
  const serving = await start(t, { requests: { perSecond: 0.001, burst: 2 } });
  await issued(t, serving, {});
  await issued(t, serving, {});
  t.match(await ask(t, serving, {}), { code: status.RESOURCE_EXHAUSTED });
  const own = { impersonate: null, csr: createRequest(cart, generateKey()) };
  await issued(t, serving, { ...own, token: 'pod.n1.shop/cart' });
});

t.test('an authority that cannot sign is our fault, and clients try again', async t => {
  const authority = {
    sign: () => {
      throw new Error('no key');
    },
  };
  const serving = await start(t, { authority });
  t.match(await ask(t, serving, {}), { code: status.UNAVAILABLE });
  t.match(serving.lines.at(-1), { level: 'error', code: 'AUTHORITY_FAILED' });
});
