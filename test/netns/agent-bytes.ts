/**
 * Bytes and ends through whole agents: what two applications see of each other is what they would see without a mesh,
 * whichever way their connection takes.
 */
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import type { RemoteConnection } from '../help/remote-sockets.ts';
import { type Way, WaysLab } from '../help/ways-lab.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const lab = await WaysLab.create('bytes');
t.teardown(() => lab[Symbol.asyncDispose]());
const { agents: stage, all: ways } = lab;

let port = 7000;

function connected(
  way: Way,
  address = way.to.address,
): Promise<[client: RemoteConnection, server: RemoteConnection]> {
  port += 1;
  return lab.connected(way, port, address);
}

for (const way of ways) {
  for (const family of ['IPv4', 'IPv6']) {
    t.test(`${way.name}: request and response over ${family}`, async t => {
      const address = family === 'IPv4' ? way.to.address : way.to.address6;
      const [opened, accepted] = await connected(way, address);
      await opened.send('question');
      t.equal(await accepted.receive(8), 'question');
      await accepted.send('answer');
      t.equal(await opened.receive(6), 'answer');
      await Promise.all([opened.close(), accepted.close()]);
      const { node, ...fields } = way.line;
      const authority = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
      const inbound = way.line.direction === 'inbound';
      t.match(
        await stage.line(node, { ...fields, 'dst.addr': authority }),
        { bytes_sent: inbound ? 6 : 8, bytes_recv: inbound ? 8 : 6, msg: 'connection complete' },
        'and one access line says so',
      );
    });
  }

  t.test(`${way.name}: the server speaks first`, async t => {
    const [opened, accepted] = await connected(way);
    await accepted.send('220 hello');
    t.equal(await opened.receive(9), '220 hello');
    await Promise.all([opened.close(), accepted.close()]);
  });

  t.test(`${way.name}: the client ends first, and still gets its answer`, async t => {
    const [opened, accepted] = await connected(way);
    await opened.send('all of it');
    await opened.shutdown();
    t.equal(await accepted.receive(100), 'all of it', 'then the end');
    await accepted.send('understood');
    t.equal(await opened.receive(10), 'understood');
    await accepted.close();
    t.equal(await opened.receive(1), '', 'then the end');
    await opened.close();
  });

  t.test(`${way.name}: the server ends first, and still hears the client`, async t => {
    const [opened, accepted] = await connected(way);
    await accepted.shutdown();
    t.equal(await opened.receive(1), '', 'the end, and nothing else');
    await opened.send('last words');
    await opened.close();
    t.equal(await accepted.receive(100), 'last words');
    await accepted.close();
  });

  t.test(`${way.name}: a reset by the client reaches the server as one`, async t => {
    const [opened, accepted] = await connected(way);
    await opened.send('x');
    await accepted.receive(1);
    const seen = t.rejects(accepted.receive(1), { code: 'ECONNRESET' });
    await opened.reset();
    await seen;
  });

  t.test(`${way.name}: a reset by the server reaches the client as one`, async t => {
    const [opened, accepted] = await connected(way);
    await accepted.send('x');
    await opened.receive(1);
    const seen = t.rejects(opened.receive(1), { code: 'ECONNRESET' });
    await accepted.reset();
    await seen;
    const { node, ...fields } = way.line;
    const line = await stage.line(node, { ...fields, 'dst.addr': `${way.to.address}:${port}` });
    t.match(line, {
      code: 'PEER_RESET',
      side: 'server',
      bytes_sent: 1 - Number(fields.direction !== 'inbound'),
    });
  });

  t.test(`${way.name}: a port where nobody listens is refused`, async t => {
    const clients = await stage.sockets(way.from);
    port += 1;
    const refused = clients.connect(way.to.address, port).then(opened => opened.receive(1));
    // The agent has accepted before it knows; the application sees its answer as a reset.
    await t.rejects(refused, { code: 'ECONNRESET' });
    t.match(await stage.line(way.line.node, { 'dst.addr': `${way.to.address}:${port}` }), {
      code: 'DIAL_REFUSED',
    });
  });

  t.test(`${way.name}: a connection that was never used ends well`, async t => {
    const [opened, accepted] = await connected(way);
    await opened.close();
    t.equal(await accepted.receive(1), '');
    await accepted.close();
  });
}

t.test('an idle connection outlives the traffic of others, and then speaks', async t => {
  const idle = await Promise.all(ways.map(way => connected(way)));
  for (const way of ways) {
    for (let n = 0; n < 20; n += 1) {
      const [opened, accepted] = await connected(way);
      await Promise.all([opened.close(), accepted.close()]);
    }
  }
  for (const [opened, accepted] of idle) {
    await accepted.send('still here');
    t.equal(await opened.receive(10), 'still here');
    await opened.send('so am I');
    t.equal(await accepted.receive(7), 'so am I');
    await Promise.all([opened.close(), accepted.close()]);
  }
});

t.test('when everything has ended, the agents hold nothing', async t => {
  for (const node of ['node-a', 'node-b']) {
    const nothing = (): Promise<boolean> =>
      stage
        .agent(node)
        .admin('/connections')
        .then(text => text.trim() === '[]');
    await eventually(nothing, { what: `the end of all connections of ${node}` });
    t.equal(await stage.agent(node).metric('istio_tcp_sockets_open'), 0, `${node}: sockets open`);
  }
});
