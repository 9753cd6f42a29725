import t from 'tap';
import { brief, configured, pod } from '../help/configuration.ts';

const policy = (rule: string): string =>
  `{apiVersion: culvert.dev/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: shop}, spec: {rules: [${rule}]}}\n---\n`;
const source = (fields: string): string => policy(`{from: [{source: {${fields}}}]}`);
const web = pod({ name: 'web', spec: { serviceAccountName: 'web' } });

/** What is said about references of a policy beside one pod, shop/web, that runs as shop/web. */
function said(text: string): string[] {
  return brief(configured(web + text).findings);
}

t.test('names that exist, and patterns, pass', async t => {
  for (const fields of [
    'namespaces: [shop, default, "sh*", "*"]',
    'notNamespaces: [shop]',
    'serviceAccounts: [web, shop/web, default, shop/default]',
    'principals: [cluster.local/ns/shop/sa/web, "cluster.local/ns/nobody/*", "*"]',
    'notPrincipals: ["*/sa/nobody"]',
  ]) {
    t.same(
      said('{apiVersion: v1, kind: Namespace, metadata: {name: default}}\n---\n' + source(fields)),
      [],
      fields,
    );
  }
});

t.test('names nobody has', async t => {
  const at = 'spec.rules[0].from[0].source';
  const cases: readonly (readonly [fields: string, finding: string])[] = [
    ['namespaces: [shopp]', `warning unknown-namespace 3 ${at}.namespaces[0]`],
    ['notNamespaces: [shop, nowhere]', `warning unknown-namespace 3 ${at}.notNamespaces[1]`],
    ['serviceAccounts: [wbe]', `warning unknown-service-account 3 ${at}.serviceAccounts[0]`],
    ['serviceAccounts: [nowhere/web]', `warning unknown-namespace 3 ${at}.serviceAccounts[0]`],
    ['notServiceAccounts: [shop/api]', `warning unknown-service-account 3 ${at}.notServiceAccounts[0]`],
    ['principals: [cluster.local/ns/shop/sa/api]', `warning unknown-service-account 3 ${at}.principals[0]`],
    ['principals: [other.org/ns/shop/sa/web]', `warning unknown-trust-domain 3 ${at}.principals[0]`],
    ['principals: [shop/web]', `warning malformed-principal 3 ${at}.principals[0]`],
    [
      'notPrincipals: [cluster.local/ns/nowhere/sa/web]',
      `warning unknown-namespace 3 ${at}.notPrincipals[0]`,
    ],
  ];
  for (const [fields, finding] of cases) t.same(said(source(fields)), [finding], fields);
  t.match(configured(web + source('namespaces: [shopp]')).findings, [{ message: /did you mean shop\?/ }]);
  t.match(configured(web + source('serviceAccounts: [wbe]')).findings, [
    { message: /did you mean shop\/web\?/ },
  ]);
});

t.test('conditions too', async t => {
  t.same(said(policy('{when: [{key: source.namespace, values: [shop, nowhere]}]}')), [
    'warning unknown-namespace 3 spec.rules[0].when[0].values[1]',
  ]);
  t.same(said(policy('{when: [{key: source.principal, notValues: [x]}]}')), [
    'warning malformed-principal 3 spec.rules[0].when[0].notValues[0]',
  ]);
  t.same(said(policy('{when: [{key: source.ip, values: [10.0.0.1]}]}')), []);
});

t.test('a pod whose service account is not among those that are described', async t => {
  const account = (name: string): string =>
    `{apiVersion: v1, kind: ServiceAccount, metadata: {name: ${name}, namespace: shop}}\n---\n`;
  t.same(said(''), [], 'none are described');
  t.same(said(account('web')), []);
  t.same(said(account('wbe')), ['warning unknown-service-account 1 spec.serviceAccountName']);
  t.same(
    brief(configured(pod({ name: 'a' }) + account('web')).findings),
    [],
    'every namespace has the one named default',
  );
});
