import * as fc from 'fast-check';
import t from 'tap';
import { nearest, suggestion } from '../../control/spelling.ts';

const fields = ['action', 'rules', 'selector', 'nodeName', 'hostNetwork'];

t.test('finds what was meant', async t => {
  t.equal(nearest('acton', fields), 'action', 'a letter left out');
  t.equal(nearest('actoin', fields), 'action', 'two letters swapped');
  t.equal(nearest('selectors', fields), 'selector', 'a letter too many');
  t.equal(nearest('nodename', fields), 'nodeName', 'another case');
  t.equal(nearest('hostNetwrok', fields), 'hostNetwork');
});

t.test('does not guess', async t => {
  t.equal(nearest('foo', fields), null);
  t.equal(nearest('ru', fields), null, 'too short to be sure');
  t.equal(nearest('action', []), null);
  t.equal(suggestion('foo', fields), '');
  t.equal(suggestion('acton', fields), ', did you mean action?');
});

t.test('a known word is nearest to itself, and one edit never loses it', async t => {
  fc.assert(
    fc.property(fc.constantFrom(...fields), fc.nat(), fc.constantFrom('x', 'Q', '-'), (word, at, letter) => {
      const position = at % word.length;
      const edited = word.slice(0, position) + letter + word.slice(position + 1);
      t.equal(nearest(word, fields), word);
      t.equal(nearest(edited, fields), word);
    }),
  );
});
