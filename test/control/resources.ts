import * as fc from 'fast-check';
import t from 'tap';
import { KeyedFeed } from '../../control/keyed-feed.ts';
import type { Feed } from '../../control/feed.ts';
import type { Offer } from '../../control/resource.ts';
import { ResourceStore, type Collection } from '../../control/resources.ts';
import { WildcardFeed } from '../../control/wildcard-feed.ts';
import { decodeFrames } from './wire.ts';

const type = 'type.googleapis.com/test.Thing';

interface Told {
  readonly set: string[];
  readonly removed: string[];
}

function makeStore(): { store: ResourceStore; collection: Collection } {
  const store = new ResourceStore([type]);
  const collection = store.collection(type);
  if (collection === null) throw new Error('no collection');
  return { store, collection };
}

function offer(name: string, content = name, more: Partial<Offer> = {}): Offer {
  return { name, content: Buffer.from(content), ...more };
}

/** Everything a feed has to say, as `name=content`. */
function hear(feed: Feed, maxBytes = Infinity): Told {
  const { frames, removed } = feed.take(maxBytes);
  const set = decodeFrames(frames).map(({ name, value }) => `${name}=${value.toString()}`);
  return { set: set.sort(), removed: [...removed].sort() };
}

const put = (store: ResourceStore, ...set: Offer[]): number => store.apply({ [type]: { set, removed: [] } });
const drop = (store: ResourceStore, ...removed: string[]): number =>
  store.apply({ [type]: { set: [], removed } });

t.test('a resource is encoded as the protocol has it, with the version of its content', async t => {
  const { store, collection } = makeStore();
  put(store, offer('a', 'first', { aliases: ['net/10.0.0.1'] }));
  const version = collection.get('a')?.version ?? '';
  const feed = new WildcardFeed(collection, new Map());
  t.match(decodeFrames(feed.take(Infinity).frames), [{ name: 'a', version, typeUrl: type, aliases: [] }]);
  put(store, offer('a', 'second'));
  t.not(collection.get('a')?.version, version);
  put(store, offer('a', 'first'));
  t.equal(collection.get('a')?.version, version, 'equal content, equal version');
});

t.test('what changes nothing is no change', async t => {
  const { store } = makeStore();
  let calls = 0;
  store.onChange(() => (calls += 1));
  t.equal(put(store, offer('a'), offer('b')), 2);
  t.equal(put(store, offer('a'), offer('b')), 0);
  t.equal(drop(store, 'c'), 0);
  t.equal(drop(store, 'a', 'a'), 1);
  t.equal(calls, 2);
  t.same(store.sizes(), { [type]: 1 });
  t.throws(() => store.apply({ other: { set: [], removed: [] } }), /no resources of type other/);
});

t.test('everything: the state, then what changed, each once and the newest', async t => {
  const { store, collection } = makeStore();
  put(store, offer('a'), offer('b'));
  const feed = new WildcardFeed(collection, new Map());
  t.same(hear(feed), { set: ['a=a', 'b=b'], removed: [] });
  t.notOk(feed.hasNews);
  for (let at = 0; at < 5; at += 1) put(store, offer('a', `a${at}`));
  drop(store, 'b');
  put(store, offer('c'));
  drop(store, 'c');
  t.same(hear(feed), { set: ['a=a4'], removed: ['b'] });
  put(store, offer('b', 'again'));
  t.same(hear(feed), { set: ['b=again'], removed: [] });
  t.same(hear(new WildcardFeed(collection, new Map())), { set: ['a=a4', 'b=again'], removed: [] });
});

t.test('a client that comes back hears what differs and what is gone', async t => {
  const { store, collection } = makeStore();
  put(store, offer('same'), offer('old', '1'), offer('gone'));
  const known = new Map([...collection.all()].map(({ name, version }) => [name, version]));
  put(store, offer('old', '2'), offer('new'));
  drop(store, 'gone');
  const feed = new WildcardFeed(collection, known);
  put(store, offer('later'));
  t.ok(feed.hasNews);
  t.same(hear(feed), { set: ['later=later', 'new=new', 'old=2'], removed: ['gone'] });
  t.notOk(feed.hasNews);
  const back = new WildcardFeed(collection, new Map([['gone', 'x']]));
  put(store, offer('gone', 'back'));
  t.match(hear(back), { removed: [] }, 'a name is never both removed and set');
});

