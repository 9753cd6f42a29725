import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import type { WireCertificateRequest } from '../../proto/messages.ts';
import { fromStruct } from '../../proto/struct.ts';
import { requestCertificate } from '../../tunnel/certificate-exchange.ts';
import { createRequest, readRequest } from '../../tunnel/certificate-request.ts';
import { Certificates } from '../../tunnel/certificates.ts';
import type { IssuedCertificate } from '../../tunnel/certificates.ts';
import { systemClock } from '../../tunnel/clock.ts';
import { createLeaf, generateKey } from '../../tunnel/x509.ts';
import { CertificateService } from '../../xds/certificate-service.ts';
import type { CertificateServiceOptions } from '../../xds/certificate-service.ts';
import type { ControlEndpoint } from '../../xds/channel.ts';
import { makeRoot } from '../tunnel/pki.ts';
import { FakeControl, Mailbox, status } from './fake-control.ts';

const identity = 'spiffe://cluster.local/ns/shop/sa/cart';
const { signal: never } = new AbortController();
const mesh = makeRoot();
const hourMs = 3_600_000;

/** A leaf as a certificate service signs it. */
function leafFor({ csr }: WireCertificateRequest, named = identity): string {
  const { publicKey } = readRequest(csr);
  const now = Date.now();
  return createLeaf(mesh.issuer, {
    identity: named,
    publicKey,
    notBefore: now - hourMs,
    notAfter: now + hourMs,
  });
}

async function setup(
  t: Test,
  given: Partial<CertificateServiceOptions> & { readonly reach?: Partial<ControlEndpoint> } = {},
) {
  const control = await FakeControl.start();
  control.sign = request => ({ certChain: [leafFor(request), mesh.pem] });
  const directory = t.testdir({ 'root.pem': control.root.pem, token: 'first' });
  const rootPath = join(directory, 'root.pem');
  const tokenPath = join(directory, 'token');
  const service = new CertificateService({
    endpoint: control.endpoint({ rootPath, tokenPath, headers: { clusterid: 'c' }, ...given.reach }),
    ttlMs: () => hourMs,
    ...given,
  });
  t.teardown(() => {
    service.close();
    control.stop();
  });
  const csr = createRequest(identity, generateKey());
  return { control, service, csr, rootPath, tokenPath };
}

t.test('a request says whose certificate it is for and how long, and who asks', async t => {
  const { control, service, csr } = await setup(t);
  const asked = new Mailbox<readonly unknown[]>();
  control.sign = (request, metadata) => {
    const { csr, validityDuration, metadata: fields } = request;
    asked.put([
      csr,
      validityDuration,
      fields && fromStruct(fields),
      metadata.get('authorization'),
      metadata.get('clusterid'),
    ]);
    return { certChain: [leafFor(request), mesh.pem] };
  };
  await service.issue(identity, csr, never);
  t.strictSame(await asked.take(), [csr, 3_600, { ImpersonatedIdentity: identity }, ['Bearer first'], ['c']]);
});

t.test('an answer is a chain, and last the roots, which may be several', async t => {
  const { control, service, csr } = await setup(t);
  const other = makeRoot();
  t.equal(service.roots(), '');
  control.sign = request => ({ certChain: [leafFor(request), other.pem, `${mesh.pem}${other.pem}`] });
  const { chainPem, rootsPem } = await service.issue(identity, csr, never);
  t.equal(chainPem.match(/BEGIN CERTIFICATE/g)?.length, 2);
  t.equal(rootsPem, `${mesh.pem}${other.pem}`);
  t.equal(service.roots(), rootsPem);
});

t.test('what comes back is used by those who hold certificates', async t => {
  const { control, service } = await setup(t);
  const issued = await requestCertificate(service, identity, systemClock, never);
  t.match(issued, { identity, rootsPem: mesh.pem });
  control.sign = request => ({
    certChain: [leafFor(request, 'spiffe://cluster.local/ns/shop/sa/other'), mesh.pem],
  });
  await t.rejects(requestCertificate(service, identity, systemClock, never), {
    code: 'CERTIFICATE_MISMATCH',
  });
});

t.test('an answer without chain or roots is no certificate', async t => {
  const { control, service, csr } = await setup(t);
  const leaf = leafFor({ csr, validityDuration: 0, metadata: null });
  for (const [certChain, why] of [
    [[], /without a certificate/],
    [[' ', ''], /without a certificate/],
    [[leaf], /without a root/],
    [[leaf, 'no PEM'], /roots that cannot be read/],
    [[leaf, mesh.pem.replaceAll('M', '!')], /roots that cannot be read/],
  ] as const) {
    control.sign = () => ({ certChain });
    await t.rejects(service.issue(identity, csr, never), { code: 'CERTIFICATE_MISMATCH', message: why });
  }
  t.equal(service.roots(), '');
});

t.test('other roots in an answer are news, the same in another order are not', async t => {
  const { control, service, csr } = await setup(t);
  const other = makeRoot();
  let changes = 0;
  const stop = service.onRootsChanged(() => (changes += 1));
  const answer = async (...roots: readonly string[]): Promise<void> => {
    control.sign = request => ({ certChain: [leafFor(request), roots.join('')] });
    await service.issue(identity, csr, never);
  };
  await answer(mesh.pem);
  t.equal(changes, 0, 'the first are no change');
  await answer(mesh.pem, other.pem);
  t.equal(changes, 1);
  await answer(other.pem, '\n', mesh.pem);
  t.equal(changes, 1);
  await answer(other.pem);
  t.equal(changes, 2);
  t.equal(service.roots(), other.pem);
  stop();
  await answer(mesh.pem);
  t.equal(changes, 2);
});

