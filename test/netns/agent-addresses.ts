/**
 * Who sees which address through whole agents: the client sees whom it dialled, the server sees its real client, and
 * whatever is not TCP of one pod to another is as it was.
 */
import t from 'tap';
import { WaysLab } from '../help/ways-lab.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const lab = await WaysLab.create('addresses');
t.teardown(() => lab[Symbol.asyncDispose]());
const { agents: stage, all: ways, client, near, far, outside } = lab;

let port = 7400;

for (const way of ways) {
  for (const family of [4, 6] as const) {
    t.test(`${way.name}: both ends see each other's real address over IPv${family}`, async t => {
      const [clients, servers] = await Promise.all([stage.sockets(way.from), stage.sockets(way.to)]);
      const address = family === 4 ? way.to.address : way.to.address6;
      const source = family === 4 ? way.from.address : way.from.address6;
      port += 1;
      const listener = await servers.listen(address, port);
      const [opened, accepted] = await Promise.all([clients.connect(address, port), listener.accept()]);
      t.same(opened.peer, [address, port], 'getpeername() of the client');
      t.equal(opened.local[0], source, 'getsockname() of the client');
      t.equal(accepted.accepted?.[0], source, 'accept() of the server');
      t.same(accepted.accepted, accepted.peer, 'getpeername() of the server says the same');
      t.same(accepted.local, [address, port], 'getsockname() of the server');
      // What goes on from the pod itself has a port of its own there, as behind any gateway.
      if (way.name !== 'to outside')
        t.same(accepted.accepted, opened.local, 'with the port that the client has');
      await Promise.all([opened.close(), accepted.close(), listener.close()]);
    });
  }

  t.test(`${way.name}: a dual-stack listener sees an IPv4 client as a mapped address`, async t => {
    const [clients, servers] = await Promise.all([stage.sockets(way.from), stage.sockets(way.to)]);
    port += 1;
    const listener = await servers.listen('::', port);
    const [opened, accepted] = await Promise.all([clients.connect(way.to.address, port), listener.accept()]);
    t.equal(accepted.accepted?.[0], `::ffff:${way.from.address}`);
    t.equal(accepted.peer?.[0], `::ffff:${way.from.address}`);
    t.same(accepted.local, [`::ffff:${way.to.address}`, port]);
    await Promise.all([opened.close(), accepted.close(), listener.close()]);
  });

  t.test(`${way.name}: an IPv6 socket that connects to a mapped address`, async t => {
    const [clients, servers] = await Promise.all([stage.sockets(way.from), stage.sockets(way.to)]);
    port += 1;
    const listener = await servers.listen(way.to.address, port);
    const [opened, accepted] = await Promise.all([
      clients.connect(`::ffff:${way.to.address}`, port),
      listener.accept(),
    ]);
    t.same(opened.peer, [`::ffff:${way.to.address}`, port]);
    t.equal(opened.local[0], `::ffff:${way.from.address}`);
    t.equal(accepted.accepted?.[0], way.from.address);
    await Promise.all([opened.close(), accepted.close(), listener.close()]);
  });

  t.test(`${way.name}: a non-blocking connect, and one from a port of its own`, async t => {
    const [clients, servers] = await Promise.all([stage.sockets(way.from), stage.sockets(way.to)]);
    port += 1;
    const listener = await servers.listen(way.to.address, port);
    for (const options of [{ nonblocking: true }, { bind: ['0.0.0.0', 20_000 + port] as const }]) {
      const [opened, accepted] = await Promise.all([
        clients.connect(way.to.address, port, options),
        listener.accept(),
      ]);
      t.same(opened.peer, [way.to.address, port]);
      if (options.bind !== undefined) t.equal(opened.local[1], 20_000 + port, 'the port that was asked for');
      await opened.send('x');
      t.equal(await accepted.receive(1), 'x');
      await Promise.all([opened.close(), accepted.close()]);
    }
    await listener.close();
  });

  t.test(`${way.name}: UDP is left alone`, async t => {
    const [clients, servers] = await Promise.all([stage.sockets(way.from), stage.sockets(way.to)]);
    port += 1;
    for (const [address, source] of [
      [way.to.address, way.from.address],
      [way.to.address6, way.from.address6],
    ] as const) {
      await servers.udpServe(address, port);
      const answer = await clients.udpAsk(address, port, 'hello');
      t.same(answer, { text: `hello from ${source}`, source: [address, port] });
    }
  });
}

t.test('a pod that talks to itself is not in the mesh', async t => {
  const own = await stage.sockets(client);
  for (const address of [client.address, client.address6, '127.0.0.1', '::1']) {
    port += 1;
    const listener = await own.listen(address, port);
    const [opened, accepted] = await Promise.all([own.connect(address, port), listener.accept()]);
    t.same(opened.peer, [address, port], address);
    t.same(accepted.accepted, opened.local);
    await Promise.all([opened.close(), accepted.close(), listener.close()]);
    await t.rejects(
      own.connect(address, port),
      { code: 'ECONNREFUSED' },
      'and hears at once that nobody listens',
    );
  }
  t.notOk(
    stage.lines('node-a').some(line => line['dst.workload'] === 'client'),
    'no agent has carried any of it',
  );
});

t.test('the mesh has no way in through its own ports', async t => {
  const [inside, foreign] = await Promise.all([stage.sockets(client), stage.sockets(outside)]);
  for (const own of [15_001, 15_006, 15_053]) {
    await t.rejects(foreign.connect(far.address, own), { code: 'ECONNREFUSED' }, `${own} from outside`);
  }
  for (const own of [15_001, 15_006, 15_008, 15_053]) {
    for (const to of [near, far]) {
      const refused = inside.connect(to.address, own).then(opened => opened.receive(1));
      await t.rejects(refused, { code: 'ECONNRESET' }, `${own} of ${to.name} from an enrolled pod`);
    }
  }
});
