/** Tokens: whose are taken, what the backend gets of them, and what is refused. */
import { createHmac, createPublicKey, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, SignJWT, type JWTPayload } from 'jose';
import t from 'tap';
import { keySetsOf } from '../../waypoint/key-sets.ts';
import { eventually } from '../lab/eventually.ts';
import { World } from './world.ts';
import { authorization } from './world-objects.ts';

interface Signer {
  readonly alg: string;
  readonly kid: string;
  readonly key: KeyObject;
  readonly jwk: object;
}

async function signer(alg: string, kid = alg): Promise<Signer> {
  const pair =
    alg === 'EdDSA'
      ? generateKeyPairSync('ed25519')
      : alg.startsWith('ES')
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    alg,
    kid,
    key: pair.privateKey,
    jwk: { ...(await exportJWK(pair.publicKey)), kid, alg, use: 'sig' },
  };
}

const issuer = 'https://id.example';

function token({ alg, kid, key }: Signer, claims: JWTPayload = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const payload = { iss: issuer, sub: 'ann', aud: 'shop', exp: now + 600, ...claims };
  return new SignJWT(payload).setProtectedHeader({ alg, kid }).sign(key);
}

function authentication(rules: readonly object[], name = 'jwt'): string {
  const spec = { targetRefs: [{ kind: 'Service', name: 'web' }], jwtRules: rules };
  const metadata = { name, namespace: 'shop' };
  return `${JSON.stringify({ apiVersion: 'security.istio.io/v1', kind: 'RequestAuthentication', metadata, spec })}\n---\n`;
}

const required = authorization(
  'known',
  'ALLOW',
  '[{from: [{source: {requestPrincipals: ["https://id.example/*"]}}]}]',
);
const bearer = (text: string) => ({ headers: { authorization: `Bearer ${text}` } });

function jwks(...signers: readonly Signer[]): string {
  return JSON.stringify({ keys: signers.map(({ jwk }) => jwk) });
}

t.test('good tokens, and everything that is none', async t => {
  const signers = await Promise.all(['RS256', 'PS256', 'ES256', 'EdDSA'].map(alg => signer(alg)));
  const [rsa, , ec] = signers as [Signer, Signer, Signer];
  const other = await signer('RS256');
  const rules = [{ issuer, jwks: jwks(...signers), audiences: ['shop', 'bank'] }];
  await using world = await World.create({ objects: authentication(rules) + required });
  const backend = await world.serveHttp('web');
  const status = async (text: string) => (await world.request('/', bearer(text))).status;
  for (const each of signers) t.equal(await status(await token(each)), 200, each.alg);
  t.equal((await world.request('/')).status, 403, 'without a token it is for the policy to say');
  t.equal(
    (await world.request('/', { headers: { authorization: 'Basic YTpi' } })).status,
    403,
    'no token either',
  );

  const now = Math.floor(Date.now() / 1000);
  t.equal(await status(await token(rsa, { exp: now - 30 })), 200, 'clocks differ by a little');
  t.equal(await status(await token(rsa, { nbf: now + 30 })), 200);
  t.equal(await status(await token(rsa, { aud: ['x', 'bank'] })), 200);
  const good = await token(rsa);
  const [head = '', body = '', signature = ''] = good.split('.');
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as JWTPayload;
  const publicPem = createPublicPem(rsa);
  const hs = `${encoded({ alg: 'HS256', kid: 'RS256' })}.${body}`;
  const selfMade = `${encoded({ alg: 'RS256', jwk: other.jwk, jku: 'http://evil/keys' })}.${body}`;
  const critical = `${encoded({ alg: 'RS256', kid: 'RS256', crit: ['x'], x: 1 })}.${body}`;
  const bad: Readonly<Record<string, string>> = {
    expired: await token(rsa, { exp: now - 120 }),
    'not yet': await token(rsa, { nbf: now + 120 }),
    'for somebody else': await token(rsa, { aud: 'other' }),
    'for nobody': await token(rsa, { aud: undefined as never }),
    'of another issuer': await token(rsa, { iss: 'https://id.example/' }),
    'of no issuer': await token(rsa, { iss: undefined as never }),
    'another key': await token(other),
    'another subject': `${head}.${encoded({ ...claims, sub: 'root' })}.${signature}`,
    'alg none': `${encoded({ alg: 'none' })}.${body}.`,
    'alg None': `${encoded({ alg: 'None' })}.${body}.`,
    'no signature': `${head}.${body}.`,
    'the public key as a secret': `${hs}.${createHmac('sha256', publicPem).update(hs).digest('base64url')}`,
    'a key of its own': `${selfMade}.${createSign('RSA-SHA256').update(selfMade).sign(other.key, 'base64url')}`,
    'one algorithm with the key of another': good.replace(head, encoded({ alg: 'ES256', kid: ec.kid })),
    'words that must be understood': `${critical}.${createSign('RSA-SHA256').update(critical).sign(rsa.key, 'base64url')}`,
    opaque: 'abc',
    long: `${head}.${'A'.repeat(20_000)}.${signature}`,
  };
  const before = backend.received();
  for (const [what, text] of Object.entries(bad)) t.equal(await status(text), 401, what);
  t.equal(backend.received(), before, 'none of them came through');
  t.match(await world.line({ status: 401 }), { code: 'TOKEN_INVALID', side: 'client' });
  const two = await world.raw(
    `GET / HTTP/1.1\r\nhost: web\r\nauthorization: Bearer ${good}\r\nauthorization: Bearer ${bad['another key']}\r\nconnection: close\r\n\r\n`,
  );
  t.match(two, /^HTTP\/1.1 401 .*\r\n(.*\r\n)*www-authenticate: Bearer error="invalid_token"/);
});

