/** `culvert explain` and `culvert routes` over the objects of an API server, as people run them. */
import t from 'tap';
import { culvert as run, type Said } from '../help/culvert.ts';
import { parseAllDocuments } from 'yaml';
import { FakeApi, refuse } from '../control/cluster/fake-api.ts';

const cluster = `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { culvert.dev/use-waypoint: wp } }
---
apiVersion: v1
kind: Service
metadata: { name: wp, namespace: shop }
spec: { clusterIP: 10.96.0.2, ports: [{ port: 15008 }], selector: { app: wp } }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.96.0.10, ports: [{ port: 80 }, { port: 81 }], selector: { app: web } }
---
apiVersion: v1
kind: Service
metadata: { name: v2, namespace: shop }
spec: { clusterIP: 10.96.0.11, ports: [{ port: 80 }], selector: { app: web, version: v2 } }
---
apiVersion: v1
kind: Pod
metadata: { name: web-1, namespace: shop, uid: u1, labels: { app: web, version: v2 } }
spec: { nodeName: n1 }
status: { podIP: 10.0.0.1, phase: Running, conditions: [{ type: Ready, status: "True" }] }
---
apiVersion: v1
kind: Pod
metadata: { name: web-2, namespace: shop, uid: u2, labels: { app: web, version: v1 } }
spec: { nodeName: n1 }
status: { podIP: 10.0.0.2, phase: Running, conditions: [{ type: Ready, status: "False" }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: wp, namespace: shop }
spec: { gatewayClassName: culvert-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: canary, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules:
  - name: testers
    matches: [{ path: { value: /cart }, headers: [{ name: x-canary, value: "yes" }] }]
    filters:
    - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-seen, value: "1" }] } }
    - { type: ExtensionRef, extensionRef: { group: culvert.dev, kind: FaultInjection, name: slow } }
    timeouts: { request: 2s }
    retry: { codes: [503], attempts: 2 }
    backendRefs: [{ name: v2, port: 80 }]
  - backendRefs: [{ name: web, port: 80, weight: 90 }, { name: v2, port: 80, weight: 10 }, { name: gone, port: 1, weight: 0 }]
---
apiVersion: culvert.dev/v1
kind: FaultInjection
metadata: { name: slow, namespace: shop }
spec: { delay: { duration: 2s, percentage: 10 } }
---
apiVersion: culvert.dev/v1
kind: RateLimit
metadata: { name: per-user, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: web }]
  local: [{ requests: 100, per: 1m, by: [{ type: Header, name: x-user }] }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: web, namespace: shop }
spec:
  host: web
  trafficPolicy:
    loadBalancer: { simple: ROUND_ROBIN }
    outlierDetection: { consecutive5xxErrors: 3 }
    tls: { mode: MUTUAL, credentialName: web-tls }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: admin, namespace: shop }
spec:
  targetRefs: [{ group: "", kind: Service, name: web }]
  action: DENY
  rules: [{ to: [{ operation: { paths: [/admin] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: pods, namespace: shop }
spec:
  selector: { matchLabels: { version: v2 } }
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/front] } }] }]
---
apiVersion: v1
kind: Pod
metadata: { name: wp-1, namespace: shop, uid: u3, labels: { app: wp } }
spec: { nodeName: n1, serviceAccountName: wp }
status: { podIP: 10.0.0.9, phase: Running, conditions: [{ type: Ready, status: "True" }] }
---
apiVersion: culvert.dev/v1
kind: AuthorizationPolicy
metadata: { name: slip, namespace: shop }
spec: { targetRef: { kind: Service, name: web }, acton: DENY }
`;

const definitions: Readonly<Record<string, readonly [string, string]>> = {
  Gateway: ['gateway.networking.k8s.io/v1', 'gateways'],
  HTTPRoute: ['gateway.networking.k8s.io/v1', 'httproutes'],
  FaultInjection: ['culvert.dev/v1', 'faultinjections'],
  RateLimit: ['culvert.dev/v1', 'ratelimits'],
  DestinationRule: ['networking.istio.io/v1', 'destinationrules'],
};

const api = await FakeApi.start();
t.teardown(() => api[Symbol.asyncDispose]());
for (const [kind, [version, plural]] of Object.entries(definitions)) api.serve(version, kind, plural, true);
for (const group of ['security.istio.io/v1', 'culvert.dev/v1'])
  api.serve(group, 'AuthorizationPolicy', 'authorizationpolicies', true);