t.test('when roots change every certificate is renewed, once', async t => {
  const { control, service } = await setup(t);
  const other = makeRoot();
  const asked: string[] = [];
  let roots = mesh.pem;
  control.sign = request => {
    const { identity: named } = readRequest(request.csr);
    asked.push(named);
    return { certChain: [leafFor(request, named), roots] };
  };
  const got = new Mailbox<IssuedCertificate>();
  const certificates = new Certificates({
    source: service,
    onCertificate: (_identity, certificate) => got.put(certificate),
    onFailure: (_identity, error) => t.fail(error.message),
  });
  t.teardown(() => certificates.close());
  const [a, b] = ['spiffe://cluster.local/ns/shop/sa/a', 'spiffe://cluster.local/ns/shop/sa/b'] as const;
  certificates.hold(a);
  t.equal((await got.take()).rootsPem, mesh.pem);
  roots = `${mesh.pem}${other.pem}`;
  certificates.hold(b);
  const trusted = new Map<string, string>();
  while (trusted.get(a) !== roots || trusted.get(b) !== roots) {
    const certificate = await got.take();
    trusted.set(certificate.identity, certificate.rootsPem);
  }
  t.equal(certificates.current(a)?.rootsPem, roots);
});

t.test('a refusal says what to check', async t => {
  const { control, service, csr } = await setup(t);
  for (const [code, word] of [
    [status.UNAUTHENTICATED, 'CONTROL_UNAUTHENTICATED'],
    [status.PERMISSION_DENIED, 'CONTROL_DENIED'],
    [status.INTERNAL, 'CONTROL_FAILED'],
    [status.UNAVAILABLE, 'CONTROL_UNREACHABLE'],
  ] as const) {
    control.sign = () => Promise.reject({ code, details: 'because' });
    await t.rejects(service.issue(identity, csr, never), { code: word, message: /because/ });
  }
  control.sign = request => ({ certChain: [leafFor(request), mesh.pem] });
  await service.issue(identity, csr, never);
});

t.test('the token of the file as it is now goes with every request', async t => {
  const { control, service, csr, tokenPath } = await setup(t);
  const tokens: unknown[] = [];
  control.sign = (request, metadata) => {
    tokens.push(...metadata.get('authorization'));
    return { certChain: [leafFor(request), mesh.pem] };
  };
  await service.issue(identity, csr, never);
  writeFileSync(tokenPath, 'second');
  await service.issue(identity, csr, never);
  t.strictSame(tokens, ['Bearer first', 'Bearer second']);
  writeFileSync(tokenPath, 'not\na token');
  await t.rejects(service.issue(identity, csr, never), { code: 'CONTROL_TOKEN' });
});

t.test('the roots of the file as they are now are trusted', async t => {
  const { control, service, csr, rootPath } = await setup(t);
  await service.issue(identity, csr, never);
  writeFileSync(rootPath, makeRoot().pem);
  await t.rejects(service.issue(identity, csr, never), { code: 'CONTROL_UNTRUSTED' });
  writeFileSync(rootPath, '');
  await t.rejects(service.issue(identity, csr, never), { code: 'CONTROL_ROOT' });
  writeFileSync(rootPath, control.root.pem);
  await service.issue(identity, csr, never);
});

t.test('a request ends when its signal says so', async t => {
  const { control, service, csr } = await setup(t);
  const asked = new Mailbox<null>();
  control.sign = () => {
    asked.put(null);
    return new Promise(() => {});
  };
  const abort = new AbortController();
  const request = service.issue(identity, csr, abort.signal);
  await asked.take();
  abort.abort(new Error('enough'));
  await t.rejects(request, { message: 'enough' });
  await t.rejects(service.issue(identity, csr, abort.signal), { message: 'enough' });
});

t.test('a server that is slow, or says nothing at all, is a timeout', async t => {
  const { control, service, csr } = await setup(t, { timeoutMs: 100 });
  control.sign = () => new Promise(() => {});
  await t.rejects(service.issue(identity, csr, never), { code: 'CONTROL_TIMEOUT' });
  const mute = createServer(socket => socket.on('error', () => {}).resume());
  await new Promise<void>(resolve => mute.listen(0, '127.0.0.1', resolve));
  t.teardown(() => mute.close());
  const address = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
  const other = await setup(t, { timeoutMs: 100, reach: { address } });
  await t.rejects(other.service.issue(identity, csr, never), { code: 'CONTROL_TIMEOUT' });
});

t.test('many requests at a time take one connection', async t => {
  const { control, service } = await setup(t);
  const peers = new Set<string>();
  control.sign = (request, _metadata, peer) => {
    peers.add(peer);
    return { certChain: [leafFor(request, readRequest(request.csr).identity), mesh.pem] };
  };
  const all = Array.from({ length: 20 }, (_, i) => {
    const named = `spiffe://cluster.local/ns/shop/sa/w${i}`;
    return requestCertificate(service, named, systemClock, never);
  });
  t.equal(new Set((await Promise.all(all)).map(({ identity }) => identity)).size, 20);
  t.equal(peers.size, 1);
});
