import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import * as z from 'zod';
import { generate, outdated, write } from '../../crds/generate.ts';
import { structuralSchema } from '../../crds/structural.ts';

const crds = join(import.meta.dirname, '../../crds');

t.test('the files are what the schemas say', async t => {
  t.same(outdated(crds), [], 'run `make gen`');
});

t.test('files that are missing, edited or left over are found and put right', async t => {
  const directory = t.testdir({ 'left-over.yaml': 'x', 'README.md': 'x' });
  t.same(outdated(directory), [
    'authorizationpolicies.yaml',
    'telemetries.yaml',
    'virtualservices.yaml',
    'peerauthentications.yaml',
    'requestauthentications.yaml',
    'serviceentries.yaml',
    'workloadentries.yaml',
    'destinationrules.yaml',
    'faultinjections.yaml',
    'ratelimits.yaml',
    'meshconfigs.yaml',
    'left-over.yaml',
  ]);
  write(directory);
  t.same(outdated(directory), []);
  writeFileSync(join(directory, 'meshconfigs.yaml'), 'kind: CustomResourceDefinition\n');
  t.same(outdated(directory), ['meshconfigs.yaml']);
  t.equal(readFileSync(join(directory, 'README.md'), 'utf8'), 'x');
});

type Node = Readonly<Record<string, unknown>>;

/** What keeps a schema from being structural, by the rules of apiextensions.k8s.io/v1. */
function faults(node: Node, path: string): string[] {
  const found: string[] = [];
  if (typeof node['type'] !== 'string') found.push(`${path}: no type`);
  for (const keyword of [
    '$ref',
    'oneOf',
    'anyOf',
    'allOf',
    'not',
    'const',
    'nullable',
    'definitions',
    'patternProperties',
    'propertyNames',
    'uniqueItems',
  ]) {
    if (keyword in node) found.push(`${path}: ${keyword}`);
  }
  const properties = (node['properties'] ?? {}) as Record<string, Node>;
  if ('additionalProperties' in node && 'properties' in node)
    found.push(`${path}: properties and additionalProperties`);
  if (node['additionalProperties'] === false) found.push(`${path}: additionalProperties false`);
  if (node['type'] === 'array' && node['items'] === undefined) found.push(`${path}: no items`);
  if (node['type'] === 'array' && node['maxItems'] === undefined)
    found.push(`${path}: unbounded, so rules within cost too much`);
  for (const name of (node['required'] ?? []) as string[])
    if (!(name in properties)) found.push(`${path}: requires ${name}`);
  const children: [string, Node][] = Object.entries(properties);
  for (const keyword of ['items', 'additionalProperties']) {
    if (typeof node[keyword] === 'object') children.push([keyword, node[keyword] as Node]);
  }
  return [...found, ...children.flatMap(([name, child]) => faults(child, `${path}.${name}`))];
}

t.test('each is a definition that an API server takes', async t => {
  const files = generate();
  t.same(
    [...files.keys()],
    [
      'authorizationpolicies.yaml',
      'telemetries.yaml',
      'virtualservices.yaml',
      'peerauthentications.yaml',
      'requestauthentications.yaml',
      'serviceentries.yaml',
      'workloadentries.yaml',
      'destinationrules.yaml',
      'faultinjections.yaml',
      'ratelimits.yaml',
      'meshconfigs.yaml',
    ],
  );
  const shortNames = new Set<string>();
  for (const [name, text] of files) {
    const crd = parse(text);
    const [version] = crd.spec.versions;
    t.match(crd, {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: `${crd.spec.names.plural}.culvert.dev` },
      spec: {
        group: 'culvert.dev',
        names: { categories: ['culvert'], singular: crd.spec.names.kind.toLowerCase() },
        versions: [{ name: 'v1', served: true, storage: true, subresources: { status: {} } }],
      },
    });
    t.equal(name, `${crd.spec.names.plural}.yaml`);
    t.same(faults(version.schema.openAPIV3Schema, ''), []);
    const columns = version.additionalPrinterColumns.map((column: { name: string }) => column.name);
    t.equal(columns.at(-1), 'Age');
    t.ok(columns.includes('Accepted'));
    for (const short of crd.spec.names.shortNames) {
      t.notOk(shortNames.has(short));
      shortNames.add(short);
    }
  }
});

t.test('what an API server has to say in rules is there', async t => {
  const schemaOf = (name: string) =>
    parse(generate().get(name) ?? '').spec.versions[0].schema.openAPIV3Schema;
  const rules = (node: Node): string[] => {
    const own = ((node['x-kubernetes-validations'] ?? []) as { message: string }[]).map(
      ({ message }) => message,
    );
    const children = [
      ...Object.values((node['properties'] ?? {}) as Record<string, Node>),
      node['items'],
      node['additionalProperties'],
    ];
    return [...own, ...children.filter(child => child !== undefined).flatMap(child => rules(child as Node))];
  };
  t.same(rules(schemaOf('authorizationpolicies.yaml')), [
    'selector and targetRefs exclude each other',
    'a DENY policy has rules, otherwise it never denies anything',
    'a CUSTOM policy names its provider',
    'a condition has values or notValues',
  ]);
  t.same(rules(schemaOf('peerauthentications.yaml')), [
    'portLevelMtls needs a selector with labels',
    'a key is a port number of the workload, 1 to 65535',
  ]);
  t.same(rules(schemaOf('serviceentries.yaml')), [
    'endpoints and workloadSelector exclude each other',
    'with resolution NONE connections go where they were dialled: endpoints are not possible',
    "a loopback or unspecified address is nobody's in particular",
    'each port number is there once',
    'each port name is there once',
  ]);
  t.same(rules(schemaOf('workloadentries.yaml')), [
    'a WorkloadEntry has an address',
    "a loopback or unspecified address is nobody's in particular",
  ]);
  t.same(rules(schemaOf('meshconfigs.yaml')), [
    'the only MeshConfig is named default',
    'a certificate lives from 1m to 2160h',
    'a provider has one of envoyExtAuthzGrpc and envoyExtAuthzHttp',
  ]);
  t.same(rules(schemaOf('requestauthentications.yaml')), [
    'selector and targetRefs exclude each other',
    'jwks and jwksUri exclude each other',
  ]);
  t.equal(schemaOf('meshconfigs.yaml').properties.spec.properties.trustDomain.default, 'cluster.local');
});

t.test('a schema that can not be said structurally is a fault of ours', async t => {
  const wrap = (schema: z.ZodType) => () => structuralSchema(z.strictObject({ a: schema }));
  t.throws(wrap(z.union([z.string(), z.number()])), /spec\.a: anyOf/);
  t.throws(wrap(z.string().nullable()), /spec\.a: nullable/);
  t.throws(wrap(z.unknown()), /spec\.a: undefined is not one type/);
  t.same(structuralSchema(z.strictObject({ a: z.array(z.int().min(1)).max(2).describe('x').optional() })), {
    type: 'object',
    properties: {
      a: {
        type: 'array',
        description: 'x',
        maxItems: 2,
        items: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
      },
    },
  });
});
