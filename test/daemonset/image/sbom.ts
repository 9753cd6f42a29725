import { join } from 'node:path';
import t from 'tap';
import { runtimePackages } from '../../../daemonset/image/application.ts';
import { billOfMaterials } from '../../../daemonset/image/sbom.ts';

t.test('what runs is in the image, what builds is not', async t => {
  const names = new Set(runtimePackages().map(({ name }) => name));
  for (const name of ['commander', 'pino', `node-linux-${process.arch}`]) t.ok(names.has(name), name);
  for (const name of ['tap', 'typescript', 'node-gyp', 'node-addon-api']) t.notOk(names.has(name), name);
  t.notOk([...names].some(name => name.startsWith('@types/')));
});

t.test('packages by scope, place and other processors', async t => {
  const lock = {
    packages: {
      '': { version: '0' },
      'node_modules/@a/b': { version: '1.0.0', license: 'MIT', integrity: 'sha512-AAEC' },
      'node_modules/@a/b/node_modules/c': { version: '2.0.0', license: '(MIT OR GPL-2.0)' },
      'node_modules/d': { version: '3.0.0', dev: true },
      'node_modules/node-linux-s390x': { version: '4.0.0', optional: true },
    },
  };
  const file = join(t.testdir({ 'lock.json': JSON.stringify(lock) }), 'lock.json');
  const packages = runtimePackages(file);
  t.strictSame(
    packages.map(({ name, path }) => [name, path]),
    [
      ['@a/b', 'node_modules/@a/b'],
      ['c', 'node_modules/@a/b/node_modules/c'],
    ],
  );
  const bill = JSON.parse(
    billOfMaterials({
      version: '1',
      packages,
      system: [{ name: 'libstdc++6', version: '1:2~3', architecture: 'amd64' }],
      distribution: 'debian',
    }),
  ) as { components: { purl: string }[] };
  t.match(bill, { bomFormat: 'CycloneDX', metadata: { component: { name: 'culvert', version: '1' } } });
  t.match(bill.components[0], {
    group: '@a',
    name: 'b',
    purl: 'pkg:npm/%40a/b@1.0.0',
    hashes: [{ alg: 'SHA-512', content: '000102' }],
  });
  t.match(bill.components[1], { licenses: [{ expression: 'MIT OR GPL-2.0' }] });
  t.equal(bill.components[2]?.purl, 'pkg:deb/debian/libstdc%2B%2B6@1%3A2~3?arch=amd64');
  t.equal(new Set(bill.components.map(it => JSON.stringify(it))).size, 3);
});