t.test('large news comes in pieces, and changes in between are not lost', async t => {
  const { store, collection } = makeStore();
  put(store, ...Array.from({ length: 10 }, (_, at) => offer(`r${at}`, 'x'.repeat(100))));
  const feed = new WildcardFeed(collection, new Map());
  const heard = new Map<string, string>();
  let pieces = 0;
  t.ok(feed.exceeds(500));
  t.notOk(feed.exceeds(5_000));
  while (feed.hasNews) {
    const { set, removed } = hear(feed, 250);
    for (const [name = '', content = ''] of set.map(text => text.split('='))) heard.set(name, content);
    for (const name of removed) heard.delete(name);
    pieces += 1;
    if (pieces === 2) {
      put(store, offer('r0', 'changed'), offer('r9', 'changed'));
      drop(store, 'r1', 'r8');
    }
  }
  t.ok(pieces > 3, `${pieces} pieces`);
  t.equal(heard.size, 8);
  t.equal(heard.get('r0'), 'changed');
  t.equal(heard.get('r9'), 'changed');
});

t.test('removals are remembered for those who have to hear them, and then forgotten', async t => {
  const { store, collection } = makeStore();
  put(store, offer('stays'), offer('first'));
  const behind = new WildcardFeed(collection, new Map());
  hear(behind);
  drop(store, 'first');
  for (let at = 0; at < 5_000; at += 1) {
    put(store, offer(`n${at}`));
    drop(store, `n${at}`);
  }
  t.same(hear(behind), { set: [], removed: ['first'] });
  for (let at = 0; at < 5_000; at += 1) put(store, offer('stays', `${at}`));
  const entries = [...collection.after(0)].length;
  t.ok(entries < 2_000, `${entries} entries`);
});

t.test('by name and alias, and what never was is said to be gone', async t => {
  const { store, collection } = makeStore();
  put(store, offer('a', 'a', { aliases: ['net/10.0.0.1'] }), offer('b'));
  const feed = new KeyedFeed(collection, { node: null, confined: false, known: new Map() });
  feed.ask(['net/10.0.0.1', 'b', 'nobody', 'net/10.0.0.9']);
  const news = feed.take(Infinity);
  t.same(
    decodeFrames(news.frames)
      .map(({ name, aliases }) => `${name} ${aliases.join()}`)
      .sort(),
    ['a net/10.0.0.1', 'b '],
  );
  t.same([...news.removed].sort(), ['net/10.0.0.9', 'nobody']);
  put(store, offer('other'), offer('b', '2'), offer('nobody', 'now'));
  t.same(hear(feed), { set: ['b=2', 'nobody=now'], removed: [] });
  feed.ask(['b']);
  t.same(hear(feed), { set: ['b=2'], removed: [] }, 'asked for again is told again');
  feed.forget(['b']);
  put(store, offer('b', '3'));
  t.same(hear(feed), { set: [], removed: ['b'] });
  put(store, offer('b', '4'));
  t.notOk(feed.hasNews);
  drop(store, 'a');
  t.same(hear(feed), { set: [], removed: ['a'] });
});

t.test('an address that changes hands', async t => {
  const { store, collection } = makeStore();
  put(store, offer('old', '1', { aliases: ['net/10.0.0.1'] }));
  const feed = new KeyedFeed(collection, { node: null, confined: false, known: new Map() });
  feed.ask(['net/10.0.0.1']);
  hear(feed);
  put(
    store,
    offer('old', '2', { aliases: ['net/10.0.0.2'] }),
    offer('new', '1', { aliases: ['net/10.0.0.1'] }),
  );
  t.same(hear(feed), { set: ['new=1'], removed: ['old'] });
});

