import t from 'tap';
import { EndpointNames, type Records } from '../../agent/endpoint-names.ts';

/** A resolver whose answers and clock a test sets. */
function resolver() {
  const state = { now: 0, asked: 0, v4: [] as Records, v6: [] as Records, fails: false };
  const names = new EndpointNames({
    now: () => state.now,
    resolve: (_name, family) => {
      state.asked += 1;
      if (state.fails) return Promise.reject(Object.assign(new Error('timeout'), { code: 'ETIMEOUT' }));
      return Promise.resolve(family === 4 ? state.v4 : state.v6);
    },
  });
  return { state, names };
}

t.test('an address is itself', async t => {
  const { state, names } = resolver();
  t.equal(await names.addressOf('192.0.2.1'), '192.0.2.1');
  t.equal(await names.addressOf('2001:db8::1'), '2001:db8::1');
  t.equal(state.asked, 0);
});

t.test('several addresses take turns; IPv6 only where there is nothing else', async t => {
  const { state, names } = resolver();
  state.v4 = ['192.0.2.1', '192.0.2.2'].map(address => ({ address, ttl: 60 }));
  state.v6 = [{ address: '2001:db8::1', ttl: 60 }];
  const found = [await names.addressOf('db.example'), await names.addressOf('db.example')];
  t.same(found.sort(), ['192.0.2.1', '192.0.2.2']);
  state.v4 = [];
  t.equal(await names.addressOf('six.example'), '2001:db8::1');
});

t.test('an answer is remembered as long as it says, and asked for once at a time', async t => {
  const { state, names } = resolver();
  state.v4 = [{ address: '192.0.2.1', ttl: 10 }];
  await Promise.all([names.addressOf('db.example'), names.addressOf('db.example')]);
  t.equal(state.asked, 2, 'once for each family');
  state.v4 = [{ address: '192.0.2.2', ttl: 10 }];
  state.now = 9_999;
  t.equal(await names.addressOf('db.example'), '192.0.2.1');
  state.now = 10_001;
  t.equal(await names.addressOf('db.example'), '192.0.2.2');
});

t.test('without a resolver the last answer is used on; without one there is none', async t => {
  const { state, names } = resolver();
  state.v4 = [{ address: '192.0.2.1', ttl: 1 }];
  await names.addressOf('db.example');
  state.fails = true;
  state.now = 100_000;
  t.equal(await names.addressOf('db.example'), '192.0.2.1');
  await t.rejects(names.addressOf('other.example'), { code: 'NAME_UNRESOLVED', message: /ETIMEOUT/ });
  state.fails = false;
  state.v4 = [];
  await t.rejects(names.addressOf('empty.example'), { code: 'NAME_UNRESOLVED' });
});
