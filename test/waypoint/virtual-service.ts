/** Requests through a whole waypoint that follows a VirtualService. */
import t from 'tap';
import { World } from './world.ts';

function virtual(http: readonly object[]): string {
  const metadata = { name: 'web', namespace: 'shop' };
  return JSON.stringify({
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata,
    spec: { hosts: ['web'], http },
  });
}

t.test('answers, redirects, rewrites and weights', async t => {
  const route = [{ destination: { host: 'v1' } }];
  await using world = await World.create({
    pods: ['v1', 'v2'],
    objects: virtual([
      { match: [{ uri: { exact: '/teapot' } }], directResponse: { status: 418, body: { string: 'short' } } },
      {
        match: [{ uri: { prefix: '/old' } }],
        redirect: { uri: '/new', authority: 'example.org', redirectCode: 308 },
      },
      { match: [{ uri: { prefix: '/api/' } }], rewrite: { uri: '/v1/', authority: 'inner' }, route },
      {
        match: [{ uri: { prefix: '/users' } }],
        rewrite: { uriRegexRewrite: { match: '/users/(\\d+)', rewrite: '/people/\\1' } },
        route,
      },
      { match: [{ headers: { 'x-user': { regex: 'j.*' } } }], route: [{ destination: { host: 'v2' } }] },
      { match: [{ uri: { prefix: '/broken' } }], fault: { abort: { httpStatus: 507 } }, route },
      { headers: { response: { set: { 'x-by': 'rule' } } }, route },
    ]),
  });
  await world.serveHttp('v1');
  await world.serveHttp('v2');
  const teapot = await world.request('/teapot');
  t.match(teapot, { status: 418, text: 'short', headers: { 'content-length': '5' } });
  t.equal((await world.request('/teapot', { method: 'HEAD' })).text, '');
  const moved = await world.request('/old/page?a=b');
  t.match(moved, { status: 308, headers: { location: 'http://example.org/new?a=b' } });
  const seen = async (path: string, headers = {}): Promise<Record<string, unknown>> =>
    JSON.parse((await world.request(path, { headers })).text) as Record<string, unknown>;
  t.match(await seen('/api/items?x=1'), { pod: 'v1', url: '/v1/items?x=1', headers: { host: 'inner' } });
  t.match(await seen('/users/42/name'), { url: '/people/42/name' });
  t.match(await seen('/', { 'X-User': 'joe' }), { pod: 'v2' });
  t.equal((await world.request('/broken')).status, 507);
  t.match(await world.request('/else'), { status: 200, headers: { 'x-by': 'rule', 'x-pod': 'v1' } });
});
