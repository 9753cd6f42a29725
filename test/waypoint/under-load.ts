/** Requests and connections that do not pause while something changes: routes, endpoints that go bad and get well again. */
import type { Duplex } from 'node:stream';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import { World } from './world.ts';
import { destination, route } from './world-objects.ts';

/** What came of requests, by status and pod, since the last look. */
class Load implements AsyncDisposable {
  #isOver = false;
  readonly #clients: readonly Promise<void>[];
  readonly #answers = new Map<string, number>();
  readonly failed: string[] = [];

  constructor(world: World, clients = 4) {
    this.#clients = Array.from({ length: clients }, (_, at) => this.#run(world, at));
  }

  async #run(world: World, at: number): Promise<void> {
    for (let n = 0; !this.#isOver; n += 1) {
      const { status, headers, text } = await world.request(`/${at}/${n}`);
      const pod = String(headers['x-pod']);
      this.#answers.set(pod, (this.#answers.get(pod) ?? 0) + 1);
      if (status !== 200) this.failed.push(`${status} ${text}`);
    }
  }

  /** Waits for so many answers of each pod from now on, and forgets those before. */
  async answers(count: number, ...pods: readonly string[]): Promise<ReadonlyMap<string, number>> {
    this.#answers.clear();
    await eventually(() => pods.every(pod => (this.#answers.get(pod) ?? 0) >= count), {
      what: `${count} answers of each of ${pods.join()}`,
      timeoutMs: 30_000,
    });
    return this.#answers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
  }
}

void t.test('a canary gets its share step by step, and no request fails', async t => {
  const split = (share: number): string =>
    route(
      `- backendRefs: [{ name: v1, port: 80, weight: ${100 - share} }, { name: v2, port: 80, weight: ${share} }]`,
    );
  await using world = await World.create({ pods: ['v1', 'v2'], objects: split(0) });
  for (const pod of ['v1', 'v2']) await world.serveHttp(pod);
  await using load = new Load(world);
  t.same([...(await load.answers(20, 'v1')).keys()], ['v1']);
  for (const share of [10, 50, 90]) {
    await world.routes(split(share));
    await load.answers(5, 'v1', 'v2');
  }
  await world.routes(split(100));
  await load.answers(5, 'v2');
  t.same([...(await load.answers(20, 'v2')).keys()], ['v2']);
  t.same(load.failed, []);
});

void t.test('an endpoint that goes bad is left out and comes back, and no request fails', async t => {
  let now = Date.now();
  await using world = await World.create({
    pods: ['good', 'other'],
    now: () => now,
    objects:
      route('- { retry: { codes: [500], attempts: 2 }, backendRefs: [{ name: web, port: 80 }] }') +
      destination(
        '{ loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: { consecutive5xxErrors: 3, baseEjectionTime: 1m } }',
      ),
  });
  let isBad = false;
  await world.serveHttp('good');
  await world.serveHttp('other', (_request, response) => {
    response.writeHead(isBad ? 500 : 200, { 'x-pod': 'other' }).end();
  });
  await using load = new Load(world);
  await load.answers(10, 'good', 'other');
  isBad = true;
  await eventually(async () => (await world.metric('culvert_waypoint_ejections_total')) === 1, {
    what: 'that it is left out',
  });
  await load.answers(5, 'good');
  t.same([...(await load.answers(20, 'good')).keys()], ['good']);
  isBad = false;
  now += 60_000;
  await load.answers(10, 'good', 'other');
  t.same(load.failed, []);
  t.equal(await world.metric('culvert_waypoint_ejections_total'), 1);
});

const say = async (socket: Duplex): Promise<string> =>
  new Promise(resolve => socket.once('data', (chunk: Buffer) => resolve(String(chunk))));

void t.test(
  'connections: an endpoint that does not answer in time, its agent silent, is passed over and left out',
  async t => {
    let now = Date.now();
    await using world = await World.create({
      pods: ['good', 'silent'],
      appProtocol: 'tcp',
      isMeshed: true,
      now: () => now,
      limits: { endpointPenaltyMs: 0 },
      objects: destination(
        '{ loadBalancer: { simple: ROUND_ROBIN }, connectionPool: { tcp: { connectTimeout: 100ms } }, outlierDetection: { consecutive5xxErrors: 2, baseEjectionTime: 1m, maxEjectionPercent: 50 } }',
      ),
    });
    for (const pod of ['good', 'silent']) await world.serve(pod, socket => socket.write(pod));
    const agent = world.agents.get('silent');
    if (agent === undefined) return;
    agent.isSilent = true;
    const open = async (): Promise<string> => {
      const socket = await world.connect();
      const said = await say(socket);
      socket.destroy();
      return said;
    };
    for (let n = 0; n < 8; n += 1) t.equal(await open(), 'good');
    t.equal(agent.seen.length, 2, 'asked twice in vain, and then not any more');
    t.equal(await world.metric('culvert_waypoint_ejections_total'), 1);
    agent.isSilent = false;
    now += 60_000;
    const said = new Set<string>();
    for (let n = 0; n < 4; n += 1) said.add(await open());
    t.same([...said].sort(), ['good', 'silent'], 'it is back');
  },
);

void t.test(
  'connections: where the only endpoint does not answer in time the client hears of it',
  async t => {
    await using world = await World.create({
      appProtocol: 'tcp',
      isMeshed: true,
      objects: destination('{ connectionPool: { tcp: { connectTimeout: 50ms } } }'),
    });
    const agent = world.agents.get('web');
    if (agent !== undefined) agent.isSilent = true;
    await t.rejects(world.connect(), /status 503/);
    t.match(await world.line({ protocol: 'TCP' }), { code: 'CONNECT_TIMEOUT', error: /within 50 ms/ });
  },
);
