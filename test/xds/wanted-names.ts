import t from 'tap';
import { WantedNames } from '../../xds/wanted-names.ts';
import type { Answer } from '../../xds/wanted-names.ts';

function setup(limit = 10) {
  const names = new WantedNames(limit);
  const answers: [string, Answer][] = [];
  const want = (name: string) => names.want(name, answer => answers.push([name, answer]));
  return { names, answers, want };
}

t.test('a name is said once, however many want it, and each is answered once', async t => {
  const { names, answers, want } = setup();
  want('a');
  want('a');
  t.strictSame(names.changes(), { added: ['a'], dropped: [] });
  t.strictSame(names.changes(), { added: [], dropped: [] });
  names.answered('a', 'found');
  names.answered('a', 'found');
  t.strictSame(answers, [
    ['a', 'found'],
    ['a', 'found'],
  ]);
  want('a');
  t.equal(answers.length, 3, 'at once');
  t.strictSame(names.changes(), { added: [], dropped: [] });
});

t.test('what was answered may change without being asked', async t => {
  const { names, answers, want } = setup();
  want('a');
  names.answered('a', 'missing');
  names.answered('a', 'found');
  want('a');
  t.strictSame(answers.at(-1), ['a', 'found']);
  names.answered('b', 'found');
  t.strictSame(names.all(), ['a'], 'nobody asked for b');
});

t.test('a new stream hears all names, and those without an answer', async t => {
  const { names, want } = setup();
  want('a');
  want('b');
  names.answered('a', 'found');
  t.strictSame(names.pending(), ['b']);
  t.strictSame(names.all(), ['a', 'b']);
  t.strictSame(names.changes(), { added: [], dropped: [] });
});

t.test('too many missing names are dropped from the oldest on, and found ones never', async t => {
  const { names, want } = setup(2);
  for (const name of ['a', 'b', 'c', 'd']) want(name);
  names.changes();
  names.answered('d', 'found');
  names.answered('b', 'missing');
  names.answered('a', 'missing');
  names.answered('c', 'missing');
  t.strictSame(names.changes().dropped, ['b']);
  names.answered('a', 'found');
  want('e');
  names.answered('e', 'missing');
  t.strictSame(names.changes(), { added: ['e'], dropped: [] });
  t.strictSame([...names.all()].sort(), ['a', 'c', 'd', 'e']);
});

t.test('what is dropped and wanted again before anybody was told is not told', async t => {
  const { names, want } = setup(0);
  want('a');
  names.changes();
  names.answered('a', 'missing');
  want('a');
  t.strictSame(names.changes(), { added: [], dropped: [] });
});

t.test('who stops waiting is not answered, and the last to stop takes the name with it', async t => {
  const { names, answers, want } = setup();
  const first = want('a');
  const second = want('a');
  names.changes();
  first();
  t.strictSame(names.all(), ['a']);
  second();
  t.strictSame(names.all(), []);
  names.answered('a', 'found');
  t.strictSame(answers, []);
  want('b')();
  t.strictSame(names.changes(), { added: [], dropped: [] }, 'never said, so never taken back');
});
