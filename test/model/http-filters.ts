/** What filters make of requests and responses. */
import t from 'tap';
import { isPreflight, preflightHeaders, responseHeaders } from '../../model/http-cors.ts';
import { changeHeaders, changePath, redirectLocation, rewrite } from '../../model/http-filters.ts';
import { normalisePath } from '../../model/http-path.ts';
import type { HttpCors, HttpRedirect } from '../../model/http-route.ts';
import { exact, head, prefix } from './http-help.ts';

t.test('header changes', async t => {
  const change = {
    set: [['x', 'new']],
    add: [
      ['y', 'b'],
      ['z', '1'],
    ],
    remove: ['gone'],
  } as const;
  t.same(changeHeaders(['X', 'old', 'y', 'a', 'Gone', '1', 'keep', 'k', 'x', 'older'], change), [
    'keep',
    'k',
    'x',
    'new',
    'y',
    'a,b',
    'z',
    '1',
  ]);
  t.same(changeHeaders(['Set-Cookie', 'a=1'], { set: [], add: [['set-cookie', 'b=2']], remove: [] }), [
    'Set-Cookie',
    'a=1',
    'set-cookie',
    'b=2',
  ]);
});

t.test('prefixes are replaced as Gateway API says', async t => {
  const cases: readonly [path: string, to: string, result: string][] = [
    ['/foo/bar', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/xyz/', '/xyz/bar'],
    ['/foo/bar', '', '/bar'],
    ['/foo/bar', '/', '/bar'],
    ['/foo', '/xyz', '/xyz'],
    ['/foo', '', '/'],
    ['/foo', '/', '/'],
    ['/foo/', '', '/'],
    ['/foo/', '/xyz', '/xyz/'],
  ];
  for (const [path, value, result] of cases)
    t.equal(changePath(path, { type: 'prefix', value }, prefix('/foo')), result, `${path} by ${value}`);
  t.equal(changePath('/a', { type: 'prefix', value: '/x' }, prefix('')), '/x/a');
  t.equal(changePath('/a', { type: 'full', value: '/x' }, exact('/a')), '/x');
  t.match(
    rewrite(head('/foo/a?q=1'), { hostname: 'other', path: { type: 'prefix', value: '/b' } }, prefix('/foo')),
    {
      authority: 'other',
      path: '/b/a',
      query: 'q=1',
    },
  );
});

t.test('redirects', async t => {
  const none: HttpRedirect = { scheme: null, hostname: null, path: null, port: null, status: 302 };
  const to = (redirect: Partial<HttpRedirect>, port = 80, authority = 'web:8080'): string =>
    redirectLocation(head('/foo/a?q=1', { authority }), { ...none, ...redirect }, prefix('/foo'), port);
  t.equal(to({ hostname: 'example.org' }), 'http://example.org/foo/a?q=1');
  t.equal(to({}, 8080), 'http://web:8080/foo/a?q=1', 'the port of the service');
  t.equal(to({ scheme: 'https' }, 8080), 'https://web/foo/a?q=1', 'the port of the scheme');
  t.equal(to({ scheme: 'https', port: 8443 }), 'https://web:8443/foo/a?q=1');
  t.equal(to({ port: 80 }, 8080), 'http://web/foo/a?q=1');
  t.equal(to({ port: 443 }), 'http://web:443/foo/a?q=1');
  t.equal(to({ path: { type: 'prefix', value: '/b' } }), 'http://web/b/a?q=1');
  t.equal(to({ path: { type: 'full', value: '/b' } }), 'http://web/b?q=1');
  t.equal(to({}, 80, '[::1]:80'), 'http://[::1]/foo/a?q=1');
});

t.test('cross-origin requests', async t => {
  const cors: HttpCors = {
    allowOrigins: ['https://app.example.org', 'http://*.test'],
    allowMethods: ['PUT'],
    allowHeaders: ['x-a', 'x-b'],
    exposeHeaders: ['x-c'],
    allowCredentials: true,
    maxAgeSeconds: 5,
  };
  const preflight = (origin: string, method: string) =>
    head('/', { method: 'OPTIONS', headers: ['Origin', origin, 'Access-Control-Request-Method', method] });
  t.ok(isPreflight(preflight('https://a', 'PUT')));
  t.notOk(isPreflight(head('/', { method: 'OPTIONS', headers: ['Origin', 'https://a'] })));
  t.same(preflightHeaders(preflight('https://app.example.org', 'PUT'), cors), [
    ['access-control-allow-origin', 'https://app.example.org'],
    ['access-control-allow-credentials', 'true'],
    ['vary', 'origin'],
    ['access-control-allow-methods', 'PUT'],
    ['access-control-allow-headers', 'x-a, x-b'],
    ['access-control-max-age', '5'],
  ]);
  t.same(preflightHeaders(preflight('https://evil.example.org', 'PUT'), cors), []);
  t.same(
    preflightHeaders(preflight('https://app.example.org', 'DELETE'), cors),
    [],
    'a method that is not allowed',
  );
  const allowed = (origin: string): boolean =>
    responseHeaders(head('/', { headers: ['origin', origin] }), cors).some(([, value]) => value === origin);
  t.ok(allowed('http://a.b.test'));
  t.notOk(allowed('http://.test'), 'the star stands for something');
  t.notOk(allowed('http://evil.org/.test'));
  t.notOk(allowed('http://evil.org:1.test'));
  const open = { ...cors, allowOrigins: ['*'], allowCredentials: false, exposeHeaders: [] };
  t.same(responseHeaders(head('/', { headers: ['origin', 'https://x'] }), open), [
    ['access-control-allow-origin', '*'],
  ]);
  t.same(
    responseHeaders(head('/', { headers: ['origin', 'https://x'] }), { ...open, allowCredentials: true })[0],
    ['access-control-allow-origin', 'https://x'],
    'never * with credentials',
  );
  t.same(responseHeaders(head('/'), cors), []);
});

t.test('paths have one spelling', async t => {
  const cases: readonly [string, string | null][] = [
    ['/a/b', '/a/b'],
    ['/', '/'],
    ['/a//b', '/a//b'],
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/../../b', '/b'],
    ['/a/..', '/'],
    ['/a/%2e%2E/b', '/b'],
    ['/%61dmin', '/admin'],
    ['/a%2fb', '/a%2Fb'],
    ['/a\\..\\b', '/b'],
    ['/a%5c..%5Cb', '/b'],
    ['/.well-known/x', '/.well-known/x'],
    ['/a%00', null],
    ['/a%', null],
    ['/a%zz', null],
    ['a', null],
    ['/a b', null],
    ['/a#b', null],
    ['/ä', null],
  ];
  for (const [path, normal] of cases) t.equal(normalisePath(path), normal, path);
});