t.test('where tokens stand, and what of them goes on', async t => {
  const key = await signer('ES256');
  const rules = [
    {
      issuer,
      jwks: jwks(key),
      fromHeaders: [{ name: 'X-Token', prefix: 'T ' }],
      fromParams: ['t'],
      fromCookies: ['session'],
      outputPayloadToHeader: 'x-payload',
      outputClaimToHeaders: [
        { header: 'x-sub', claim: 'sub' },
        { header: 'x-role', claim: 'realm.role' },
        { header: 'x-bad', claim: 'bad' },
        { header: 'x-map', claim: 'realm' },
      ],
    },
    { issuer: 'https://two.example', jwks: jwks(key), forwardOriginalToken: true },
  ];
  await using world = await World.create({ objects: authentication(rules) });
  const backend = await world.serveHttp('web');
  const seen = async (path: string, headers: Record<string, string>) => {
    const { status, text } = await world.request(path, { headers });
    t.equal(status, 200, text);
    return JSON.parse(text) as { url: string; headers: Record<string, string> };
  };
  const text = await token(key, { realm: { role: 'admin' }, bad: 'a\r\nb: c' });
  const forged = { 'x-sub': 'root', x_role: 'root', 'X-Payload': 'root', 'x-bad': 'root', 'x-map': 'root' };
  const byHeader = await seen('/', { ...forged, 'x-token': `T ${text}` });
  t.match(byHeader.headers, { 'x-sub': 'ann', 'x-role': 'admin', 'x-payload': text.split('.')[1] });
  t.same(
    ['x-token', 'x_role', 'x-bad', 'x-map'].filter(name => name in byHeader.headers),
    [],
  );
  t.equal((await seen(`/a?x=1&t=${text}&y=2`, {})).url, '/a?x=1&y=2');
  t.equal((await seen(`/a?t=${text}`, {})).url, '/a');
  t.equal((await seen('/', { cookie: `a=b; session=${text}; c=d` })).headers['cookie'], 'a=b; c=d');
  const anonymous = await seen('/', forged);
  t.same(
    Object.keys(anonymous.headers).filter(name => /^x[-_](sub|role|payload|bad|map)$/.test(name)),
    [],
  );
  const two = await token(key, { iss: 'https://two.example' });
  const forwarded = await seen('/', { authorization: `bearer ${two}` });
  t.equal(forwarded.headers['authorization'], `bearer ${two}`);
  t.equal((await world.request(`/?access_token=${two}`)).status, 200);
  t.equal((await world.request('/', bearer(text))).status, 401, 'not where its rule looks');
  t.notMatch(backend.received(), /root/);
});

