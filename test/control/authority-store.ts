import { X509Certificate } from 'node:crypto';
import t from 'tap';
import type { Test } from 'tap';
import type { CulvertError } from '../../base/errors.ts';
import { ClusterAuthority, type ClusterAuthorityOptions } from '../../control/authority-store.ts';
import { newBundle } from '../../tunnel/authority.ts';
import { formatBundle, parseBundle } from '../../tunnel/authority-bundle.ts';
import { generateKey } from '../../tunnel/x509.ts';
import { eventually } from '../lab/eventually.ts';
import { FakeClock } from '../tunnel/fake-clock.ts';
import { MemoryStore } from './memory-store.ts';

const identity = 'spiffe://cluster.local/ns/shop/sa/cart';
const hourMs = 3_600_000;

async function open(
  t: Test,
  options: Pick<ClusterAuthorityOptions, 'store'> & Partial<ClusterAuthorityOptions>,
): Promise<ClusterAuthority> {
  const authority = await ClusterAuthority.open(options);
  t.teardown(() => authority.close());
  return authority;
}

function sign(authority: ClusterAuthority): X509Certificate {
  const { chainPem } = authority.sign({ kind: 'workload', identity }, generateKey().publicKey, hourMs);
  return new X509Certificate(chainPem);
}

const rootsIn = (authority: ClusterAuthority): string =>
  authority
    .status()
    .roots.map(({ state }) => state)
    .join();

const rootOf = (bundle: string): X509Certificate => {
  const [entry] = parseBundle(bundle, 'test');
  if (entry === undefined) throw new Error('no root');
  return entry.certificate;
};

t.test('whichever replica is first makes the root, and all have the same', async t => {
  const store = new MemoryStore();
  const replicas = await Promise.all([1, 2, 3].map(() => open(t, { store })));
  const roots = new Set(replicas.map(replica => replica.roots()));
  t.equal(roots.size, 1);
  const [pem = ''] = roots;
  for (const replica of replicas) t.ok(sign(replica).verify(new X509Certificate(pem).publicKey));
  t.equal((await open(t, { store })).roots(), pem, 'and so has one that comes later');
});

t.test('where a root is trusted already no second one is made', async t => {
  const store = new MemoryStore();
  const distributedPem = rootOf(newBundle(Date.now())).toString();
  await t.rejects(open(t, { store, distributedPem }), {
    code: 'AUTHORITY_MISSING',
    message: /no other is made/,
  });
  t.equal(await store.read(), null);
});

t.test('what cannot be used stops the start with its reason', async t => {
  await t.rejects(open(t, { store: new MemoryStore('hello') }), {
    code: 'AUTHORITY_INVALID',
    message: /Secret test/,
  });
  const store = new MemoryStore();
  store.failure = new Error('forbidden');
  await t.rejects(open(t, { store }), /forbidden/);
});

t.test('a root takes the place of another without cutting anybody off', async t => {
  const clock = new FakeClock();
  const [before, after] = [newBundle(clock.now()), newBundle(clock.now())];
  const store = new MemoryStore(before);
  const replicas = await Promise.all([1, 2].map(() => open(t, { store, clock, overlapMs: 24 * hourMs })));
  let changes = 0;
  for (const replica of replicas) replica.onRootsChanged(() => (changes += 1));
  store.replace(after);
  for (const replica of replicas) {
    await eventually(() => rootsIn(replica) === 'signing,joining');
    t.ok(sign(replica).verify(rootOf(before).publicKey));
  }
  t.equal(changes, 2);
  await clock.advance(24 * hourMs);
  for (const replica of replicas) {
    t.equal(rootsIn(replica), 'signing,leaving');
    t.ok(sign(replica).verify(rootOf(after).publicKey));
  }
  await clock.advance(24 * hourMs);
  for (const replica of replicas) t.equal(rootsIn(replica), 'signing');
});

t.test('a replica that starts after the change knows what others trust', async t => {
  const clock = new FakeClock();
  const [before, after] = [newBundle(clock.now()), newBundle(clock.now())];
  const both = formatBundle([...parseBundle(after, 'a'), ...parseBundle(before, 'b')]);
  const distributedPem = rootOf(before).toString();
  const late = await open(t, { store: new MemoryStore(both), clock, distributedPem, overlapMs: hourMs });
  t.equal(rootsIn(late), 'signing,joining');
  t.ok(sign(late).verify(rootOf(before).publicKey), 'signs with what is trusted already');
  await clock.advance(hourMs);
  t.ok(sign(late).verify(rootOf(after).publicKey));
  const replaced = await open(t, { store: new MemoryStore(after), clock, distributedPem, overlapMs: hourMs });
  t.equal(rootsIn(replaced), 'signing,leaving', 'what was signed before is trusted for a while');
  const unreadable = await open(t, {
    store: new MemoryStore(after),
    clock,
    distributedPem: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
  });
  t.equal(rootsIn(unreadable), 'signing');
});

t.test('what becomes unusable is refused, said, and looked at again', async t => {
  const clock = new FakeClock();
  const good = newBundle(clock.now());
  const store = new MemoryStore(good);
  const problems: (string | null)[] = [];
  const onProblem = (problem: CulvertError | null): void => void problems.push(problem?.code ?? null);
  const authority = await open(t, { store, clock, onProblem });
  authority.onRootsChanged(() => t.fail('nothing may change'));
  for (const [text, code] of [
    ['broken', 'AUTHORITY_INVALID'],
    [null, 'AUTHORITY_MISSING'],
  ] as const) {
    store.replace(text);
    await eventually(() => authority.status().problem?.code === code);
    t.ok(sign(authority).verify(rootOf(good).publicKey));
    store.replace(good);
    await eventually(() => authority.status().problem === null);
  }
  store.failure = new Error('the API server is away');
  store.replace(good);
  await eventually(() => authority.status().problem?.code === 'AUTHORITY_UNREADABLE');
  store.failure = null;
  // Nothing calls back: it asks by itself.
  await clock.advance(hourMs);
  await eventually(() => authority.status().problem === null);
  t.same(problems, ['AUTHORITY_INVALID', null, 'AUTHORITY_MISSING', null, 'AUTHORITY_UNREADABLE', null]);
});

t.test('after close nothing is asked or called', async t => {
  const store = new MemoryStore();
  const authority = await open(t, { store, onProblem: () => t.fail('still looking') });
  authority.close();
  t.equal(store.listeners, 0);
  store.replace('broken');
  t.pass('quiet');
});
