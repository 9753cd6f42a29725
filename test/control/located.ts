import * as fc from 'fast-check';
import t from 'tap';
import { fieldName, fieldPath, lineOf } from '../../control/located.ts';

t.test('a field is written as people write it', async t => {
  t.equal(fieldName(['spec', 'ports', 0, 'port']), 'spec.ports[0].port');
  t.equal(
    fieldName(['metadata', 'labels', 'app.kubernetes.io/name']),
    'metadata.labels["app.kubernetes.io/name"]',
  );
  t.equal(fieldName(['spec', 'portLevelMtls', '8080', 'mode']), 'spec.portLevelMtls["8080"].mode');
  t.equal(fieldName([]), '');
});

t.test('a written path reads back as itself', async t => {
  const segment = fc.oneof(fc.nat(1000), fc.string({ minLength: 1 }));
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 6 }), path => {
      t.same(fieldPath(fieldName(path)), path);
    }),
  );
});

t.test('the line of a field that is not there is that of what is around it', async t => {
  const lines = new Map([
    ['', 3],
    ['spec', 7],
    ['spec.rules[0]', 9],
    ['metadata.labels', 5],
  ]);
  const origin = { file: 'a.yaml', index: 0, lines };
  t.equal(lineOf(origin, 'spec.rules[0].from[1].source'), 9);
  t.equal(lineOf(origin, 'spec.action'), 7);
  t.equal(lineOf(origin, 'metadata.labels["a.b/c"]'), 5);
  t.equal(lineOf(origin, 'kind'), 3);
  t.equal(lineOf({ ...origin, lines: new Map() }, 'spec.action'), null, 'an object that comes from no file');
});
