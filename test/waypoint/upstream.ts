/** The endpoints of a service as a traffic policy treats them: places, new ones, busy ones, subsets. */
import t from 'tap';
import { serviceKey } from '../../model/service.ts';
import { defaultTraffic, type OutlierRule, type TrafficPolicy } from '../../model/traffic-policy.ts';
import type { Workload } from '../../model/workload.ts';
import { Upstream, type Choice } from '../../waypoint/upstream.ts';
import { emptyMesh } from '../../model/mesh.ts';
import { mesh, port, service, workload } from '../model/objects.ts';

const web = service('web');
const key = serviceKey(web);
const picks = 10_000;

function endpoint(name: string, place = 'eu/a/1', given: Partial<Workload> = {}): Workload {
  const [region = '', zone = '', subzone = ''] = place.split('/');
  return workload(name, {
    addresses: [`10.0.0.${name.charCodeAt(0)}`],
    services: { [key]: [port(80, 8080)] },
    locality: { region, zone, subzone },
    ...given,
  });
}

const self = endpoint('w');
const anyone: Choice = { exclude: new Set(), avoid: new Set(), hash: null, session: null, elsewhere: null };
const outliers: OutlierRule = {
  serverErrors: 1,
  gatewayErrors: 0,
  localErrors: null,
  statuses: [[500, 599]],
  intervalMs: 10_000,
  ejectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};

class Stage {
  now = 0;
  readonly mesh;
  readonly upstream: Upstream;

  constructor(
    endpoints: readonly Workload[],
    policy: Partial<TrafficPolicy>,
    subset: string[] | null = null,
  ) {
    this.mesh = mesh({ services: [web], workloads: endpoints });
    this.upstream = new Upstream({
      key: 'web',
      port: 80,
      family: 4,
      mesh: this.mesh,
      now: () => this.now,
      random: Math.random,
      onOverflow: () => {},
    });
    this.upstream.configure({ ...defaultTraffic, ...policy }, subset);
  }

  pick(choice: Partial<Choice> = {}, from: Workload | null = self): string | null {
    return this.upstream.pick(web, from, { ...anyone, ...choice })?.workload.name ?? null;
  }

  shares(choice: Partial<Choice> = {}): Record<string, number> {
    const counts: Record<string, number> = {};
    for (let n = 0; n < picks; n += 1) {
      const name = this.pick(choice) ?? 'none';
      counts[name] = (counts[name] ?? 0) + 1 / picks;
    }
    return counts;
  }
}

function isNear(given: number | undefined, wanted: number): boolean {
  // Five standard deviations of what is drawn at random.
  return Math.abs((given ?? 0) - wanted) < 0.025;
}

t.test('nearer places first; as their endpoints fall out the next ones take over', async t => {
  const stage = new Stage(
    [endpoint('a', 'eu/a/1'), endpoint('b', 'eu/a/1'), endpoint('c', 'eu/b/1'), endpoint('d', 'us/a/1')],
    { locality: { type: 'failover', regions: [] }, outliers },
  );
  t.same(Object.keys(stage.shares()).sort(), ['a', 'b']);
  stage.upstream.report(endpoint('a').uid, 500);
  const half = stage.shares();
  t.ok(isNear(half['b'], 0.7) && isNear(half['c'], 0.3), JSON.stringify(half));
  stage.upstream.report(endpoint('b').uid, 500);
  stage.upstream.report(endpoint('c').uid, 500);
  t.same(Object.keys(stage.shares()), ['d']);
  stage.now = 30_000;
  t.same(Object.keys(stage.shares()).sort(), ['a', 'b'], 'and back');
});

t.test('a region that is named comes before the others', async t => {
  const stage = new Stage([endpoint('c', 'asia/a/1'), endpoint('d', 'us/a/1')], {
    locality: { type: 'failover', regions: [{ from: 'eu', to: 'us' }] },
    outliers,
  });
  t.same(Object.keys(stage.shares()), ['d']);
});

t.test('the more places are shared, the sooner', async t => {
  const places = [
    { place: 'region', value: null },
    { place: 'node', value: 'n9' },
  ] as const;
  const stage = new Stage(
    [endpoint('a', 'eu/z/1'), endpoint('b', 'eu/y/1', { node: 'n9' }), endpoint('c', 'us/a/1')],
    {
      locality: { type: 'priority', places },
      outliers,
    },
  );
  t.same(Object.keys(stage.shares()), ['b']);
  stage.upstream.report(endpoint('b').uid, 500);
  t.same(Object.keys(stage.shares()), ['a']);
});

