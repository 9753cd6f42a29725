/** Hostile clients at a tunnel listener get nothing, one error each, and never disturb a good one. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import { certify, echoServer, poolOf, roundTrip, targetOf, type EchoServer } from './tunnel-world.ts';

const directory = t.testdir({ trusted: {}, foreign: {} });
for (const name of ['trusted', 'foreign']) chmodSync(join(directory, name), 0o700);
const trusted = await certify(join(directory, 'trusted'));
const foreign = await certify(join(directory, 'foreign'));

interface Attack {
  readonly name: string;
  /** One of these codes is what the listener must say. */
  readonly codes: RegExp;
  readonly run: (port: number) => Promise<void>;
}

/** Connects, sends, and waits until the listener has ended it. */
async function raw(port: number, ...pieces: (string | Buffer)[]): Promise<void> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  await once(socket, 'connect');
  for (const piece of pieces) socket.write(piece);
  await once(socket, 'close');
}

function secure(port: number, options: tls.ConnectionOptions, ...pieces: Buffer[]): Promise<void> {
  return new Promise(resolve => {
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      ALPNProtocols: ['h2'],
      rejectUnauthorized: false,
      ...options,
    });
    socket.on('error', () => {});
    socket.resume();
    socket.once('secureConnect', () => pieces.forEach(piece => socket.write(piece)));
    socket.once('close', () => resolve());
  });
}

const mine = { key: trusted.client.privateKeyPem, cert: trusted.client.certificatePem };
const theirs = { key: foreign.client.privateKeyPem, cert: foreign.client.certificatePem };
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const settings = Buffer.from('000000040000000000', 'hex');

/** A frame header: length, type, flags, stream. */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK literals without indexing. */
function literal(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}

const connectBlock = Buffer.concat([literal(':method', 'CONNECT'), literal(':authority', '10.0.0.1:80')]);
const many = (count: number, make: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));

const attacks: readonly Attack[] = [
  { name: 'plain HTTP', codes: /^TLS_/, run: port => raw(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n') },
  { name: 'random bytes', codes: /^TLS_/, run: port => raw(port, randomBytes(4096)) },
  { name: 'silence', codes: /^TLS_HANDSHAKE_TIMEOUT$/, run: port => raw(port) },
  { name: 'half a TLS record', codes: /^TLS_/, run: port => raw(port, Buffer.from('16030102000100', 'hex')) },
  { name: 'no certificate', codes: /^TLS_PEER_NO_CERTIFICATE$/, run: port => secure(port, {}) },
  {
    name: "another authority's certificate",
    codes: /^TLS_PEER_UNTRUSTED$/,
    run: port => secure(port, theirs),
  },
  { name: 'TLS 1.2', codes: /^TLS_/, run: port => secure(port, { ...mine, maxVersion: 'TLSv1.2' }) },
  { name: 'no ALPN h2', codes: /^TLS_/, run: port => secure(port, { ...mine, ALPNProtocols: ['http/1.1'] }) },
  { name: 'a handshake and then silence', codes: /^H2_/, run: port => secure(port, mine) },
  { name: 'no preface', codes: /^H2_BAD_PREFACE$/, run: port => secure(port, mine, randomBytes(1024)) },
  {
    name: 'a header flood',
    codes: /^H2_/,
    run: port =>
      secure(
        port,
        mine,
        preface,
        settings,
        frame(1, 0, 1, connectBlock),
        many(2_000, i => frame(9, 0, 1, literal(`x-${i}`, 'y'.repeat(100)))),
      ),
  },
  {
    name: 'rapid reset',
    codes: /^H2_RAPID_RESET$/,
    run: port =>
      secure(
        port,
        mine,
        preface,
        settings,
        many(20_000, i =>
          Buffer.concat([frame(1, 4, 2 * i + 1, connectBlock), frame(3, 0, 2 * i + 1, Buffer.alloc(4))]),
        ),
      ),
  },
  {
    name: 'a ping flood',
    codes: /^H2_/,
    run: port =>
      secure(
        port,
        mine,
        preface,
        settings,
        many(50_000, () => frame(6, 0, 0, Buffer.alloc(8))),
      ),
  },
  {
    name: 'a settings flood',
    codes: /^H2_/,
    run: port =>
      secure(
        port,
        mine,
        preface,
        many(20_000, () => settings),
      ),
  },
  {
    name: 'a frame of 16 MB',
    codes: /^H2_/,
    run: port => secure(port, mine, preface, settings, Buffer.from('ffffff000000000001', 'hex')),
  },
];

async function refused(server: EchoServer, attack: Attack): Promise<string> {
  const before = server.errors.length;
  await attack.run(server.port);
  await eventually(() => server.errors.length > before, {
    timeoutMs: 10_000,
    what: `an error for ${attack.name}`,
  });
  return server.errors[before]?.code ?? '';
}

await t.test('each is refused, while a good client goes on', async t => {
  await using server = await echoServer(trusted.server);
  const pool = poolOf(trusted.client);
  t.teardown(() => pool.drain());
  const payload = randomBytes(200_000);
  for (const attack of attacks) {
    const [code, back] = await Promise.all([
      refused(server, attack),
      roundTrip(pool, targetOf(server), payload),
    ]);
    t.match(code, attack.codes, attack.name);
    t.ok(back.equals(payload), `bytes are right during: ${attack.name}`);
  }
  t.equal(pool.count().tunnels, 1, 'over one and the same tunnel');
});

await t.test('a client refuses a server that is somebody else', async t => {
  await using server = await echoServer(trusted.server);
  const pool = poolOf(trusted.client);
  const wanted = { ...targetOf(server), expectedIdentities: ['spiffe://cluster.local/ns/shop/sa/other'] };
  await t.rejects(pool.acquire(wanted), { code: 'TLS_PEER_WRONG_IDENTITY' });
  const stranger = poolOf(foreign.client);
  await t.rejects(stranger.acquire(targetOf(server)), { code: /^TLS_/ });
  t.same(server.peers, [], 'no request arrived');
});

await t.test('a flood of connections that reset at once', async t => {
  await using server = await echoServer(trusted.server);
  const pool = poolOf(trusted.client);
  t.teardown(() => pool.drain());
  await Promise.all(
    Array.from({ length: 200 }, async () => {
      const socket = net.connect(server.port, '127.0.0.1');
      socket.on('error', () => {});
      await once(socket, 'connect');
      socket.resetAndDestroy();
    }),
  );
  const payload = randomBytes(1000);
  t.ok((await roundTrip(pool, targetOf(server), payload)).equals(payload), 'is served');
});
