/** Sessions through a whole waypoint: the endpoint that answered first answers again. */
import t from 'tap';
import { markOf, ticketOf } from '../../waypoint/session.ts';
import { World } from './world.ts';
import { route } from './world-objects.ts';

const pods = ['a', 'b', 'c', 'd'];
const split =
  'backendRefs: [{ name: a, port: 80, weight: 1 }, { name: b, port: 80, weight: 1 }, { name: c, port: 80 }, { name: d, port: 80, weight: 0 }]';

async function serving(world: World): Promise<World> {
  for (const pod of pods) await world.serveHttp(pod);
  return world;
}

t.test('a cookie ties a client to an endpoint, also across backends', async t => {
  await using world = await serving(
    await World.create({
      pods,
      objects: route(
        `- { sessionPersistence: { sessionName: tie, absoluteTimeout: 1h, cookieConfig: { lifetimeType: Permanent } }, ${split} }`,
      ),
    }),
  );
  const first = await world.request('/');
  const [line = ''] = first.headers['set-cookie'] ?? [];
  t.match(line, /^tie=[\w-]{22}\.[0-9a-z]+; Max-Age=3600; Path=\/; HttpOnly$/);
  t.notMatch(line, /10\.0\.1|127\.0/, 'no address in it');
  const [cookie = ''] = line.split(';');
  for (let n = 0; n < 12; n += 1) {
    const again = await world.request('/', { headers: { cookie } });
    t.equal(again.headers['x-pod'], first.headers['x-pod']);
    t.equal(again.headers['set-cookie'], undefined);
  }
});

t.test('an endpoint that is gone hands its clients over', async t => {
  await using world = await serving(
    await World.create({
      pods,
      objects: route(
        '- { sessionPersistence: { cookie: { name: tie } }, backendRefs: [{ name: web, port: 80 }] }',
      ),
    }),
  );
  const first = await world.request('/');
  const answered = String(first.headers['x-pod']);
  const [line = ''] = first.headers['set-cookie'] ?? [];
  t.match(line, /^tie=[^;]+; Path=\/; HttpOnly$/);
  const [cookie = ''] = line.split(';');
  world.stopServing(answered);
  const other = await world.request('/', { headers: { cookie } });
  t.equal(other.status, 200);
  t.not(other.headers['x-pod'], answered);
  t.match(other.headers['set-cookie'], [/^tie=/], 'tied to the one that answers now');
});

t.test('what is made up, too old, or of a foreign endpoint leads where any request goes', async t => {
  await using world = await serving(
    await World.create({
      pods,
      objects: route(`
- matches: [{ path: { value: /only-a } }]
  sessionPersistence: { sessionName: tie, absoluteTimeout: 1h }
  backendRefs: [{ name: a, port: 80 }, { name: d, port: 80, weight: 0 }]
`),
    }),
  );
  const now = Math.floor(Date.now() / 1000);
  for (const value of [
    `${markOf('Kubernetes//Pod/shop/b')}.${now.toString(36)}`,
    `${markOf('Kubernetes//Pod/shop/d')}.${now.toString(36)}`,
    `${markOf('Kubernetes//Pod/shop/a')}.${(now - 3_700).toString(36)}`,
    `${markOf('Kubernetes//Pod/shop/a')}.${(now + 3_700).toString(36)}`,
    'MTAuMC4xLjI6ODA4MA',
    '',
  ]) {
    const answer = await world.request('/only-a', { headers: { cookie: `tie=${value}` } });
    t.equal(answer.headers['x-pod'], 'a', value);
    t.match(answer.headers['set-cookie'], [/^tie=/], 'and is replaced');
  }
});

t.test('a header does the same for clients that keep no cookies', async t => {
  await using world = await serving(
    await World.create({
      pods,
      objects: route(`- { sessionPersistence: { type: Header, sessionName: X-Tie }, ${split} }`),
    }),
  );
  const first = await world.request('/');
  const tie = String(first.headers['x-tie']);
  t.match(tie, /^[\w-]{22}\.[0-9a-z]+$/);
  for (let n = 0; n < 12; n += 1) {
    const again = await world.request('/', { headers: { 'x-tie': tie } });
    t.match(again.headers, { 'x-pod': first.headers['x-pod'], 'x-tie': tie });
  }
});

t.test('a session keeps the moment at which it began', async t => {
  const session = { type: 'header', name: 's', path: '/', keepMs: null, absoluteMs: 10_000 } as const;
  const head = (value: string) =>
    ({
      method: 'GET',
      path: '/',
      query: null,
      scheme: 'http',
      authority: 'a',
      headers: ['S', value],
    }) as const;
  const mark = markOf('x');
  const value = `${mark}.${(1_000).toString(36)}`;
  t.same(ticketOf(session, head(value), 1_009_999), { mark, since: 1_000_000 });
  t.equal(ticketOf(session, head(value), 1_010_000), null);
  t.equal(ticketOf(session, head('short.1'), 1_000_000), null);
});
