/** A leg alone: what it does with bytes, ends and resets of a real socket, seen from the other side of it. */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import t from 'tap';
import { dialLeg } from '../../agent/leg-dial.ts';
import { LegLoop } from '../../agent/leg-loop.ts';
import type { Leg, LegHandlers } from '../../agent/leg.ts';
import * as native from '../../native/native.ts';

interface Owner {
  teardown(end: () => void): void;
}

function ownNetns(t: Owner): number {
  const fd = native.openNetns('/proc/self/ns/net');
  t.teardown(() => native.close(fd));
  return fd;
}

function legLoop(t: Owner): LegLoop {
  const loop = new LegLoop();
  t.teardown(() => loop.close());
  return loop;
}

/** A leg and the socket at its other end, which has accepted it. */
async function pair(t: Owner): Promise<{ leg: Leg; peer: net.Socket }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const [fd = -1] = native.tcpSockets(ownNetns(t), 4, 1);
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection');
  const leg = await dial(legLoop(t), fd, port);
  const [peer] = (await accepted) as [net.Socket];
  peer.on('error', () => {});
  t.teardown(() => peer.destroy());
  server.close();
  return { leg, peer };
}

function dial(loop: LegLoop, fd: number, port: number, timeoutMs = 5_000): Promise<Leg> {
  return new Promise((resolve, reject) => {
    dialLeg(loop, fd, { address: '127.0.0.1', port }, timeoutMs, (error, leg) => {
      if (leg === null) reject(error ?? new Error('neither leg nor error'));
      else resolve(leg);
    });
  });
}

/** Writes down all that a leg tells. */
class Witness implements LegHandlers {
  readonly told: string[] = [];
  received = Buffer.alloc(0);
  onData: (from: Leg, chunk: Buffer) => boolean = () => false;
  #waiting: { readonly what: () => boolean; readonly resolve: () => void } | null = null;

  until(what: () => boolean): Promise<void> {
    return new Promise(resolve => {
      this.#waiting = { what, resolve };
      this.#look();
    });
  }

  data(from: Leg, chunk: Buffer): boolean {
    this.received = Buffer.concat([this.received, chunk]);
    const kept = this.onData(from, chunk);
    this.#look();
    return kept;
  }

  end(): void {
    this.#note('end');
  }

  drain(): void {
    this.#note('drain');
  }

  broken(_at: Leg, code: string): void {
    this.#note(code);
  }

  gone(): void {
    this.#note('gone');
  }

  #note(what: string): void {
    this.told.push(what);
    this.#look();
  }

  #look(): void {
    if (this.#waiting?.what() !== true) return;
    this.#waiting.resolve();
    this.#waiting = null;
  }
}

/** Nothing else may keep the process from waiting for a leg. */
const awake = setInterval(() => {}, 1_000);
t.teardown(() => clearInterval(awake));

t.test('bytes both ways, then each end by itself', async t => {
  const { leg, peer } = await pair(t);
  const witness = new Witness();
  peer.write('before anybody reads');
  leg.start(witness, true);
  t.equal(leg.write(Buffer.from('answer')), true);
  await witness.until(() => witness.received.length === 20);
  peer.resume();
  const [answer] = await once(peer, 'data');
  t.equal(String(answer), 'answer');
  leg.end();
  t.equal(leg.write(Buffer.from('too late')), true);
  await once(peer, 'end');
  t.same(witness.told, []);
  peer.end('last words');
  await witness.until(() => witness.told.includes('gone'));
  t.equal(String(witness.received), 'before anybody readslast words');
  t.same(witness.told, ['end', 'gone']);
  t.equal(leg.closed, true);
});

t.test('a reset is a reset on both sides', async t => {
  const one = await pair(t);
  const witness = new Witness();
  one.leg.start(witness, false);
  one.peer.resetAndDestroy();
  await witness.until(() => witness.told.includes('gone'));
  t.same(witness.told, ['ECONNRESET', 'gone']);

  const two = await pair(t);
  two.leg.start(new Witness(), false);
  const broken = once(two.peer.removeAllListeners('error').resume(), 'error').catch((error: unknown) => [
    error,
  ]);
  two.leg.reset();
  t.match(await broken, [{ code: 'ECONNRESET' }]);
});

