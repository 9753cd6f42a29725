import { type EventEmitter, once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { type Socket, connect as connectTcp } from 'node:net';
import { type TLSSocket, connect as connectTls } from 'node:tls';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import type { Test } from 'tap';
import { GrpcServer } from '../../control/grpc-server.ts';
import { protocols } from '../../proto/load.ts';
import { resourceTypes } from '../../xds/codec.ts';
import { eventually } from '../lab/eventually.ts';
import { FakeClock } from '../tunnel/fake-clock.ts';
import { AdsClient, type AdsServing, type Serving, foundation, serveAds } from './serving.ts';

const typeUrl = resourceTypes.address;
const path = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

const portOf = ({ address }: Serving): number => Number(address.split(':')[1]);

function tcp(t: Test, serving: Serving): Socket {
  const socket = connectTcp(portOf(serving), '127.0.0.1');
  socket.on('error', () => {}).resume();
  t.teardown(() => socket.destroy());
  return socket;
}

function tls(t: Test, serving: Serving, alpn = 'h2'): TLSSocket {
  const ca = serving.rootPem;
  const socket = connectTls({ port: portOf(serving), ca, servername: 'localhost', ALPNProtocols: [alpn] });
  socket.on('error', () => {}).resume();
  t.teardown(() => socket.destroy());
  return socket;
}

function http2(t: Test, serving: Serving): ClientHttp2Session {
  const session = connectHttp2(`https://${serving.address}`, { ca: serving.rootPem });
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  return session;
}

/** Whatever error comes before it. */
function closing(emitter: EventEmitter): Promise<unknown> {
  return new Promise(resolve => emitter.once('close', resolve));
}

function put(serving: AdsServing, name: string, content: Buffer): void {
  serving.store.apply({ [typeUrl]: { set: [{ name, content }], removed: [] } });
}

/** That a good client is served as if nothing had happened. */
async function stillServes(t: Test, serving: AdsServing): Promise<void> {
  const client = new AdsClient(t, serving, 'agent.good');
  client.send({ typeUrl });
  t.equal((await client.next()).typeUrl, typeUrl, 'others are served');
  client.stream.cancel();
}

t.test('garbage ends its own connection, and nothing else', async t => {
  const serving = await serveAds(t);
  const plain = tcp(t, serving);
  plain.write('GET / HTTP/1.1\r\n\r\n');
  await closing(plain);
  const old = tls(t, serving, 'http/1.1');
  await closing(old);
  const garbage = tls(t, serving);
  await once(garbage, 'secureConnect');
  garbage.write(Buffer.alloc(4_096, 0xfe));
  await closing(garbage);
  const session = http2(t, serving);
  const stream = session.request({ ':path': path, ':method': 'GET', 'content-type': 'text/plain' });
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  t.equal(headers[':status'], constants.HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE);
  session.destroy();
  await stillServes(t, serving);
  await eventually(() => serving.server.connections <= 1);
});

/** A gRPC call with a body as it is; gives the status. */
async function raw(session: ClientHttp2Session, body: Buffer, token: string | null): Promise<number> {
  const stream = session.request({
    ':path': path,
    ':method': 'POST',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...(token === null ? {} : { authorization: `Bearer ${token}` }),
  });
  stream.on('error', () => {});
  let code: unknown = null;
  const note = (headers: Record<string, unknown>): void => void (code = headers['grpc-status'] ?? code);
  stream.on('response', note);
  stream.on('trailers', note);
  stream.resume();
  stream.write(body);
  await once(stream, 'end');
  stream.close();
  return Number(code);
}

function frame(message: Buffer, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

t.test('what is no message, or too large for one, ends its own call', async t => {
  const serving = await serveAds(t, { server: { maxRequestBytes: 100_000 } });
  const session = http2(t, serving);
  t.equal(await raw(session, frame(Buffer.alloc(64, 0xff)), 'agent.n1'), status.INTERNAL);
  t.equal(await raw(session, frame(Buffer.alloc(0), 0xffff_ffff), 'agent.n1'), status.RESOURCE_EXHAUSTED);
  t.equal(await raw(session, frame(Buffer.alloc(100_001)), 'agent.n1'), status.RESOURCE_EXHAUSTED);
  const client = new AdsClient(t, serving, 'agent.n2');
  const names = Array.from({ length: 2_000 }, (_, at) => `${'x'.repeat(100)}${at}`);
  client.send({ typeUrl, resourceNamesSubscribe: names });
  t.equal((await client.ended).code, status.RESOURCE_EXHAUSTED);
  t.equal(serving.ads.size, 0);
  await stillServes(t, serving);
});

t.test('nothing is read of who is not known', async t => {
  const serving = await serveAds(t);
  const session = http2(t, serving);
  // What is announced here never comes: an answer before it is one without reading.
  t.equal(await raw(session, frame(Buffer.alloc(10), 10_000_000), null), status.UNAUTHENTICATED);
  t.equal(await raw(session, frame(Buffer.alloc(10), 10_000_000), 'forged'), status.UNAUTHENTICATED);
  t.equal(await raw(session, frame(Buffer.alloc(64, 0xff)), 'pod.n1.shop/cart'), status.PERMISSION_DENIED);
  await stillServes(t, serving);
});

t.test('who does nothing is let go', async t => {
  const serving = await serveAds(t, { server: { handshakeMs: 50, idleMs: 50 } });
  const silent = tcp(t, serving);
  await closing(silent);
  const idle = tls(t, serving);
  await once(idle, 'secureConnect');
  idle.resume();
  await closing(idle);
  await eventually(() => serving.server.connections === 0);
  t.pass('both are gone');
});

t.test('connections of one address are limited', async t => {
  const serving = await serveAds(t, { server: { connectionsPerAddress: 2 } });
  const sockets = [tcp(t, serving), tcp(t, serving)];
  for (const socket of sockets) await once(socket, 'connect');
  await eventually(() => serving.server.connections === 2);
  await closing(tcp(t, serving));
  t.equal(await serving.metric('connections_refused_total'), 1);
  for (const socket of sockets) socket.destroy();
  await eventually(() => serving.server.connections === 0);
  await stillServes(t, serving);
});

t.test('a connection that is old is asked to come back, and does', async t => {
  const serving = await serveAds(t, { server: { maxAgeMs: 100, maxAgeGraceMs: 100 } });
  put(serving, 'w', Buffer.from('1'));
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl });
  client.answer(await client.next());
  t.not((await client.ended).code, status.OK);
  await eventually(() => serving.ads.size === 0);
  await stillServes(t, serving);
});