t.test('who asks for a whole gets its parts as they come and go', async t => {
  const { store, collection } = makeStore();
  put(store, offer('svc', 'svc', { aliases: ['net/10.96.0.1'] }));
  put(store, offer('w1', 'w1', { partOf: ['svc'] }), offer('w2', 'w2', { partOf: ['other'] }));
  const feed = new KeyedFeed(collection, { node: null, confined: false, known: new Map() });
  feed.ask(['net/10.96.0.1']);
  t.same(hear(feed), { set: ['svc=svc', 'w1=w1'], removed: [] });
  put(store, offer('w2', 'w2 ready', { partOf: ['other', 'svc'] }), offer('w1', 'w1 out'));
  t.same(hear(feed), { set: ['w2=w2 ready'], removed: ['w1'] });
  drop(store, 'svc');
  t.same(hear(feed), { set: [], removed: ['svc', 'w2'] });
  put(store, offer('svc', 'back', { aliases: ['net/10.96.0.1'] }));
  t.same(hear(feed), { set: ['svc=back', 'w2=w2 ready'], removed: [] });
  feed.forget(['net/10.96.0.1']);
  t.same(hear(feed), { set: [], removed: ['svc', 'w2'] }, 'parts go with what they were told for');
});

t.test('what is on its node comes unasked, and a confined client sees no other', async t => {
  const { store, collection } = makeStore();
  put(store, offer('mine', '1', { node: 'n1' }), offer('theirs', '1', { node: 'n2' }));
  const open = new KeyedFeed(collection, { node: 'n1', confined: false, known: new Map() });
  open.ask(['theirs']);
  t.same(hear(open).set, ['mine=1', 'theirs=1']);
  const confined = new KeyedFeed(collection, { node: 'n1', confined: true, known: new Map() });
  confined.ask(['theirs', 'mine']);
  t.same(hear(confined), { set: ['mine=1'], removed: ['theirs'] });
  put(store, offer('theirs', '2', { node: 'n2' }), offer('third', '1', { node: 'n1' }));
  t.same(hear(confined), { set: ['third=1'], removed: [] });
  put(store, offer('third', '1', { node: 'n2' }));
  t.same(hear(confined), { set: [], removed: ['third'] });
  const nobody = new KeyedFeed(collection, { node: null, confined: true, known: new Map() });
  nobody.ask(['mine']);
  t.same(hear(nobody), { set: [], removed: ['mine'] });
});

t.test('on demand, a client that comes back hears what differs', async t => {
  const { store, collection } = makeStore();
  put(store, offer('same'), offer('old', '1'), offer('gone'), offer('unasked'));
  const known = new Map([...collection.all()].map(({ name, version }) => [name, version]));
  put(store, offer('old', '2'));
  drop(store, 'gone');
  const feed = new KeyedFeed(collection, { node: null, confined: false, known });
  feed.ask(['old', 'gone']);
  t.same(hear(feed), { set: ['old=2'], removed: ['gone', 'same', 'unasked'] });
});

t.test('a feed that is closed waits for nothing', async t => {
  const { store, collection } = makeStore();
  put(store, offer('svc'), offer('w', 'w', { partOf: ['svc'], node: 'n1' }));
  const feed = new KeyedFeed(collection, { node: 'n1', confined: false, known: new Map([['x', '1']]) });
  feed.ask(['svc', 'nobody', 'w']);
  hear(feed);
  feed.forget(['w']);
  t.ok(collection.watched > 0);
  feed.close();
  t.equal(collection.watched, 0);
});

type Step =
  | { readonly act: 'set'; readonly name: string; readonly content: string; readonly to: string }
  | { readonly act: 'drop'; readonly name: string }
  | { readonly act: 'hear'; readonly bytes: number }
  | { readonly act: 'ask' | 'forget'; readonly name: string }
  | { readonly act: 'reconnect' };

const names = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const anything = fc.constantFrom('a', 'b', 'c', 'd', 'net/1', 'net/2');
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    act: fc.constant('set' as const),
    name: names,
    content: fc.constantFrom('1', '2', '3'),
    to: fc.constantFrom('', 'net/1', 'net/2', 'of a', 'of b', 'on n1', 'on n2'),
  }),
  fc.record({ act: fc.constant('drop' as const), name: names }),
  fc.record({ act: fc.constant('hear' as const), bytes: fc.constantFrom(0, 100, 10_000) }),
  fc.record({ act: fc.constantFrom('ask' as const, 'forget' as const), name: anything }),
  fc.record({ act: fc.constant('reconnect' as const) }),
);