t.test('shares of localities, which shrink with what falls out', async t => {
  const shares = [
    {
      from: 'eu/*',
      to: [
        { locality: 'eu/a', weight: 80 },
        { locality: 'us/*', weight: 20 },
      ],
    },
  ];
  const stage = new Stage([endpoint('a', 'eu/a/1'), endpoint('b', 'eu/b/1'), endpoint('c', 'us/a/1')], {
    locality: { type: 'distribute', shares },
    outliers,
  });
  const all = stage.shares();
  t.ok(isNear(all['a'], 0.8) && isNear(all['c'], 0.2) && all['b'] === undefined, JSON.stringify(all));
  stage.upstream.report(endpoint('a').uid, 500);
  t.same(Object.keys(stage.shares()), ['c']);
});

t.test('without a rule a service says itself what is near', async t => {
  const near = service('web', {
    loadBalancing: { mode: 'FAILOVER', routingPreference: ['REGION', 'ZONE'], healthPolicy: 'ONLY_HEALTHY' },
  });
  const stage = new Stage([endpoint('a', 'eu/b/1'), endpoint('b', 'us/a/1')], {});
  t.equal(Object.keys(stage.shares()).length, 2);
  for (let n = 0; n < 20; n += 1) t.equal(stage.upstream.pick(near, self, anyone)?.workload.name, 'a');
  t.equal(
    stage.upstream.pick(near, self, { ...anyone, exclude: new Set([endpoint('a').uid]) })?.workload.name,
    'b',
  );
});

t.test('a new endpoint gets its share little by little', async t => {
  for (const type of ['round-robin', 'least-request'] as const) {
    const stage = new Stage([endpoint('a')], {
      balancing: { type },
      warmup: { durationMs: 100_000, minimumPercent: 10, aggression: 1 },
    });
    t.equal(stage.pick(), 'a');
    stage.mesh.apply({ ...emptyMesh, workloads: [endpoint('b')] });
    t.ok(isNear(stage.shares()['b'], 0.1 / 1.1), `${type}: at first`);
    stage.now = 50_000;
    t.ok(isNear(stage.shares()['b'], 0.5 / 1.5), `${type}: half-way`);
    stage.now = 100_000;
    t.ok(isNear(stage.shares()['b'], 0.5), `${type}: warm`);
  }
});

t.test('busy ones get less, and what was begun is counted through changes of the mesh', async t => {
  const stage = new Stage([endpoint('a'), endpoint('b')], {});
  stage.pick();
  const ends = Array.from({ length: 5 }, () => stage.upstream.begin(endpoint('a').uid));
  stage.mesh.apply({ ...emptyMesh, workloads: [endpoint('c')] });
  const busy = stage.shares();
  t.ok(isNear(busy['a'], 1 / 9), JSON.stringify(busy));
  for (const end of ends) end();
  t.ok(isNear(stage.shares()['a'], 1 / 3));
});

t.test('a further try goes elsewhere: another endpoint, and where it is asked for another place', async t => {
  const stage = new Stage([endpoint('a', 'eu/a/1'), endpoint('b', 'eu/a/1'), endpoint('c', 'eu/b/1')], {});
  t.same(Object.keys(stage.shares({ elsewhere: endpoint('a') })), ['c']);
  t.same(Object.keys(stage.shares({ exclude: new Set([endpoint('a').uid, endpoint('c').uid]) })), ['b']);
  t.equal(stage.pick({ exclude: new Set(['a', 'b', 'c'].map(name => endpoint(name).uid)) }), null);
  t.same(Object.keys(stage.shares({ avoid: new Set([endpoint('a').uid, endpoint('b').uid]) })), ['c']);
  t.ok(stage.pick({ avoid: new Set(['a', 'b', 'c'].map(name => endpoint(name).uid)) }), 'better than none');
});

t.test('a subset, and endpoints that no tunnel leads to', async t => {
  const both = [endpoint('a'), endpoint('b', 'eu/a/1', { tunnelProtocol: 'NONE' })];
  t.same(Object.keys(new Stage(both, {}, [endpoint('b').uid]).shares()), ['b']);
  t.same(Object.keys(new Stage(both, { tunnelOnly: true }).shares()), ['a']);
  t.equal(new Stage(both, { tunnelOnly: true }, [endpoint('b').uid]).pick(), null);
});

t.test('a key goes to the nearest level only, and stays', async t => {
  const stage = new Stage([endpoint('a', 'eu/a/1'), endpoint('b', 'eu/a/1'), endpoint('c', 'us/a/1')], {
    balancing: { type: 'hash', key: { type: 'source' }, table: { type: 'ring', minimumSize: 1_024 } },
    locality: { type: 'failover', regions: [] },
    outliers,
  });
  t.equal(Object.keys(stage.shares({ hash: 7 })).length, 1);
  const held = new Set(Array.from({ length: 100 }, (_, n) => stage.pick({ hash: n * 42_949_672 })));
  t.same([...held].map(String).sort(), ['a', 'b']);
});
