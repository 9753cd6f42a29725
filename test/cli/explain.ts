/** `culvert explain` as people run it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { culvert, type Said } from '../help/culvert.ts';

const directory = t.testdir({});
writeFileSync(
  join(directory, 'mesh.yaml'),
  `apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.96.0.10, ports: [{ port: 80 }, { port: 81 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: canary, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, port: 80 }]
  rules:
  - name: testers
    matches: [{ method: POST, headers: [{ name: x-canary, value: "yes" }] }]
    backendRefs: [{ name: web, port: 81 }]
  - matches: [{ path: { value: /shop } }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: wp, namespace: shop }
spec: { gatewayClassName: culvert-waypoint }
---
apiVersion: v1
kind: Service
metadata: { name: guarded, namespace: shop, labels: { culvert.dev/use-waypoint: wp } }
spec: { clusterIP: 10.96.0.11, ports: [{ port: 80 }] }
---
apiVersion: culvert.dev/v1
kind: AuthorizationPolicy
metadata: { name: p, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: guarded }]
  rules:
  - from: [{ source: { serviceAccounts: [bank/front] } }]
  - from: [{ source: { requestPrincipals: ["i/*"] } }]
`,
);

function explain(...args: readonly string[]): Promise<Said> {
  return culvert('explain', '--config', directory, ...args);
}

t.test('the rule that is hit, and why no other', async t => {
  const { code, stdout } = await explain('http://web.shop/', '-X', 'POST', '-H', 'X-Canary: yes');
  t.equal(code, 0);
  t.match(stdout, /has no waypoint/);
  t.match(stdout, /yes {2}HTTPRoute shop\/canary rule 1 \(testers\): matches method POST/);
  t.match(stdout, /100\.0 % to shop\/web\.shop\.svc\.cluster\.local port 81/);
  const other = await explain('http://10.96.0.10/a/../shop/x?y=1');
  t.match(other.stdout, /rule 2 is in force:\n {2}500: no backend has a weight/);
});

t.test('whether policy lets it pass', async t => {
  const denied = await explain('http://guarded.shop/');
  t.match(
    denied.stdout,
    /no {3}ALLOW policy shop\/p rule 0: source\.serviceAccount is "shop\/default", none of bank/,
  );
  t.match(
    denied.stdout,
    /answered with 403: no allow policy matches \(1 considered\)\n$/,
    'and no word about routes',
  );
  const allowed = await explain('http://guarded.shop/', '--from', 'bank', '--account', 'front');
  t.match(allowed.stdout, /may pass: allowed by shop\/p rule 0\nno route is about port 80/);
  const token = await explain('http://guarded.shop/', '--claims', '{"iss":"i","sub":"s"}');
  t.match(token.stdout, /may pass: allowed by shop\/p rule 1/);
  for (const wrong of [
    ['--claims', 'x'],
    ['--address', 'x'],
  ])
    t.match(await explain('http://guarded.shop/', ...wrong), { code: 64 });
});

t.test('no rule, no route, no service', async t => {
  t.match(
    (await explain('http://web.shop/')).stdout,
    /no {3}HTTPRoute.*method is GET, not POST\n(.*\n)*answered with 404/,
  );
  t.match((await explain('http://web.shop:81/')).stdout, /no route is about port 81/);
  for (const wrong of [['http://nobody.shop/'], ['web.shop/x'], ['http://web.shop/', '-H', 'nonsense']]) {
    const { code, stderr } = await explain(...wrong);
    t.equal(code, 64, wrong.join(' '));
    t.match(stderr, /^culvert: BAD_USAGE/);
  }
});

t.test('for programs', async t => {
  const { stdout } = await explain('http://web.shop/shop', '-o', 'json');
  t.match(JSON.parse(stdout), {
    service: 'shop/web.shop.svc.cluster.local',
    waypoint: null,
    steps: [{ hit: true, rule: 'HTTPRoute shop/canary rule 2' }],
  });
});