t.test('parts that are written in one turn go together when it is over', async t => {
  const { leg, peer } = await pair(t);
  leg.start(new Witness(), false);
  const there = Buffer.alloc(65_536);
  const { fd } = (peer as unknown as { _handle: { fd: number } })._handle;
  const part = Buffer.alloc(8192, 'p');
  const turn = new Promise(resolve => setImmediate(() => setImmediate(resolve)));
  for (const bytes of [part, part, Buffer.from('rest')]) t.equal(leg.write(bytes), true);
  t.equal(native.receive(fd, there, 0), -11, 'nothing yet');
  await turn;
  t.equal(native.receive(fd, there, 0), 2 * 8192 + 4);
  t.equal(leg.write(Buffer.from('small')), true);
  t.equal(native.receive(fd, there, 0), 5, 'at once');
  t.equal(leg.write(part), true);
  leg.push();
  leg.reset();
  t.equal(native.receive(fd, there, 0), 8192, 'before the reset');
  t.equal(native.receive(fd, there, 0), -104);
});

t.test('a peer that does not read holds back the writer, and nothing is lost', async t => {
  const { leg, peer } = await pair(t);
  const witness = new Witness();
  leg.start(witness, false);
  const block = Buffer.alloc(65_536, 'x');
  let written = 0;
  // By parts as well, which the kernel may keep for a while.
  for (const bytes of [block.subarray(0, 8192), block]) {
    while (leg.write(bytes)) written += bytes.length;
    written += bytes.length;
  }
  leg.end();
  let read = 0;
  peer.on('data', (chunk: Buffer) => (read += chunk.length)).resume();
  await once(peer, 'end');
  t.equal(read, written);

  const more = await pair(t);
  more.leg.start(witness, false);
  while (more.leg.write(block));
  more.peer.resume();
  await witness.until(() => witness.told.includes('drain'));
});

t.test('a paused leg takes nothing until it goes on', async t => {
  const { leg, peer } = await pair(t);
  const witness = new Witness();
  witness.onData = from => {
    from.pause();
    return false;
  };
  leg.start(witness, false);
  const sent = Buffer.alloc(4_000_000, 'y');
  peer.end(sent);
  for (let received = 0; received < sent.length; received = witness.received.length) {
    await witness.until(() => witness.received.length > received);
    leg.resume();
  }
  await witness.until(() => witness.told.includes('end'));
  t.ok(witness.received.equals(sent));
});

t.test('what is kept of one leg is not written over by another', async t => {
  const [one, two] = [await pair(t), await pair(t)];
  const [first, second] = [new Witness(), new Witness()];
  const keptChunks: Buffer[] = [];
  first.onData = (_, chunk) => {
    keptChunks.push(chunk);
    return true;
  };
  one.leg.start(first, false);
  two.leg.start(second, false);
  for (let round = 0; round < 200; round += 1) {
    const sent = first.received.length + 1_000;
    one.peer.write(Buffer.alloc(1_000, round));
    two.peer.write(Buffer.alloc(1_000, 255));
    await first.until(() => first.received.length === sent);
    await second.until(() => second.received.length === sent);
  }
  t.ok(Buffer.concat(keptChunks).equals(first.received));
});

