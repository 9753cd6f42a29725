import { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { once } from 'node:events';
import t from 'tap';
import { ClusterAuthority } from '../../control/authority-store.ts';
import type { ServingKey } from '../../control/grpc-server.ts';
import { ServingCertificate, serviceNames } from '../../control/serving-certificate.ts';
import { newBundle } from '../../tunnel/authority.ts';
import { FakeClock } from '../tunnel/fake-clock.ts';
import { MemoryStore } from './memory-store.ts';
import { foundation, serve } from './serving.ts';

const dayMs = 86_400_000;
const dnsNames = serviceNames('culvert-control', 'culvert-system', 'cluster.local');

t.test('the names of a Service', async t => {
  t.same(dnsNames, [
    'culvert-control',
    'culvert-control.culvert-system',
    'culvert-control.culvert-system.svc',
    'culvert-control.culvert-system.svc.cluster.local',
  ]);
});

t.test('made at once, anew before it ends, and when who signs has changed', async t => {
  const clock = new FakeClock();
  const store = new MemoryStore(newBundle(clock.now()));
  const authority = await ClusterAuthority.open({ store, clock, overlapMs: 1_000 });
  const used: X509Certificate[] = [];
  const serving = new ServingCertificate({
    authority,
    dnsNames,
    use: ({ certificatePem, privateKeyPem }: ServingKey) => {
      const certificate = new X509Certificate(certificatePem);
      t.match(privateKeyPem, /PRIVATE KEY/);
      used.push(certificate);
    },
    clock,
    random: () => 0.5,
  });
  t.equal(used.length, 1);
  t.equal(used[0]?.subjectAltName, dnsNames.map(name => `DNS:${name}`).join(', '));
  await clock.advance(dayMs * 0.59);
  t.equal(used.length, 1);
  await clock.advance(dayMs * 0.02);
  t.equal(used.length, 2);
  t.not(
    used[1]?.publicKey.export({ type: 'spki', format: 'pem' }),
    used[0]?.publicKey.export({ type: 'spki', format: 'pem' }),
  );
  const next = newBundle(clock.now());
  store.replace(next);
  await clock.advance(1_000);
  t.ok(used.at(-1)?.verify(new X509Certificate(authority.roots()).publicKey));
  const count = used.length;
  serving.close();
  authority.close();
  await clock.advance(3 * dayMs);
  t.equal(used.length, count);
});

t.test('an authority that has ended is said, and tried again', async t => {
  const clock = new FakeClock();
  let works = true;
  let failures = 0;
  let used = 0;
  const real = await ClusterAuthority.open({ store: new MemoryStore(), clock });
  const authority = {
    sign: (...args: Parameters<ClusterAuthority['sign']>) => {
      if (!works) throw new Error('no');
      return real.sign(...args);
    },
    onRootsChanged: () => () => {},
  };
  const serving = new ServingCertificate({
    authority,
    dnsNames,
    use: () => (used += 1),
    onFailure: () => (failures += 1),
    clock,
  });
  works = false;
  await clock.advance(dayMs);
  t.ok(failures > 1);
  works = true;
  await clock.advance(200_000);
  t.equal(used, 2);
  serving.close();
});

t.test('new connections get the new one, and open ones stay', async t => {
  const authority = await ClusterAuthority.open({ store: new MemoryStore() });
  t.teardown(() => authority.close());
  const base = foundation();
  const { server, address } = await serve(t, base, []);
  let key: ServingKey | null = null;
  const names = ['localhost', ...dnsNames];
  const serving = new ServingCertificate({
    authority,
    dnsNames: names,
    use: made => {
      key = made;
      server.useCertificate(made);
    },
  });
  t.teardown(() => serving.close());
  t.not(key, null);
  const port = Number(address.split(':')[1]);
  const ca = authority.roots();
  const dial = async (servername: string): Promise<ReturnType<typeof connect>> => {
    const socket = connect({ port, ca, servername, ALPNProtocols: ['h2'] });
    await once(socket, 'secureConnect');
    return socket;
  };
  const first = await dial('culvert-control.culvert-system.svc');
  t.equal(first.getProtocol(), 'TLSv1.3');
  server.useCertificate({ ...(key ?? { certificatePem: '', privateKeyPem: '' }) });
  const second = await dial('localhost');
  t.equal(first.destroyed, false);
  await t.rejects(dial('elsewhere'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  first.destroy();
  second.destroy();
});
