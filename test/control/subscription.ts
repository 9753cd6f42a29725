import t from 'tap';
import { ResourceStore } from '../../control/resources.ts';
import {
  Subscription,
  type SubscriptionOptions,
  type SubscriptionRequest,
} from '../../control/subscription.ts';

const type = 'type.googleapis.com/test.Thing';

function make(options: Partial<SubscriptionOptions> = {}): {
  store: ResourceStore;
  subscription: Subscription;
} {
  const store = new ResourceStore([type]);
  const collection = store.collection(type);
  if (collection === null) throw new Error('no collection');
  const subscription = new Subscription(collection, { node: null, confined: false, maxNames: 3, ...options });
  return { store, subscription };
}

function request(given: Partial<SubscriptionRequest> = {}): SubscriptionRequest {
  return { subscribe: [], unsubscribe: [], known: new Map(), nonce: '', error: null, ...given };
}

const put = (store: ResourceStore, name: string): unknown =>
  store.apply({ [type]: { set: [{ name, content: Buffer.from(name) }], removed: [] } });

t.test('nothing before it is asked, and nothing while something is under way', async t => {
  const { store, subscription } = make();
  put(store, 'a');
  subscription.markDue();
  t.equal(subscription.take(1_000), null);
  t.equal(subscription.request(request()), null);
  const first = subscription.take(1_000);
  t.equal(first?.frames.length, 1);
  put(store, 'b');
  subscription.markDue();
  t.ok(subscription.isUnderWay);
  t.ok(subscription.isDue);
  t.equal(subscription.take(1_000), null);
  t.equal(subscription.request(request({ nonce: 'of another' })), null);
  t.equal(subscription.take(1_000), null);
  t.same(subscription.request(request({ nonce: first?.nonce ?? '' })), { accepted: true });
  const second = subscription.take(1_000);
  t.equal(second?.frames.length, 1);
  t.same(subscription.request(request({ nonce: second?.nonce ?? '', error: 'no' })), { accepted: false });
  t.equal(subscription.take(1_000), null, 'refused is told as well');
});

t.test('a change is told of when it is due, and not before', async t => {
  const { store, subscription } = make();
  subscription.request(request());
  subscription.request(request({ nonce: subscription.take(1_000)?.nonce ?? '' }));
  put(store, 'a');
  t.equal(subscription.take(1_000), null);
  subscription.markDue();
  t.equal(subscription.take(1_000)?.frames.length, 1);
});

t.test('names are counted, and too long ones are none', async t => {
  const { subscription } = make();
  subscription.request(request({ subscribe: ['a', 'b', '*', 'x'.repeat(2_000)], unsubscribe: ['*'] }));
  subscription.request(request({ subscribe: ['c'] }));
  t.throws(() => subscription.request(request({ subscribe: ['d'] })), {
    code: 'ADS_TOO_MANY_NAMES',
    side: 'client',
  });
  subscription.request(request({ unsubscribe: ['a'] }));
  subscription.request(request({ subscribe: ['d'] }));
  t.equal(subscription.mode, 'on-demand');
});

t.test('confined to a node, everything is what is on it', async t => {
  const { subscription } = make({ confined: true, node: 'n1' });
  subscription.request(request());
  t.equal(subscription.mode, 'wildcard');
});

t.test('after close nothing is told', async t => {
  const { store, subscription } = make();
  subscription.request(request());
  subscription.close();
  put(store, 'a');
  subscription.markDue();
  t.equal(subscription.take(1_000), null);
});