function offerOf(step: Step & { act: 'set' }): Offer {
  const { name, to } = step;
  const rest = to.slice(3);
  // As in reality, what a resource leads to is part of its content.
  return offer(name, `${step.content} ${to}`, {
    aliases: to.startsWith('net') ? [to] : [],
    partOf: to.startsWith('of') ? [rest] : [],
    node: to.startsWith('on') ? rest : null,
  });
}

/** What a client has after a response; and what it says it has when it comes back. */
class Mirror {
  readonly has = new Map<string, { content: string; version: string }>();

  hear(feed: Feed, maxBytes: number): void {
    const { frames, removed } = feed.take(maxBytes);
    const set = decodeFrames(frames);
    const both = set.filter(({ name }) => removed.includes(name));
    if (both.length > 0) throw new Error(`${both[0]?.name} is set and removed`);
    for (const name of removed) this.has.delete(name);
    for (const { name, value, version } of set) this.has.set(name, { content: value.toString(), version });
  }

  versions(): Map<string, string> {
    return new Map(Array.from(this.has, ([name, { version }]) => [name, version]));
  }

  contents(): Record<string, string> {
    return Object.fromEntries([...this.has].map(([name, { content }]) => [name, content]));
  }
}

t.test('whatever happens, a client of everything ends with everything', async t => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), steps => {
      const { store, collection } = makeStore();
      let feed = new WildcardFeed(collection, new Map());
      const mirror = new Mirror();
      const truth = new Map<string, string>();
      for (const step of steps) {
        if (step.act === 'set') {
          put(store, offerOf(step));
          truth.set(step.name, `${step.content} ${step.to}`);
        } else if (step.act === 'drop') {
          drop(store, step.name);
          truth.delete(step.name);
        } else if (step.act === 'hear') mirror.hear(feed, step.bytes);
        else if (step.act === 'ask') feed.ask([step.name]);
        else if (step.act === 'reconnect') {
          feed.close();
          feed = new WildcardFeed(collection, mirror.versions());
        }
      }
      while (feed.hasNews) mirror.hear(feed, 100);
      t.same(mirror.contents(), Object.fromEntries(truth));
    }),
    { numRuns: 500 },
  );
});

t.test(
  'whatever happens, a client on demand ends with what it asked for and what is on its node',
  async t => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), steps => {
        const { store, collection } = makeStore();
        const open = (known: Map<string, string>): KeyedFeed =>
          new KeyedFeed(collection, { node: 'n1', confined: false, known });
        let feed = open(new Map());
        const mirror = new Mirror();
        const truth = new Map<string, Step & { act: 'set' }>();
        const asked = new Set<string>();
        for (const step of steps) {
          if (step.act === 'set') {
            put(store, offerOf(step));
            truth.set(step.name, step);
          } else if (step.act === 'drop') {
            drop(store, step.name);
            truth.delete(step.name);
          } else if (step.act === 'hear') mirror.hear(feed, step.bytes);
          else if (step.act === 'ask') {
            asked.add(step.name);
            feed.ask([step.name]);
          } else if (step.act === 'forget') {
            asked.delete(step.name);
            feed.forget([step.name]);
          } else {
            feed.close();
            feed = open(mirror.versions());
            feed.ask([...asked]);
          }
        }
        while (feed.hasNews) mirror.hear(feed, 100);
        const isAsked = ({ name, to }: Step & { act: 'set' }): boolean => asked.has(name) || asked.has(to);
        const wholes = new Set([...truth.values()].filter(isAsked).map(({ name }) => `of ${name}`));
        const wanted = [...truth.values()]
          .filter(step => isAsked(step) || wholes.has(step.to) || step.to === 'on n1')
          .map(({ name, content, to }) => [name, `${content} ${to}`]);
        t.same(mirror.contents(), Object.fromEntries(wanted));
        feed.close();
        if (collection.watched !== 0) throw new Error(`${collection.watched} keys are still waited for`);
      }),
      { numRuns: 500 },
    );
  },
);