t.test('claims for policies', async t => {
  const key = await signer('ES256');
  const objects =
    authentication([{ issuer, jwks: jwks(key) }]) +
    authorization('scope', 'ALLOW', '[{when: [{key: "request.auth.claims[scope]", values: [write]}]}]');
  await using world = await World.create({ objects });
  await world.serveHttp('web');
  t.equal((await world.request('/', bearer(await token(key, { scope: 'read write' })))).status, 200);
  t.equal((await world.request('/', bearer(await token(key, { scope: 'read' })))).status, 403);
});

t.test('keys are fetched, changed, and kept; an issuer that is away refuses its own tokens only', async t => {
  const [old, next, inline] = [await signer('RS256', 'a'), await signer('RS256', 'b'), await signer('ES256')];
  const objects =
    authentication([
      { issuer, jwksUri: 'http://idp.shop/keys' },
      { issuer: 'https://inline.example', jwks: jwks(inline) },
    ]) + required.replace('https://id.example/*', '*');
  await using world = await World.create({ pods: ['web', 'idp'], objects, limits: { keysAskAgainMs: 0 } });
  await world.serveHttp('web');
  const status = async (text: string) => (await world.request('/', bearer(text))).status;
  t.equal(await status(await token(old)), 401);
  t.match(await world.line({ status: 401 }), { code: 'KEYS_UNAVAILABLE' });
  t.equal(await status(await token(inline, { iss: 'https://inline.example' })), 200);
  let keys = jwks(old);
  // It is an endpoint of web, too.
  await world.serveHttp('idp', (_request, response) => response.end(keys));
  await eventually(async () => (await status(await token(old))) === 200, { what: 'keys' });
  keys = jwks(old, next);
  t.equal(await status(await token(next)), 200, 'a key that has just come');
  keys = 'nonsense';
  t.equal(await status(await token(await signer('RS256', 'c'))), 401);
  t.equal(await status(await token(next)), 200, 'what was good stays');
});

t.test('OpenID discovery', async t => {
  const key = await signer('ES256');
  const from = 'http://idp.shop.svc.cluster.local:80';
  await using world = await World.create({ pods: ['web', 'idp'] });
  await world.serveHttp('web');
  await world.serveHttp('idp', (request, response) => {
    if (request.url === '/.well-known/openid-configuration')
      response.end(JSON.stringify({ issuer: from, jwks_uri: `${from}/k` }));
    else if (request.url === '/other/.well-known/openid-configuration')
      response.end(JSON.stringify({ issuer: from, jwks_uri: `${from}/k` }));
    else response.end(jwks(key));
  });
  await world.routes(authentication([{ issuer: from }, { issuer: `${from}/other` }]));
  const status = async (iss: string) => (await world.request('/', bearer(await token(key, { iss })))).status;
  t.equal(await status(from), 200);
  t.equal(await status(`${from}/other`), 401, 'its configuration is of another');
});

t.test('what only this machine may ask is not asked for anybody', async t => {
  let asked = 0;
  const server = createServer((_request, response) => {
    asked += 1;
    response.end('{"keys":[]}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const urls = [
    `http://127.0.0.1:${port}/`,
    `http://localhost:${port}/`,
    'http://169.254.169.254/',
    `http://[::1]:${port}/`,
  ];
  await using world = await World.create({
    objects: authentication(urls.map((jwksUri, at) => ({ issuer: `i${at}`, jwksUri }))),
  });
  await eventually(() => keysOf(world).every(({ error }) => error !== null), { what: 'answers' });
  for (const { error } of keysOf(world)) t.match(error, /of this machine or network/);
  t.equal(asked, 0);
  server.close();
});

function keysOf(world: World) {
  return keySetsOf(world.waypoint.context).state();
}

function createPublicPem({ key }: Signer): string {
  return createPublicKey(key).export({ type: 'spki', format: 'pem' });
}
