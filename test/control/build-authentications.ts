/** RequestAuthentications, from what people write to what waypoints follow. */
import t from 'tap';
import { brief, configured, objectsOf } from '../help/configuration.ts';

const world = `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: wp, namespace: shop}, spec: {gatewayClassName: culvert-waypoint}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, labels: {culvert.dev/use-waypoint: wp}}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: wp, namespace: shop}, spec: {clusterIP: 10.96.0.2, ports: [{port: 15008}]}}
---
`;
const keys = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}';

function authentication(spec: object, apiVersion = 'security.istio.io/v1'): string {
  return `${JSON.stringify({ apiVersion, kind: 'RequestAuthentication', metadata: { name: 'r', namespace: 'shop' }, spec })}\n---\n`;
}

const targetRefs = [{ kind: 'Service', name: 'web' }];

t.test('rules with their defaults', async t => {
  const [found] = configured(
    world + authentication({ targetRefs, jwtRules: [{ issuer: 'https://i', jwks: keys }] }, 'culvert.dev/v1'),
  ).l7.authentications;
  t.same(found, {
    name: 'r',
    namespace: 'shop',
    targets: [{ kind: 'Service', key: 'shop/web.shop.svc.cluster.local' }],
    rules: [
      {
        issuer: 'https://i',
        audiences: [],
        keys: { kind: 'inline', jwks: keys },
        headers: [{ name: 'authorization', prefix: 'Bearer ' }],
        params: ['access_token'],
        cookies: [],
        forward: false,
        payloadHeader: null,
        claimHeaders: [],
        lists: ['scope', 'permission'],
      },
    ],
  });
});

t.test('where keys come from', async t => {
  const from = (rule: object) =>
    configured(world + authentication({ targetRefs, jwtRules: [{ issuer: 'https://i', ...rule }] })).l7
      .authentications[0]?.rules[0]?.keys;
  t.same(from({}), { kind: 'issuer', url: 'https://i', timeoutMs: 5_000 });
  t.same(from({ jwksUri: 'http://k/x?y', timeout: '500ms' }), {
    kind: 'uri',
    url: 'http://k/x?y',
    timeoutMs: 500,
  });
  t.same(from({ jwks_uri: 'https://k', timeout: '1.5s' }), {
    kind: 'uri',
    url: 'https://k',
    timeoutMs: 1_500,
  });
});

t.test('what is not in force is said', async t => {
  const said = (spec: object): string[] =>
    brief(
      configured(world + authentication(spec)).findings.filter(
        ({ object }) => object?.endsWith('/r') === true,
      ),
    ).map(line => line.replace(/ \d+ /, ' '));
  const jwtRules = [{ issuer: 'https://i', jwks: keys }];
  t.same(said({ targetRefs, jwtRules }), []);
  t.same(said({ jwtRules }), ['error policy-without-workloads spec']);
  t.same(said({ selector: { matchLabels: { app: 'a' } }, jwtRules }), [
    'error policy-without-workloads spec',
  ]);
  t.same(said({ targetRefs: [{ kind: 'Service', name: 'x' }], jwtRules }), [
    'warning policy-without-workloads spec.targetRefs[0]',
  ]);
  t.same(said({ targetRefs }), ['warning never-matches spec.jwtRules']);
  t.same(said({ targetRefs, jwtRules: [{ issuer: 'me' }] }), ['error invalid-value spec.jwtRules[0].issuer']);
  for (const jwks of ['x', '{}', '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'])
    t.same(said({ targetRefs, jwtRules: [{ issuer: 'i', jwks }] }), [
      'error invalid-value spec.jwtRules[0].jwks',
    ]);
});

t.test('what can not be meant refuses its file', async t => {
  const refused = (spec: object): void => {
    t.throws(() => objectsOf(authentication(spec)), JSON.stringify(spec));
  };
  refused({ targetRefs, jwtRules: [{ issuer: 'i', jwks: keys, jwksUri: 'https://k' }] });
  refused({ targetRefs, jwtRules: [{ issuer: 'i', jwksUri: 'file:///etc/passwd' }] });
  refused({ targetRefs, jwtRules: [{ issuer: 'i', jwksUri: 'https://user:pw@k/' }] });
  refused({ targetRefs, jwtRules: [{ issuer: 'i', outputPayloadToHeader: 'a b' }] });
  refused({ targetRefs, selector: {}, jwtRules: [] });
  refused({ targetRefs, jwtRules: [{ isuer: 'i' }] });
});