t.test('who does not read gets one response and no more memory, and then goes', async t => {
  const clock = new FakeClock();
  const serving = await serveAds(t, { clock });
  put(serving, 'large', Buffer.alloc(4_000_000, 'x'));
  const session = http2(t, serving);
  const stuck = session.request({
    ':path': path,
    ':method': 'POST',
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: 'Bearer agent.stuck',
  });
  stuck.on('error', () => {});
  stuck.write(frame(protocols.deltaRequest.encode({ typeUrl })));
  await eventually(async () => (await serving.metric('pushes_total')) === 1);
  const quick = new AdsClient(t, serving, 'agent.quick');
  quick.send({ typeUrl });
  quick.answer(await quick.next());
  for (let at = 0; at < 20; at += 1) {
    put(serving, 'large', Buffer.alloc(4_000_000, `${at}`));
    await clock.advance(100);
    quick.answer(await quick.next());
  }
  // What the other has heard: the first state, and twenty changes.
  t.equal(await serving.metric('pushes_total'), 22);
  const closed = closing(session);
  // It answers every time, so that only the other one is late.
  await eventually(() => serving.ads.size === 2);
  await clock.advance(70_000);
  await closed;
  await eventually(() => serving.ads.size === 1);
  t.equal(await serving.metric('streams_ended_total', { reason: 'ADS_NO_ANSWER' }), 1);
  put(serving, 'large', Buffer.from('small'));
  await clock.advance(100);
  t.equal((await quick.next()).resources.length, 1);
});

t.test('who asks for nothing is let go', async t => {
  const clock = new FakeClock();
  const serving = await serveAds(t, { clock });
  const client = new AdsClient(t, serving, 'agent.n1');
  await eventually(() => serving.ads.size === 1);
  await clock.advance(40_000);
  t.not((await client.ended).code, status.OK);
  t.equal(await serving.metric('streams_ended_total', { reason: 'ADS_IDLE' }), 1);
});

t.test('a port that is taken is said', async t => {
  const serving = await serveAds(t);
  const { log, metrics } = foundation();
  const second = new GrpcServer({
    host: '127.0.0.1',
    port: portOf(serving),
    services: [],
    interceptors: [],
    log,
    metrics,
  });
  await t.rejects(second.start(), { code: 'CONTROL_LISTEN', message: /EADDRINUSE/ });
});

t.test('a client that holds on does not hold up the end', async t => {
  const serving = await serveAds(t);
  const client = new AdsClient(t, serving, 'agent.n1');
  client.send({ typeUrl });
  await client.next();
  // Without its service ending the stream, only the deadline does.
  await serving.server.drain(50);
  t.equal(serving.server.connections, 0);
  t.not((await client.ended).code, status.OK);
});
