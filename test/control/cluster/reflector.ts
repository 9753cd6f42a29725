import t, { type Test } from 'tap';
import pino from 'pino';
import type { ApiObject } from '../../../control/cluster/api-events.ts';
import { Reflector, type ReflectorSink, type ReflectorTiming } from '../../../control/cluster/reflector.ts';
import { FakeApi, refuse } from './fake-api.ts';
import { until } from './until.ts';

const log = pino({ level: 'silent' });
const quick: Partial<ReflectorTiming> = { backoffMinMs: 2, backoffMaxMs: 20, pageSize: 3, steadyMs: 50 };

/** What a follower of the reflector believes there is. */
class Believed implements ReflectorSink {
  objects = new Map<string, ApiObject>();
  #seen: Set<string> | null = null;
  lists = 0;

  begin(): void {
    this.#seen = new Set();
  }

  set(object: ApiObject): void {
    this.#seen?.add(object.metadata.name);
    this.objects.set(object.metadata.name, object);
  }

  delete(object: ApiObject): void {
    this.objects.delete(object.metadata.name);
  }

  end(): void {
    for (const name of this.objects.keys()) if (this.#seen?.has(name) !== true) this.objects.delete(name);
    this.#seen = null;
    this.lists += 1;
  }

  get names(): string[] {
    return [...this.objects.keys()].sort();
  }
}

async function follow(t: Test, fake: FakeApi, timing: Partial<ReflectorTiming> = {}) {
  const sink = new Believed();
  const api = fake.client(t.testdir({}));
  const reflector = new Reflector({ api, path: '/api/v1/pods', sink, log, timing: { ...quick, ...timing } });
  t.teardown(async () => {
    await reflector.stop();
    api.close();
    await fake[Symbol.asyncDispose]();
  });
  reflector.start();
  return { sink, reflector };
}

function pod(fake: FakeApi, name: string): void {
  fake.put('pods', { metadata: { namespace: 'shop', name } });
}

t.test('a list in pages and then every change', async t => {
  const fake = await FakeApi.start();
  for (let index = 0; index < 8; index++) pod(fake, `p${index}`);
  const { sink, reflector } = await follow(t, fake);
  await reflector.synced;
  t.equal(sink.objects.size, 8);
  t.equal(fake.requests.filter(request => request.includes('limit=3')).length, 3);
  await until('it watches', () => fake.watching('pods') === 1);
  t.match(fake.requests.at(-1), /watch=1&allowWatchBookmarks=true&resourceVersion=\d+&timeoutSeconds=\d+/);
  pod(fake, 'late');
  fake.delete('pods', 'shop', 'p3');
  await until('both changes are there', () => sink.objects.has('late') && !sink.objects.has('p3'));
  t.match(reflector.state, { synced: true, lists: 1, watches: 1, failures: 0, problem: null });
});

t.test('a watch that ends goes on from where it was, without a list', async t => {
  const fake = await FakeApi.start();
  const { sink, reflector } = await follow(t, fake);
  await until('it watches', () => fake.watching('pods') === 1);
  for (const [index, how] of (['end', 'break', 'end', 'break'] as const).entries()) {
    pod(fake, `before-${index}`);
    await until('it is told', () => sink.objects.has(`before-${index}`));
    fake.hangUp('pods', how);
    pod(fake, `between-${index}`);
    await until('it hears what it missed', () => sink.objects.has(`between-${index}`));
  }
  t.equal(reflector.state.lists, 1);
  t.equal(sink.objects.size, 8);
});

t.test('a bookmark moves the place a watch goes on from', async t => {
  const fake = await FakeApi.start();
  const { reflector } = await follow(t, fake);
  await until('it watches', () => fake.watching('pods') === 1);
  fake.put('services', { metadata: { namespace: 'shop', name: 'moves-the-version' } });
  fake.compact();
  fake.bookmark('pods');
  fake.hangUp('pods');
  await until('it watches again', () => reflector.state.watches === 2 && fake.watching('pods') === 1);
  t.equal(reflector.state.lists, 1, 'without the bookmark the place would have been forgotten');
});

t.test('after 410 everything is listed again, and what went in between is gone', async t => {
  const fake = await FakeApi.start();
  pod(fake, 'stays');
  pod(fake, 'goes');
  const { sink, reflector } = await follow(t, fake);
  await until('it watches', () => fake.watching('pods') === 1);
  fake.silently(() => {
    fake.delete('pods', 'shop', 'goes');
    pod(fake, 'comes');
  });
  fake.compact();
  fake.hangUp('pods');
  await until('it is listed again', () => sink.lists === 2);
  t.strictSame(sink.names, ['comes', 'stays']);
  t.equal(reflector.state.problem, null);
  t.ok(reflector.state.watches <= 3, 'the forgotten place was not asked for again');
});

t.test('a list whose place is forgotten between pages begins anew, at last without pages', async t => {
  const fake = await FakeApi.start();
  for (let index = 0; index < 8; index++) pod(fake, `p${index}`);
  fake.intercept = (request, response) => {
    if (request.url?.includes('continue=') !== true) return false;
    refuse(response, 410, 'Expired', 'The provided continue parameter is too old');
    return true;
  };
  const { sink, reflector } = await follow(t, fake);
  await reflector.synced;
  t.equal(sink.objects.size, 8);
  t.equal(sink.lists, 1);
});

t.test('garbage in a watch costs the watch and nothing else', async t => {
  const fake = await FakeApi.start();
  pod(fake, 'there');
  const { sink, reflector } = await follow(t, fake);
  const lines = [
    'not json',
    '[]',
    'null',
    '{"type":"ADDED"}',
    '{"type":"ADDED","object":{"metadata":{"name":"x"}}}',
    '{"type":"SINGING","object":{"metadata":{"name":"x","resourceVersion":"7"}}}',
    '{"type":"BOOKMARK","object":{}}',
  ];
  for (const [index, line] of lines.entries()) {
    await until('it watches', () => fake.opened === index + 1);
    const { failures } = reflector.state;
    fake.say('pods', line);
    await until(`it has noticed ${line}`, () => reflector.state.failures > failures);
    pod(fake, 'there');
  }
  pod(fake, 'after');
  await until('it goes on', () => sink.objects.has('after'));
  t.strictSame(sink.names, ['after', 'there']);
});

t.test('a list that is no list is asked for again, with patience', async t => {
  const fake = await FakeApi.start();
  pod(fake, 'there');
  let garbage = 5;
  fake.intercept = (_, response) => {
    garbage -= 1;
    if (garbage < 0) return false;
    response.writeHead(200);
    response.end(
      garbage % 2 === 0 ? '<html>' : '{"items":[{"metadata":{}}],"metadata":{"resourceVersion":"1"}}',
    );
    return true;
  };
  const { sink, reflector } = await follow(t, fake);
  await reflector.synced;
  t.strictSame(sink.names, ['there']);
  t.equal(reflector.state.failures, 5);
});

t.test('a connection on which nothing comes is given up', async t => {
  const fake = await FakeApi.start();
  const { sink, reflector } = await follow(t, fake, { silentMs: 30 });
  await until('silence was noticed twice', () => reflector.state.watches >= 3);
  pod(fake, 'late');
  await until('it still hears', () => sink.objects.has('late'));
  t.equal(reflector.state.lists, 1);
});

t.test('a server that never answers is given up too, and everything stays as it was', async t => {
  const fake = await FakeApi.start();
  pod(fake, 'there');
  const { sink, reflector } = await follow(t, fake);
  await until('it watches', () => fake.watching('pods') === 1);
  const { port } = fake;
  await fake.close();
  await until('it is noticed', () => reflector.state.problem !== null);
  t.match(reflector.state.problem, /KUBERNETES_UNREACHABLE.*ECONN/);
  await until('it tries', () => reflector.state.failures > 3);
  t.strictSame(sink.names, ['there']);
  t.equal(sink.lists, 1);
  await fake.listen(port);
  pod(fake, 'new');
  await until('it goes on', () => sink.objects.has('new'));
  await until('all is well', () => reflector.state.problem === null);
  t.equal(reflector.state.lists, 1);
});

t.test('a version that the server does not know (it came back from a backup) leads to a list', async t => {
  const fake = await FakeApi.start();
  const { sink, reflector } = await follow(t, fake);
  await until('it watches', () => fake.watching('pods') === 1);
  fake.intercept = (request, response) => {
    if (reflector.state.lists > 1 || request.url?.includes('watch=1') !== true) return false;
    refuse(response, 504, 'Timeout', 'Too large resource version: 999, current: 7');
    return true;
  };
  fake.hangUp('pods');
  await until('it is listed again', () => sink.lists === 2);
  pod(fake, 'new');
  await until('it hears', () => sink.objects.has('new'));
});

t.test('what is not allowed is said, and asked for again', async t => {
  const fake = await FakeApi.start();
  pod(fake, 'there');
  fake.intercept = (_, response) => {
    refuse(response, 403, 'Forbidden', 'pods is forbidden: User "x" cannot list resource "pods"');
    return true;
  };
  const { reflector } = await follow(t, fake);
  await until('it is said', () => reflector.state.problem !== null);
  t.match(reflector.state.problem, /KUBERNETES_REFUSED.*forbidden.*rights of the chart/);
  t.equal(reflector.state.synced, false);
  fake.intercept = () => false;
  await reflector.synced;
});

t.test('a server that asks to be left alone is', async t => {
  const fake = await FakeApi.start();
  let refused = 0;
  fake.intercept = (_, response) => {
    if (refused > 0) return false;
    refused += 1;
    response.setHeader('retry-after', '1');
    refuse(response, 429, 'TooManyRequests', 'please wait');
    return true;
  };
  const began = performance.now();
  const { reflector } = await follow(t, fake);
  await reflector.synced;
  t.ok(performance.now() - began >= 990);
});

t.test('stop ends what is under way, whatever that is', async t => {
  for (const state of ['watch', 'silence', 'away'] as const) {
    const fake = await FakeApi.start();
    if (state === 'silence') fake.intercept = () => true;
    const api = fake.client(t.testdir({}));
    if (state === 'away') await fake.close();
    const sink = new Believed();
    const reflector = new Reflector({
      api,
      path: '/api/v1/pods',
      sink,
      log,
      timing: { ...quick, backoffMinMs: 60_000, backoffMaxMs: 60_000 },
    });
    reflector.start();
    if (state === 'watch') await until('it watches', () => fake.watching('pods') === 1);
    else if (state === 'silence') await until('it asks', () => fake.requests.length === 1);
    else await until('it fails', () => reflector.state.failures === 1);
    await reflector.stop();
    api.close();
    await fake[Symbol.asyncDispose]();
    t.pass(state);
  }
});

t.test('thousands of reconnects leave nothing behind', async t => {
  const fake = await FakeApi.start();
  let watches = 0;
  fake.intercept = (request, response) => {
    if (request.url?.includes('watch=1') !== true) return false;
    watches += 1;
    response.writeHead(200);
    const object = { metadata: { resourceVersion: String(100 + watches) } };
    response.end(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`);
    fake.requests.length = 0;
    return true;
  };
  const { reflector } = await follow(t, fake, { backoffMinMs: 0 });
  const collect = await collector();
  await until('it has warmed up', () => watches > 500, 60_000);
  collect();
  const before = process.memoryUsage().heapUsed;
  await until('it has reconnected often', () => watches > 3_500, 60_000);
  collect();
  const grown = process.memoryUsage().heapUsed - before;
  t.ok(grown < 1_500_000, `the heap has grown by ${grown} bytes over 3000 reconnects`);
  t.equal(reflector.state.lists, 1);
  t.ok(fake.connections < 10, `${fake.connections} connections`);
});

async function collector(): Promise<() => void> {
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
