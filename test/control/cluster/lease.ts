import t, { type Test } from 'tap';
import pino from 'pino';
import { Lease, type LeaseTiming } from '../../../control/cluster/lease.ts';
import { FakeApi, refuse } from './fake-api.ts';
import { until } from './until.ts';

const log = pino({ level: 'silent' });
/** Whole seconds are all a Lease can say. */
const quick: LeaseTiming = { leaseMs: 1_000, believeMs: 600, retryMs: 20 };

async function lab(t: Test) {
  const fake = await FakeApi.start();
  const api = fake.client(t.testdir({}));
  const leases: Lease[] = [];
  t.teardown(async () => {
    await Promise.all(leases.map(lease => lease.stop()));
    api.close();
    await fake[Symbol.asyncDispose]();
  });
  const replica = (identity: string, now?: () => number): Lease => {
    const lease = new Lease({
      api,
      namespace: 'culvert-system',
      name: 'culvert-control',
      identity,
      log,
      timing: quick,
      ...(now === undefined ? {} : { now }),
    });
    leases.push(lease);
    lease.start();
    return lease;
  };
  return { fake, replica };
}

function spec(fake: FakeApi): Record<string, unknown> {
  return fake.get('leases', 'culvert-system', 'culvert-control')?.spec as Record<string, unknown>;
}

t.test('one of several replicas leads, and goes on leading', async t => {
  const { fake, replica } = await lab(t);
  const replicas = ['a', 'b', 'c'].map(identity => replica(identity));
  await until('one leads', () => replicas.some(({ isLeader }) => isLeader));
  const [leader] = replicas.filter(({ isLeader }) => isLeader);
  const { renewTime } = spec(fake);
  await until('it renews', () => spec(fake).renewTime !== renewTime);
  await until('the others know', () => replicas.every(({ holder }) => holder === spec(fake).holderIdentity));
  t.strictSame(
    replicas.filter(({ isLeader }) => isLeader),
    [leader],
  );
  t.match(spec(fake), { leaseDurationSeconds: 1, leaseTransitions: 0, acquireTime: /\.\d{6}Z$/ });
});

t.test('a replica that stops hands over at once', async t => {
  const { fake, replica } = await lab(t);
  const first = replica('first');
  const changes: boolean[] = [];
  first.onChange = leading => changes.push(leading);
  await until('it leads', () => first.isLeader);
  const second = replica('second');
  await until('the other waits', () => second.holder === 'first');
  await first.stop();
  t.equal(first.isLeader, false);
  t.strictSame(changes, [true, false]);
  t.equal(spec(fake).holderIdentity, '');
  await until('the other leads', () => second.isLeader);
  t.equal(spec(fake).leaseTransitions, 1);
});

t.test('a leader that can not renew stops writing before anyone else begins', async t => {
  const { fake, replica } = await lab(t);
  const first = replica('first');
  await until('it leads', () => first.isLeader);
  let isAway = true;
  fake.intercept = (_, response) => {
    if (isAway) refuse(response, 503, 'ServiceUnavailable', 'not now');
    return isAway;
  };
  let lostAt = 0;
  first.onChange = () => (lostAt = performance.now());
  await until('it knows by itself', () => lostAt > 0);
  t.equal(first.isLeader, false);
  t.equal(spec(fake).holderIdentity, 'first', 'the lease still names it');
  await first.stop();
  isAway = false;
  const second = replica('second');
  let tookAt = 0;
  second.onChange = () => (tookAt = performance.now());
  await until('the other takes it', () => tookAt > 0);
  t.ok(tookAt > lostAt);
});

t.test('the belief ends by the clock, also when nothing else happens in the process', async t => {
  const { replica } = await lab(t);
  let now = 0;
  const lease = replica('a', () => now);
  await until('it leads', () => lease.isLeader);
  now += 599;
  t.equal(lease.isLeader, true);
  now += 1;
  // As after the process was stopped for a while: asked before a write, it says no.
  t.equal(lease.isLeader, false);
});

t.test('a lease that has run out is taken over, one that is renewed is not', async t => {
  const { fake, replica } = await lab(t);
  fake.put('leases', {
    metadata: { namespace: 'culvert-system', name: 'culvert-control' },
    spec: {
      holderIdentity: 'gone',
      leaseDurationSeconds: 1,
      renewTime: '2020-01-01T00:00:00.000000Z',
      leaseTransitions: 4,
    },
  });
  const lease = replica('a');
  await until('it has looked', () => lease.holder === 'gone');
  t.equal(lease.isLeader, false, 'its age is counted from when it was seen, not by its own time');
  await until('it takes over', () => lease.isLeader);
  t.equal(spec(fake).leaseTransitions, 5);
});

t.test('a holder that finds another in its place is none', async t => {
  const { fake, replica } = await lab(t);
  const lease = replica('a');
  await until('it leads', () => lease.isLeader);
  fake.put('leases', {
    metadata: { namespace: 'culvert-system', name: 'culvert-control' },
    spec: { holderIdentity: 'other', leaseDurationSeconds: 60 },
  });
  await until('it sees', () => !lease.isLeader);
  t.equal(spec(fake).holderIdentity, 'other');
});

t.test('garbage in place of a lease makes nobody a leader', async t => {
  const { fake, replica } = await lab(t);
  fake.put('leases', {
    metadata: { namespace: 'culvert-system', name: 'culvert-control' },
    spec: { holderIdentity: 7 },
  });
  const lease = replica('a');
  await until('it has looked', () => fake.requests.length > 3);
  t.equal(lease.isLeader, false);
});
