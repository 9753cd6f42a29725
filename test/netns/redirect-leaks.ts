/**
 * Nothing stays behind: after ten thousand connections that worked, were refused, given up or never answered, no entry
 * is left in the map that carries them, and the ports of a pod are free again.
 */
import t from 'tap';
import { abi } from '../../agent/redirect-abi.ts';
import * as native from '../../native/native.ts';
import { eventually } from '../lab/eventually.ts';
import { ports, RedirectLab } from './redirect-lab.ts';

const stage = await RedirectLab.create('leaks', ['a', 'deaf', 'client']);
t.teardown(() => stage[Symbol.asyncDispose]());
const a = stage.pod('a');
const deaf = stage.pod('deaf');
const client = stage.pod('client');
const flows = native.openPinned(`${stage.bpffs}/culvert/node%2Etest/v${abi}/maps/flows`) ?? -1;
t.teardown(() => native.close(flows));
const left = (): number => native.mapEntriesBatch(flows).count;

const churn = (count: number, connect: string): string =>
  [
    'import socket, errno',
    `for n in range(${count}):`,
    '  s = socket.socket()',
    '  try:',
    `    ${connect}`,
    '  except ConnectionError: pass',
    '  s.close()',
  ].join('\n');

t.test('10 000 connections through the agent', async t => {
  await stage.enrol(a);
  const counted = await stage.counted(() =>
    a.run('python3', ['-c', churn(10_000, 's.connect(("192.0.2.%d" % (n % 200), 80))')]),
  );
  t.match(counted, { connect_captured: 10_000, flow_opened: 10_000, flow_accepted: 10_000 });
  t.equal(left(), 0);
});

t.test('connections that nobody accepts, given up by the client', async t => {
  const netnsFd = native.openNetns(deaf.netnsPath);
  const cookie = native.netnsCookie(netnsFd);
  const listen = (port: number): number =>
    native.tcpListener(netnsFd, { address: '::', port, backlog: 1, reusePort: true, v6Only: false });
  const listeners = [ports.outbound, ports.plaintext].map(listen);
  stage.redirect.enrol({
    netnsFd,
    cookie,
    addresses: [deaf.address],
    failMode: 'closed',
    dnsCapture: false,
    plaintextListener: listeners[1] ?? -1,
  });
  const script = churn(
    2_000,
    's.setblocking(False); assert s.connect_ex(("192.0.2.1", 80)) == errno.EINPROGRESS or n < 9',
  );
  const counted = await stage.counted(() => deaf.run('python3', ['-c', script]));
  t.ok((counted['flow_abandoned'] ?? 0) > 1_900, 'most were still waiting');
  t.equal((counted['flow_accepted'] ?? 0) + (counted['flow_abandoned'] ?? 0), 2_000);
  t.equal(left(), 0);
  stage.redirect.retire(cookie);
  for (const fd of [...listeners, netnsFd]) native.close(fd);
});

t.test('connections that the application refuses', async t => {
  await stage.enrol(deaf, { plaintext: 'deliver' });
  const counted = await stage.counted(() =>
    client.run('python3', ['-c', churn(1_000, `s.connect(("${deaf.address}", 9)); s.recv(1)`)]),
  );
  t.equal(counted['lookup_steered'], 1_000);
  await eventually(() => left() === 0);
  const { peer_opened, peer_abandoned } = stage.redirect.counters();
  t.equal(peer_abandoned, peer_opened);
});

t.test('more connections than a pod has ports, each closed by the client first', async t => {
  // A port of the side that closes first is lost for a minute to connections between the same two addresses.
  const few = 'echo 50000 50499 > /proc/sys/net/ipv4/ip_local_port_range';
  for (const pod of [a, deaf]) await pod.run('sh', ['-c', few]);
  const out = await stage.counted(() =>
    a.run('python3', ['-c', churn(2_000, 's.connect(("192.0.2.1", 80)); s.shutdown(1); s.recv(9999)')]),
  );
  t.equal(out['flow_accepted'], 2_000);
  const sink =
    'import socket\nl = socket.create_server(("", 7000), backlog=99); print("ready", flush=True)\nwhile True:\n  c, _ = l.accept(); c.recv(1); c.close()';
  const application = deaf.spawn('python3', ['-c', sink]);
  await application.says(/ready/);
  const into = await stage.counted(() =>
    client.run('python3', [
      '-c',
      churn(2_000, `s.connect(("${deaf.address}", 7000)); s.shutdown(1); s.recv(1)`),
    ]),
  );
  t.equal(into['peer_accepted'], 2_000);
  t.equal(left(), 0);
});
