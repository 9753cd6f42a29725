/** What the control plane loads of @kubernetes/client-node: not the clients of every kind there is. */
import { execFileSync } from 'node:child_process';
import t from 'tap';

const list = `
  import { registerHooks } from 'node:module';
  const urls = [];
  registerHooks({ load: (url, context, next) => (urls.push(url), next(url, context)) });
  const { KubeConfig } = await import('./control/cluster/kube-config.ts');
  new KubeConfig().loadFromString('{"clusters":[],"contexts":[],"users":[]}');
  console.log(urls.join('\\n'));
`;

t.test('credentials, and nothing that was generated', async t => {
  const root = new URL('../../..', import.meta.url);
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', list], { cwd: root });
  const urls = output.toString().split('\n');
  t.ok(urls.some(url => url.endsWith('/client-node/dist/config.js')));
  t.strictSame(
    urls.filter(url => url.includes('/client-node/dist/gen/') || url.includes('/node_modules/undici/')),
    urls.filter(url => url.endsWith('/gen/rxjsStub.js')),
  );
});
