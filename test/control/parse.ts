/** The text of a file: documents, lists, anchors, what is no YAML, and that nothing of a refused file is in force. */
import * as fc from 'fast-check';
import t from 'tap';
import { brief, parseFile } from '../help/configuration.ts';

/** What is said about a text, in the order of its lines. */
function findings(text: string): string[] {
  return brief(parseFile(text, 'mesh.yaml').findings);
}

t.test('several documents, comments and empty ones', async t => {
  const { objects, refused } = parseFile(
    `# the shop
---
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
---
# nothing here
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: web, namespace: shop }
`,
    'shop.yaml',
  );
  t.notOk(refused);
  t.match(objects, [
    { kind: 'Namespace', namespace: '', name: 'shop', origin: { file: 'shop.yaml', index: 0 } },
    { kind: 'ServiceAccount', namespace: 'shop', name: 'web', origin: { file: 'shop.yaml', index: 1 } },
  ]);
  t.equal(objects[0]?.origin.lines.get(''), 3);
  t.equal(objects[0]?.origin.lines.get('metadata.name'), 6);
  t.equal(objects[1]?.origin.lines.get(''), 11);
});

t.test('nothing at all is nothing wrong', async t => {
  for (const text of ['', '\n', '# only a comment\n', '---\n---\n', '\uFEFF']) {
    t.same(parseFile(text, 'a.yaml'), { objects: [], findings: [], refused: false }, JSON.stringify(text));
  }
});

t.test('JSON is YAML, tabs included', async t => {
  const { objects } = parseFile(
    '{"apiVersion": "v1",\n\t"kind": "Namespace",\n\t"metadata": {"name": "shop"}}',
    'a.json',
  );
  t.match(objects, [{ kind: 'Namespace', name: 'shop' }]);
  t.equal(objects[0]?.origin.lines.get('metadata.name'), 3);
});

t.test('a namespaced object that does not say is in namespace default', async t => {
  const [object] = parseFile(
    '{apiVersion: v1, kind: ServiceAccount, metadata: {name: web}}',
    'a.yaml',
  ).objects;
  t.equal(object?.namespace, 'default');
});

t.test('anchors and merge keys: lines are those of the text a person has to change', async t => {
  const { objects } = parseFile(
    `apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Pod
    metadata:
      name: one
      labels: &labels
        app: web
    spec: &spec
      nodeName: node-1
  - apiVersion: v1
    kind: Pod
    metadata:
      name: two
      labels:
        <<: *labels
        version: v2
    spec: *spec
`,
    'pods.yaml',
  );
  const [, two] = objects;
  t.same(two?.value.metadata.labels, { app: 'web', version: 'v2' });
  const lines = two?.origin.lines;
  t.equal(lines?.get(''), 12);
  t.equal(lines?.get('metadata.labels.app'), 9, 'through the merge key');
  t.equal(lines?.get('metadata.labels.version'), 18);
  t.equal(lines?.get('spec'), 19);
  t.equal(lines?.get('spec.nodeName'), 11, 'through the alias');
});

t.test('lists of one kind may leave out what their items are', async t => {
  const { objects } = parseFile(
    '{apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: a}}]}',
    'a.yaml',
  );
  t.match(objects, [{ kind: 'Namespace', name: 'a' }]);
});

t.test('broken YAML is named with its line', async t => {
  t.same(findings('apiVersion: v1\nkind: [Pod\n'), ['error yaml-syntax 3 null']);
  t.same(findings('a: 1\na: 2\n'), ['error yaml-syntax 2 null'], 'a key that is there twice');
  t.same(findings('apiVersion: v1\nkind: !!js/function x\n'), ['error yaml-syntax 2 null'], 'a tag');
  t.same(findings('a: *nowhere\n'), ['error yaml-syntax 1 null'], 'an alias of nothing');
});

t.test('one broken document refuses the whole file, and the others are checked all the same', async t => {
  const file = parseFile(
    `apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
kind: [
---
apiVersion: v1
kind: Namespace
metadata: { name: Shop }
`,
    'a.yaml',
  );
  t.ok(file.refused);
  t.same(file.objects, []);
  t.same(brief(file.findings), ['error yaml-syntax 6 null', 'error invalid-value 9 metadata.name']);
});

t.test('alias bombs and endless nesting are refused, quickly', async t => {
  let bomb = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n';
  for (let n = 1; n < 9; n++)
    bomb += `a${n}: &a${n} [${Array.from({ length: 10 }, () => `*a${n - 1}`).join(', ')}]\n`;
  t.same(findings(bomb), ['error yaml-aliases 1 null']);
  for (const piece of ['[', '{a: ', '- ', '? ', '&a [']) {
    t.ok(parseFile(piece.repeat(20_000), 'a.yaml').refused, `${JSON.stringify(piece)} 20 000 times`);
  }
});

t.test('what is no object is named', async t => {
  t.same(findings('just text'), ['error not-an-object 1 null']);
  t.same(findings('- a\n- b\n'), ['error not-an-object 1 null']);
  t.same(findings('apiVersion: v1\nkind: List\nitems:\n- 5\n-\n'), [
    'error not-an-object 4 null',
    'error not-an-object 5 null',
  ]);
  t.same(findings('replicas: 3\n'), ['error missing-field 1 apiVersion', 'error missing-field 1 kind']);
  t.same(findings('apiVersion: 1\nkind: Pod\n'), ['error wrong-type 1 apiVersion']);
});

t.test('a long list of findings is cut, errors last', async t => {
  const pods = Array.from(
    { length: 120 },
    (_, n) => `{apiVersion: v1, kind: Widget${n}, metadata: {name: x}}\n---\n`,
  );
  const { findings, refused } = parseFile(
    `${pods.join('')}{apiVersion: v1, kind: Namespace, metadata: {}}`,
    'a.yaml',
  );
  t.ok(refused);
  t.equal(findings.length, 101);
  t.match(findings.at(-1), { code: 'more-findings', message: /21 more/ });
  t.ok(findings.some(({ code }) => code === 'missing-field'));
});

t.test('no text makes it throw, and no object comes out of a refused file', async t => {
  const keys = fc.constantFrom(
    'apiVersion',
    'kind',
    'metadata',
    'spec',
    'items',
    'name',
    'rules',
    '__proto__',
    'constructor',
  );
  const scalars = fc.oneof(
    fc.constantFrom('v1', 'Pod', 'List', 'culvert.dev/v1', 'AuthorizationPolicy'),
    fc.string(),
    fc.integer(),
  );
  const { tree } = fc.letrec(tie => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      scalars,
      fc.constant(null),
      fc.array(tie('tree')),
      fc.dictionary(keys, tie('tree')),
    ),
  }));
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        tree.map(value => JSON.stringify(value)),
      ),
      text => {
        const file = parseFile(text, 'a.yaml');
        t.equal(
          file.refused,
          file.findings.some(({ severity }) => severity === 'error'),
        );
        if (file.refused) t.same(file.objects, []);
        for (const { line } of file.findings)
          t.ok(line === null || (line >= 1 && line <= text.split(/\r\n|\n|\r/).length));
      },
    ),
    { numRuns: 300 },
  );
});
