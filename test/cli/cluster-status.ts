import t from 'tap';
import { statusOf } from '../../cli/cluster-status.ts';
import { FakeApi } from './fake-api.ts';

const pod = (name: string, namespace: string, more: object = {}) => ({
  metadata: { name, namespace, ...(more as { metadata?: object }).metadata },
  spec: { nodeName: 'one', ...(more as { spec?: object }).spec },
  status: { phase: 'Running', ...(more as { status?: object }).status },
});
const enabled = { metadata: { annotations: { 'culvert.dev/redirection': 'enabled' } } };
const label = (mode: string) => ({ labels: { 'culvert.dev/dataplane-mode': mode } });

t.test('who is enrolled, who should be, and what was not accepted', async t => {
  const api = new FakeApi();
  api.answers.set('/api/v1/namespaces', {
    items: [
      { metadata: { name: 'shop', ...label('ambient') } },
      { metadata: { name: 'other' } },
      { metadata: { name: 'kube-system', ...label('ambient') } },
    ],
  });
  api.answers.set('/api/v1/pods', {
    items: [
      pod('in', 'shop', enabled),
      pod('waits', 'shop'),
      pod('out', 'shop', { metadata: label('none') }),
      pod('host', 'shop', { spec: { hostNetwork: true } }),
      pod('over', 'shop', { status: { phase: 'Succeeded' } }),
      pod('own', 'other', { metadata: label('ambient') }),
      pod('stranger', 'other'),
      pod('dns', 'kube-system'),
      pod('unscheduled', 'shop', { spec: { nodeName: undefined } }),
    ],
  });
  api.answers.set('/apis/culvert.dev/v1/authorizationpolicies', {
    items: [
      {
        metadata: { name: 'p', namespace: 'shop' },
        status: {
          conditions: [
            { type: 'Accepted', status: 'True' },
            { type: 'Enforced', status: 'False', message: 'rule 0 needs a waypoint' },
          ],
        },
      },
    ],
  });
  t.match(await statusOf(api, 'mesh'), {
    components: [{ done: false }, { done: false }],
    nodes: [{ name: 'one', enrolled: 1, notEnrolled: 2 }],
    notEnrolled: ['shop/waits', 'other/own'],
    problems: [
      { object: 'AuthorizationPolicy shop/p', condition: 'Enforced', message: 'rule 0 needs a waypoint' },
    ],
  });
});