for (const document of parseAllDocuments(cluster)) {
  const { kind, apiVersion, ...object } = document.toJS() as {
    kind: string;
    apiVersion: string;
    metadata: { name: string };
  };
  const plural =
    kind === 'AuthorizationPolicy'
      ? 'authorizationpolicies'
      : (definitions[kind]?.[1] ?? `${kind.toLowerCase()}s`);
  api.put(plural, object, apiVersion);
}
const kubeconfig = api.kubeconfig(t.testdir({}));

function culvert(...args: readonly string[]): Promise<Said> {
  return run(...args, '--kubeconfig', kubeconfig);
}

t.test('what would become of a request', async t => {
  const { code, stdout, stderr } = await culvert('explain', 'http://web.shop/cart/1', '-H', 'x-canary: yes');
  t.equal(code, 0, stderr);
  for (const line of [
    /no {3}DENY policy shop\/admin rule 0: .*\/admin/,
    /^may pass: /m,
    /yes {2}HTTPRoute shop\/canary rule 1 \(testers\): matches path below \/cart, header x-canary yes/,
    /^ {2}limited by RateLimit shop\/per-user: 100 in 60000 ms for each header x-user, 100 at once/m,
    /^ {2}filter request-headers: x-seen: 1/m,
    /^ {2}filter fault: 10 % wait 2000 ms/m,
    /^ {2}100\.0 % to shop\/v2\.shop\.svc\.cluster\.local port 80: 1 of 1 endpoints ready/m,
    /^ {4}1 of them refuse cluster\.local\/ns\/shop\/sa\/wp: no allow policy matches/m,
    /^ {2}at most 2000 ms/m,
    /^ {2}tried again up to 2 times, also for 503/m,
    /^not in this answer, since it is refused:\n( {2}.*\n)* {2}error: AuthorizationPolicy shop\/slip: .*acton/m,
  ])
    t.match(stdout, line);
  const other = await culvert('explain', 'http://web.shop/', '--context', 'fake');
  t.match(
    other.stdout,
    /90\.0 % to shop\/web\.shop\S+ port 80: 1 of 2 endpoints ready\n {4}1 of them refuse .*\n {4}as DestinationRule shop\/web has it: round-robin; .*left out for 30000 ms after 3 errors.*TLS by DestinationRule shop\/web: as web\.shop\S+ by Secret shop\/web-tls, with Secret shop\/web-tls/,
  );
  t.notMatch(api.requests.join('\n'), /secrets/, 'no Secret is asked for');
  t.match(other.stdout, /0\.0 % to shop\/gone\.shop\S+ port 1: 500, there is no such service/);
});

t.test('policy first', async t => {
  const { stdout } = await culvert('explain', 'http://web.shop/admin', '-o', 'json');
  t.match(JSON.parse(stdout), {
    policy: { decision: { allowed: false, policy: 'shop/admin' } },
    outcome: [],
    refused: [{ object: 'AuthorizationPolicy shop/slip' }, { object: 'AuthorizationPolicy shop/slip' }],
  });
});

t.test('all rules', async t => {
  const { code, stdout } = await culvert('routes');
  t.equal(code, 0);
  t.match(
    stdout,
    /^shop\/web\.shop\.svc\.cluster\.local port 80, 81, waypoint shop\/wp\n {2}HTTPRoute shop\/canary rule 1 \(testers\): path below \/cart, header x-canary yes\n {4}filter/,
  );
  t.match(stdout, / {2}HTTPRoute shop\/canary rule 2: path below \/\n {4}90\.0 % to/);
  t.match((await culvert('routes', 'v2.shop')).stdout, /^no routes/);
  t.match(JSON.parse((await culvert('routes', 'web.shop', '-o', 'json')).stdout), [
    { service: 'shop/web.shop.svc.cluster.local', ports: [80, 81], waypoint: 'shop/wp' },
  ]);
});

t.test('half of the mesh is no answer', async t => {
  api.intercept = (request, response) => {
    if (request.url?.startsWith('/apis/security.istio.io/v1/authorizationpolicies') !== true) return false;
    refuse(response, 403, 'Forbidden', 'not for you');
    return true;
  };
  const { code, stdout, stderr } = await culvert('explain', 'http://web.shop/');
  t.same([code, stdout], [69, '']);
  t.match(
    stderr,
    /KUBERNETES_REFUSED: you may not list \/apis\/security\.istio\.io\/v1\/authorizationpolicies/,
  );
  t.equal((await culvert('explain', 'http://web.shop/', '--context', 'other')).code, 64);
});
