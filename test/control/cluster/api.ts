import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { KubeApi, hasStatus } from '../../../control/cluster/api.ts';
import { FakeApi, refuse } from './fake-api.ts';

async function lab(t: Test) {
  const fake = await FakeApi.start();
  const api = fake.client(t.testdir({}));
  t.teardown(async () => {
    api.close();
    await fake[Symbol.asyncDispose]();
  });
  return { fake, api };
}

t.test('a kubeconfig that can not be used says why', async t => {
  const directory = t.testdir({ empty: '', broken: '{', 'no-server': '{"contexts":[],"clusters":[]}' });
  for (const name of ['missing', 'empty', 'broken', 'no-server']) {
    t.throws(() => KubeApi.load(join(directory, name)), { code: 'CONFIG_KUBECONFIG' }, name);
  }
});

t.test('a context is one of the kubeconfig', async t => {
  const cluster = (name: string) => ({ name, cluster: { server: `https://${name}.test` } });
  const context = (name: string) => ({
    name,
    context: { cluster: name, user: 'me', namespace: `of-${name}` },
  });
  const path = join(t.testdir({}), 'config');
  const config = {
    clusters: [cluster('one'), cluster('two')],
    contexts: [context('one'), context('two')],
    users: [{ name: 'me', user: { token: 'x' } }],
    'current-context': 'one',
  };
  writeFileSync(path, JSON.stringify(config));
  t.equal(KubeApi.load(path).server, 'https://one.test/');
  t.match(KubeApi.load(path, 'two'), { server: 'https://two.test/', namespace: 'of-two' });
  t.throws(() => KubeApi.load(path, 'three'), {
    code: 'CONFIG_KUBECONFIG',
    message: /no context three.*one, two/,
  });
});

t.test('requests share connections', async t => {
  const { fake, api } = await lab(t);
  for (let index = 0; index < 20; index++) await api.json({ path: '/api/v1/pods' });
  t.equal(fake.connections, 1);
  t.equal(api.namespace, 'culvert-system');
});

t.test('what the server refuses is an error with its words', async t => {
  const { fake, api } = await lab(t);
  await t.rejects(api.json({ path: '/api/v1/namespaces/shop/pods/none?pretty=1' }), {
    code: 'KUBERNETES_REFUSED',
    status: 404,
    reason: 'NotFound',
    message: 'GET /api/v1/namespaces/shop/pods/none: pods "none" not found',
  });
  fake.intercept = (_, response) => {
    response.setHeader('retry-after', '7');
    refuse(response, 429, 'TooManyRequests', 'x'.repeat(10_000));
    return true;
  };
  const error = await api.json({ path: '/' }).catch((error: unknown) => error);
  t.match(error, { status: 429, retryAfterMs: 7_000 });
  t.ok((error as Error).message.length < 600);
});

t.test('what is no JSON, no Status and no end of an answer is an error too', async t => {
  const { fake, api } = await lab(t);
  for (const [status, body, expected] of [
    [200, '<html>', { code: 'KUBERNETES_UNREACHABLE', message: /not JSON/ }],
    [502, '<html>', { code: 'KUBERNETES_REFUSED', status: 502 }],
    [500, '[1,2]', { code: 'KUBERNETES_REFUSED', status: 500 }],
  ] as const) {
    fake.intercept = (_, response) => {
      response.writeHead(status);
      response.end(body);
      return true;
    };
    await t.rejects(api.json({ path: '/' }), expected);
  }
  fake.intercept = (_, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('{');
    setImmediate(() => response.destroy());
    return true;
  };
  await t.rejects(api.json({ path: '/' }), { code: 'KUBERNETES_UNREACHABLE' });
});

t.test('a request ends at its deadline and when it is told to', async t => {
  const { fake, api } = await lab(t);
  fake.intercept = () => true;
  await t.rejects(api.json({ path: '/', timeoutMs: 20 }), /no answer within 20 ms/);
  const stop = new AbortController();
  const request = t.rejects(api.json({ path: '/', signal: stop.signal }), /stopped/);
  stop.abort();
  await request;
  await t.rejects(api.json({ path: '/', signal: stop.signal }), /stopped/);
});

t.test('lines come as they are complete, however they are cut', async t => {
  const { fake, api } = await lab(t);
  fake.intercept = (_, response) => {
    response.writeHead(200);
    const bytes = Buffer.from('{"ä":1}\n\n{"b"\n:2}\nwithout an end');
    let at = 0;
    const next = (): void => {
      if (at >= bytes.length) return void response.end();
      response.write(bytes.subarray(at, (at += 3)), next);
    };
    next();
    return true;
  };
  const lines: string[] = [];
  await api.lines({ path: '/' }, { silentMs: 1_000, onLine: line => lines.push(line) });
  t.strictSame(lines, ['{"ä":1}', '{"b"', ':2}']);
});

t.test('credentials that are refused say so', async t => {
  const server = http.createServer((request, response) => {
    if (request.headers.authorization === 'Bearer second') response.end('{"ok":true}');
    else refuse(response, 401, 'Unauthorized', 'Unauthorized');
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const path = join(t.testdir({}), 'kubeconfig');
  writeFileSync(
    path,
    JSON.stringify({
      clusters: [
        { name: 'c', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } },
      ],
      users: [{ name: 'u', user: { token: 'first' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  const config = KubeApi.load(path);
  t.teardown(() => config.close());
  const error = await config.json({ path: '/' }).catch((error: unknown) => error);
  t.ok(hasStatus(error, 401));
  t.match(error, { fix: /does not know these credentials/ });
});

t.test('plain HTTP, which would show the token to anybody, has to be asked for', async t => {
  const path = join(t.testdir({}), 'kubeconfig');
  writeFileSync(
    path,
    JSON.stringify({
      clusters: [{ name: 'c', cluster: { server: 'http://127.0.0.1:1' } }],
      users: [{ name: 'u', user: { token: 'secret' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  await t.rejects(KubeApi.load(path).json({ path: '/' }), /HTTP protocol is not allowed/);
});
