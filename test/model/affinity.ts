import t from 'tap';
import { Affinity } from '../../model/affinity.ts';
import { pickEndpoint } from '../../model/balance.ts';
import { mesh, port, service, workload } from './objects.ts';

const hour = 3_600_000;
const web = 'shop/web.shop.svc.cluster.local';
const reached = (endpoint: string, client = 'c') => ({ client, service: web, endpoint });

t.test('a client is kept until it has not come for so long', async t => {
  const affinity = new Affinity();
  t.strictSame(affinity.find('c', web, hour, 0), { endpoint: null, turn: 0 });
  affinity.note(reached('a'), hour, 0);
  t.match(affinity.find('c', web, hour, hour), { endpoint: 'a' });
  affinity.note(reached('a'), hour, hour);
  t.match(affinity.find('c', web, hour, 2 * hour), { endpoint: 'a' }, 'each connection counts');
  t.strictSame(affinity.find('c', web, hour, 2 * hour + 30_000), { endpoint: null, turn: 1 });
  t.match(affinity.find('d', web, hour, 0), { endpoint: null }, 'nobody else is');
  t.match(affinity.find('c', 'shop/db', hour, 0), { endpoint: null });
});

t.test('others are told what is new, and from time to time that it is still so', async t => {
  const [one, other] = [new Affinity(), new Affinity()];
  const first = one.note(reached('a'), hour, 0);
  t.strictSame(first, { ...reached('a'), turn: 0 });
  t.equal(one.note(reached('a'), hour, 29_999), null);
  t.ok(one.note(reached('a'), hour, 30_000));
  t.equal(one.note(reached('a'), hour, 59_999), null, 'that was told');
  t.ok(one.note(reached('b'), hour, 60_000), 'at once where it is another');
  if (first !== null) other.heard(first, 0);
  t.match(other.find('c', web, hour, hour), { endpoint: 'a' });
  t.equal(other.note(reached('a'), hour, 1), null, 'whoever was told has no news');
  const again = one.note(reached('c'), hour, 3 * hour);
  t.match(again, { endpoint: 'c', turn: 1 });
  if (again !== null) other.heard(again, 3 * hour);
  t.strictSame(other.find('c', web, hour, 3 * hour), { endpoint: 'c', turn: 1 });
});

t.test('those who came longest ago are forgotten first', async t => {
  const affinity = new Affinity(2);
  affinity.note(reached('a', '1'), hour, 0);
  affinity.note(reached('a', '2'), hour, 0);
  affinity.note(reached('a', '1'), hour, 1);
  affinity.note(reached('a', '3'), hour, 2);
  t.equal(affinity.size, 2);
  t.match(affinity.find('2', web, hour, 2), { endpoint: null });
  t.match(affinity.find('1', web, hour, 2), { endpoint: 'a' });
});

t.test('a service keeps its clients while endpoints come and go', async t => {
  const affinity = new Affinity();
  const sticky = service('web', { sessionAffinityMs: hour });
  const endpoint = (name: string) =>
    workload(name, { addresses: ['10.0.0.1'], services: { [web]: [port(80, 8080)] } });
  const clients = Array.from({ length: 200 }, (_, n) => workload(`client-${n}`));
  const choices = (names: readonly string[], now: number): string[] => {
    const m = mesh({ workloads: names.map(endpoint) });
    return clients.map(from => {
      const kept = (of: string, timeoutMs: number) => affinity.find(from.uid, of, timeoutMs, now);
      const options = { from, random: Math.random, exclude: new Set<string>(), family: 4, kept } as const;
      const chosen = pickEndpoint(m, sticky, 80, options)?.workload;
      if (chosen === undefined) return 'none';
      affinity.note({ client: from.uid, service: web, endpoint: chosen.uid }, hour, now);
      return chosen.name;
    });
  };
  const before = choices(['a', 'b'], 0);
  t.strictSame(choices(['a', 'b', 'c', 'd'], 1), before, 'who comes takes nobody away');
  const without = choices(['b', 'c', 'd'], 2);
  t.ok(
    before.every((name, n) => name === 'a' || name === without[n]),
    'only those of the one that went are given out anew',
  );
  t.strictSame(choices(['a', 'b', 'c', 'd'], 3), without, 'and stay, when it is back');
  const later = choices(['a', 'b', 'c', 'd'], 3 + 2 * hour);
  t.strictNotSame(later, without, 'long after they may be anywhere');
  t.same(new Set(later), new Set(['a', 'b', 'c', 'd']));
  t.strictSame(choices(['a', 'b', 'c', 'd', 'e'], 4 + 2 * hour), later);
});
