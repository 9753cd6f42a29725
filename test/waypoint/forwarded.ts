/** What a waypoint tells the next one about a request. */
import t from 'tap';
import { headerOf } from '../../model/http-head.ts';
import { withContext } from '../../waypoint/forwarded.ts';
import { head } from '../model/http-help.ts';

const client = {
  identity: 'spiffe://a/ns/b/sa/c',
  namespace: 'b',
  address: '10.0.0.9',
  port: 1,
  workload: null,
};
const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

function told(headers: readonly string[]): {
  get: (name: string) => string | null;
  traceId: string | null;
  requestId: string;
} {
  const {
    head: changed,
    traceId,
    requestId,
  } = withContext(head('/', { headers }), client, 'spiffe://a/ns/b/sa/wp');
  return { get: name => headerOf(changed.headers, name), traceId, requestId };
}

t.test('a client says nothing about who it is', async t => {
  const { get } = told([
    'X-Forwarded-Client-Cert',
    'URI=spiffe://a/ns/b/sa/admin',
    'X-Forwarded-For',
    '192.0.2.1',
    'X_Forwarded_For',
    '192.0.2.2',
    'x-forwarded_client_cert',
    'URI=spiffe://a/ns/b/sa/admin',
    'x_forwarded_proto',
    'https',
    'A',
    'b',
  ]);
  t.equal(get('x-forwarded-client-cert'), 'By=spiffe://a/ns/b/sa/wp;URI=spiffe://a/ns/b/sa/c');
  t.equal(get('x-forwarded-for'), '192.0.2.1, 10.0.0.9', 'what came before us, and the address that we saw');
  t.equal(get('x-forwarded-proto'), 'http');
  t.equal(get('a'), 'b');
  for (const name of ['x_forwarded_for', 'x-forwarded_client_cert', 'x_forwarded_proto'])
    t.equal(get(name), null, `${name}, which some servers take for the same`);
});

t.test('a trace goes on, or begins', async t => {
  const going = told(['Traceparent', parent, 'tracestate', 'a=1']);
  t.same([going.get('traceparent'), going.get('tracestate')], [parent, 'a=1']);
  t.equal(going.traceId, '0af7651916cd43dd8448eb211c80319c');
  for (const headers of [
    [],
    ['traceparent', 'nonsense', 'tracestate', 'a=1'],
    ['traceparent', parent, 'traceparent', parent],
  ]) {
    const begun = told(headers);
    t.match(begun.get('traceparent'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    t.not(begun.get('traceparent'), parent);
    t.equal(begun.get('tracestate'), null);
    t.equal(begun.traceId, begun.get('traceparent')?.slice(3, 35));
  }
});

t.test('a request keeps its id', async t => {
  t.equal(told(['X-Request-Id', 'mine']).requestId, 'mine');
  const { get, requestId } = told([]);
  t.match(requestId, /^[0-9a-f-]{36}$/);
  t.equal(get('x-request-id'), requestId);
});
