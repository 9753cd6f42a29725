/** `culvert explain tls://…` and `tcp://…` as people run it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { culvert } from '../help/culvert.ts';

const directory = t.testdir({});
writeFileSync(
  join(directory, 'mesh.yaml'),
  `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: wp, namespace: shop }
spec: { gatewayClassName: culvert-waypoint }
---
apiVersion: v1
kind: Service
metadata: { name: wp, namespace: shop }
spec: { clusterIP: 10.96.0.2, ports: [{ port: 15008 }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop, labels: { culvert.dev/use-waypoint: wp } }
spec:
  clusterIP: 10.96.0.10
  selector: { app: web }
  ports: [{ name: tls, port: 443 }, { name: db, port: 5432, appProtocol: tcp }, { name: http, port: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: db, namespace: shop, labels: { culvert.dev/use-waypoint: wp } }
spec: { clusterIP: 10.96.0.11, selector: { app: db }, ports: [{ name: tcp, port: 5432 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: web-1, namespace: shop, labels: { app: web } }
spec: { nodeName: node-a }
status: { podIP: 10.0.0.1 }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: names, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, port: 443 }]
  hostnames: ["*.example.org", secret.example.org]
  rules:
  - backendRefs: [{ name: web, port: 443, weight: 3 }, { name: gone, port: 443 }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: db, namespace: shop }
spec:
  hosts: [db]
  tcp:
  - match: [{ port: 5432, sourceLabels: { app: web } }]
    route: [{ destination: { host: web, port: { number: 5432 } } }]
---
apiVersion: culvert.dev/v1
kind: AuthorizationPolicy
metadata: { name: p, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: web }]
  action: DENY
  rules: [{ when: [{ key: connection.sni, values: [secret.example.org] }] }]
`,
);

async function run(...args: readonly string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await culvert(...args);
  return { code, text: stdout + stderr };
}

function explain(...args: readonly string[]): Promise<{ code: number; text: string }> {
  return run('explain', '--config', directory, ...args);
}

t.test('TLS by its name', async t => {
  const { text } = await explain('tls://web.shop:443', '--sni', 'A.example.org');
  t.match(
    text,
    /no {3}DENY policy shop\/p rule 0: connection.sni is "a.example.org", none of secret.example.org/,
  );
  t.match(text, /no {3}TLSRoute shop\/names rule 1: the name is a.example.org, not secret.example.org/);
  t.match(text, /yes {2}TLSRoute shop\/names rule 1: matches name \*.example.org/);
  t.match(text, /75.0 % to shop\/web.shop.svc.cluster.local port 443: 1 of 1 endpoints ready/);
  t.match(text, /25.0 % to shop\/gone.shop.svc.cluster.local port 443: refused, there is no such service/);
});

t.test('what is refused', async t => {
  const denied = await explain('tls://web.shop:443', '--sni', 'secret.example.org');
  t.match(denied.text, /refused: explicitly denied by shop\/p rule 0/);
  t.notMatch(denied.text, /TLSRoute/);
  const nameless = await explain('tls://web.shop:443', '-o', 'json');
  t.match(JSON.parse(nameless.text), { rule: null, outcome: [], steps: [{ hit: false }, { hit: false }] });
});

t.test('TCP by the labels of the client', async t => {
  const web = await explain('tcp://db.shop:5432', '--address', '10.0.0.1');
  t.match(web.text, /yes {2}VirtualService shop\/db rule 1: matches clients with its labels, port 5432/);
  t.match(web.text, /100.0 % to shop\/web.*port 5432: 1 of 1 endpoints ready/);
  const other = await explain('tcp://db.shop:5432');
  t.match(other.text, /no {3}VirtualService shop\/db rule 1: the client is not known to have the labels/);
  t.match(other.text, /no rule fits: the connection goes to the service itself/);
  const guarded = await explain('tcp://web.shop:5432');
  t.match(guarded.text, /refused: explicitly denied by shop\/p rule 0/, 'its name can not be known');
});

t.test('they are listed beside the rules of requests', async t => {
  const { text } = await run('routes', '--config', directory);
  t.match(
    text,
    /web.*port 443, waypoint shop\/wp\n {2}TLSRoute shop\/names rule 1: name secret.example.org\n/,
  );
  t.match(
    text,
    / {2}VirtualService shop\/db rule 1: clients with its labels, port 5432\n {4}100.0 % to shop\/web/,
  );
});

t.test('what is asked in the wrong way', async t => {
  const requests = await explain('http://web.shop:443/');
  t.equal(requests.code, 64);
  t.match(requests.text, /a TLSRoute is in force at port 443.*tls:\/\/web.shop:443/s);
  t.match((await explain('tcp://web.shop:80')).text, /port 80 is said to speak HTTP/);
  for (const wrong of [['tcp://web.shop'], ['tcp://web.shop:443', '--sni', 'a']])
    t.equal((await explain(...wrong)).code, 64, wrong.join(' '));
});
