import t from 'tap';
import { meshSettings } from '../../../model/kinds/mesh-config.ts';
import { parseFile } from '../../help/configuration.ts';

function settings(spec: string) {
  const { objects } = parseFile(
    `{apiVersion: culvert.dev/v1, kind: MeshConfig, metadata: {name: default}, ${spec}}`,
    'a.yaml',
  );
  const [object] = objects;
  return object?.kind === 'MeshConfig' ? meshSettings(object.value) : null;
}

t.test('every setting has a default', async t => {
  const defaults = {
    trustDomain: 'cluster.local',
    clusterId: 'Kubernetes',
    clusterDomain: 'cluster.local',
    rootNamespace: 'culvert-system',
    network: '',
    defaultFailMode: 'closed',
    dnsCapture: true,
    excludedNamespaces: ['kube-system', 'culvert-system'],
    certificateTtlMs: 86_400_000,
    accessLog: true,
    tracing: { collectors: [], samplingPercentage: 1 },
    requestLog: { encoding: 'json', fields: [] },
    extensionProviders: [],
  };
  t.same(meshSettings(null), defaults, 'without an object');
  t.same(settings('spec: {}'), defaults);
  t.same(settings('status: {}'), defaults, 'without a spec');
  t.same(settings('spec: { trustDomain: example.org, accessLog: false }'), {
    ...defaults,
    trustDomain: 'example.org',
    accessLog: false,
  });
});

t.test('lifetimes of certificates', async t => {
  for (const [text, ms] of [
    ['1m', 60_000],
    ['90s', 90_000],
    ['12h', 43_200_000],
    ['2160h', 7_776_000_000],
  ]) {
    t.equal(settings(`spec: { certificateTtl: ${text} }`)?.certificateTtlMs, ms);
  }
  for (const text of ['59s', '2161h', '0h', '1d', '1.5h', '24', '-1h', '" 1h"', '9999999h']) {
    t.equal(settings(`spec: { certificateTtl: ${text} }`), null, text);
  }
});

t.test('what would break identities is refused', async t => {
  for (const text of ['Example', 'a/b', '""', 'a..b/', '-a', 'a:b']) {
    t.equal(settings(`spec: { trustDomain: ${JSON.stringify(text)} }`), null, text);
  }
  t.equal(settings('spec: { clusterId: a/b }'), null);
  t.equal(settings('spec: { defaultFailMode: ajar }'), null);
});