t.test('what was kept is memory for others once its owner goes on, and not before', async t => {
  const pairs = await Promise.all(Array.from({ length: 3 }, () => pair(t)));
  const owners = pairs.map(({ leg }) => {
    const owner = new Witness();
    leg.start(owner, false);
    return owner;
  });
  const words = (n: number, of: number): Buffer => Buffer.alloc(60_000, n * 16 + of);
  const seen = new Set<ArrayBufferLike>();
  for (let n = 0; n < 12; n += 1) {
    const kept: Buffer[] = [];
    for (const [of, owner] of owners.entries())
      owner.onData = (from, chunk) => {
        seen.add(chunk.buffer);
        t.ok(
          chunk.every(byte => byte === n * 16 + of),
          'what it is given is its own',
        );
        kept.push(chunk);
        from.pause();
        return true;
      };
    for (const [of, { peer }] of pairs.entries()) peer.write(words(n, of));
    await Promise.all(owners.map(owner => owner.until(() => owner.received.length > 0)));
    const bytes = owners.map(owner => owner.received);
    for (const chunk of kept)
      t.ok(
        bytes.some(copy => copy.equals(chunk)),
        'and stays so while others read',
      );
    for (const [of, owner] of owners.entries()) {
      owner.onData = () => false;
      pairs[of]?.leg.resume();
    }
    await Promise.all(owners.map(owner => owner.until(() => owner.received.length === 60_000)));
    for (const owner of owners) owner.received = Buffer.alloc(0);
  }
  t.ok(seen.size <= 4, `a few pieces of memory serve again and again: ${seen.size}`);
});

t.test('what is being read is not written over when something before it is given back', async t => {
  const [one, two] = [await pair(t), await pair(t)];
  const [first, second] = [new Witness(), new Witness()];
  const keep = (from: Leg): boolean => {
    from.pause();
    return true;
  };
  first.onData = keep;
  one.leg.start(first, false);
  one.peer.write(Buffer.alloc(1_000, 1));
  await first.until(() => first.received.length === 1_000);
  let kept: Buffer = Buffer.alloc(0);
  second.onData = (from, chunk) => {
    one.leg.resume();
    kept = chunk;
    return keep(from);
  };
  two.peer.write(Buffer.alloc(40_000, 2));
  two.leg.start(second, false);
  await second.until(() => second.received.length > 2_000);
  one.peer.write(Buffer.alloc(10_000, 3));
  await first.until(() => first.received.length > 1_000);
  t.ok(kept.length > 2_000);
  t.ok(kept.every(byte => byte === 2));
});

t.test('nobody there, and nobody who answers', async t => {
  const netns = ownNetns(t);
  const loop = legLoop(t);
  const [refused = -1, silent = -1] = native.tcpSockets(netns, 4, 2);
  await t.rejects(dial(loop, refused, 1), { code: 'DIAL_REFUSED', fix: 'nothing listens there' });

  // A listener whose queue is full drops what comes.
  const full = native.tcpListener(netns, {
    address: '127.0.0.1',
    port: 0,
    backlog: 0,
    reusePort: false,
    v6Only: false,
  });
  t.teardown(() => native.close(full));
  const { port } = native.socketAddress(full);
  const others = native.tcpSockets(netns, 4, 4);
  t.teardown(() => others.forEach(native.close));
  for (const other of others) native.connect(other, '127.0.0.1', port);
  await t.rejects(dial(loop, silent, port, 200), { code: 'DIAL_TIMEOUT' });
});

t.test('a loop accepts until its listener is closed, and others go on with theirs', async t => {
  const loop = legLoop(t);
  const netns = ownNetns(t);
  const fd = native.tcpListener(netns, {
    address: '127.0.0.1',
    port: 0,
    backlog: 16,
    reusePort: false,
    v6Only: false,
  });
  const { port } = native.socketAddress(fd);
  const came: number[] = [];
  let tell = (): void => {};
  const listener = loop.listen(native.duplicate(fd), {
    onConnection: socket => {
      came.push(socket.port);
      loop.legOf(socket).reset();
      tell();
    },
    onTrouble: error => t.fail(String(error)),
  });
  const clients = [1, 2, 3].map(() => net.connect(port, '127.0.0.1').on('error', () => {}));
  await new Promise<void>(resolve => {
    tell = () => came.length === 3 && resolve();
  });
  t.equal(new Set(came).size, clients.length);
  listener.close();
  listener.close();
  const server = net.createServer().listen({ fd });
  const accepted = once(server, 'connection');
  net.connect(port, '127.0.0.1').on('error', () => {});
  const [socket] = (await accepted) as [net.Socket];
  socket.destroy();
  server.close();
  t.equal(came.length, 3);
});
