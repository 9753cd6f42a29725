import t from 'tap';
import { helmDocument } from '../../daemonset/helm-template.ts';
import {
  each,
  extended,
  folderOf,
  namespace,
  render,
  text,
  value,
  when,
  type Json,
  type Template,
} from '../../daemonset/template.ts';

const values = {
  name: 'one',
  port: 1_000_000,
  on: true,
  off: false,
  none: {},
  socket: '/run/containerd/containerd.sock',
  list: ['--a', '--b=c d'],
  map: { x: '1' },
};
const filling = { namespace: 'here', values };

const rendered = (template: Template, given: Json = values): Json | undefined =>
  render(template, { namespace: 'here', values: given });

t.test('holes are filled with values', async t => {
  t.strictSame(
    rendered({
      name: value('name'),
      map: value('map'),
      port: value('port'),
      namespace,
      text: text`${value('name')}.${namespace}:${value('port')}`,
      folder: folderOf('socket'),
      labels: extended({ own: 'yes', x: '0' }, 'map'),
      args: ['run', each('list'), 'end'],
    }),
    {
      name: 'one',
      map: { x: '1' },
      port: 1_000_000,
      namespace: 'here',
      text: 'one.here:1000000',
      folder: '/run/containerd',
      labels: { own: 'yes', x: '1' },
      args: ['run', '--a', '--b=c d', 'end'],
    },
  );
});

t.test('a condition leaves out a member, an item or the whole', async t => {
  t.strictSame(rendered({ a: when('on', 1), b: when('off', 2), c: when('none', 3) }), { a: 1 });
  t.strictSame(rendered([when('off', 1), when('list', value('name')), 3]), ['one', 3]);
  t.equal(rendered(when('off', {})), undefined);
});

t.test('a value that does not exist is a fault of ours', async t => {
  t.throws(() => rendered(value('nothing.here')), /values have no nothing\.here/);
  t.throws(() => render({ list: each('list') }, filling), /can only be put into a list/);
});

t.test('the text of a Helm template has the same holes', async t => {
  const document = helmDocument(
    {
      name: value('name'),
      port: value('port'),
      on: value('on'),
      map: value('map'),
      namespace,
      text: text`100% ${value('name')}.${namespace}`,
      folder: folderOf('socket'),
      maybe: when('off', { inner: value('map') }),
      labels: extended({ own: 'yes' }, 'map'),
      args: ['run', each('list'), when('on', { first: [{ deep: value('map') }] })],
      empty: [{}, []],
      script: 'one {{.X}}\n  two\n',
      quoted: 'yes: # no',
    },
    values,
  );
  t.equal(
    document,
    `---
name: {{ .Values.name | quote }}
port: {{ int64 .Values.port }}
on: {{ .Values.on }}
map: {{- toYaml .Values.map | nindent 2 }}
namespace: {{ .Release.Namespace }}
text: {{ printf "100%% %v.%v" .Values.name .Release.Namespace | quote }}
folder: {{ dir .Values.socket | quote }}
{{- if .Values.off }}
maybe:
  inner: {{- toYaml .Values.map | nindent 4 }}
{{- end }}
labels:
  own: yes
  {{- with .Values.map }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
args:
- run
{{- range .Values.list }}
- {{ . | quote }}
{{- end }}
{{- if .Values.on }}
- first:
  - deep: {{- toYaml .Values.map | nindent 6 }}
{{- end }}
empty:
- {}
- []
script: |
  one {{ "{{" }}.X}}
    two
quoted: 'yes: # no'
`,
  );
});

t.test('a whole document can depend on a value', async t => {
  t.equal(helmDocument(when('on', { a: 1 }), values), '{{- if .Values.on }}\n---\na: 1\n{{- end }}\n');
});
