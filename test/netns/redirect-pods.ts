/**
 * Pods beside each other under one cgroup root are told apart, and one without an address of some family is not brought
 * to where it could not go.
 */
import t from 'tap';
import type { Told } from './redirect-agent.ts';
import { RedirectLab, type Seen } from './redirect-lab.ts';

const names = Array.from({ length: 6 }, (_, index) => `p${index}`);
const stage = await RedirectLab.create('pods', [...names, 'plain', 'half']);
t.teardown(() => stage[Symbol.asyncDispose]());
const plain = stage.pod('plain');
const half = stage.pod('half');

const told = (seen: Seen): Told => JSON.parse(seen.received ?? 'null') as Told;
const mapped = (ip: string): string => `::ffff:${ip}`;

t.test('many pods share one cgroup root and are told apart', async t => {
  const pods = names.map(name => stage.pod(name));
  await Promise.all(pods.map(pod => stage.enrol(pod)));
  const seen = await Promise.all(
    pods.map((pod, index) =>
      stage.calls(
        pod,
        Array.from({ length: 20 }, (_, n) => ({
          to: [`198.51.100.${index + 1}`, 1000 + n] as [string, number],
        })),
      ),
    ),
  );
  seen.forEach((calls, index) =>
    calls.forEach((one, n) => {
      t.same(told(one).origin, { address: `198.51.100.${index + 1}`, port: 1000 + n });
      t.equal(told(one).client, pods[index]?.address);
    }),
  );
});

t.test('a family that the pod has no address of is left as it would be without a mesh', async t => {
  await using _server = await stage.serve(plain, '::', 7000, '46');
  const agent = await stage.enrol(half, { addresses: [half.address] });
  let seen: Seen = {};
  const open = await stage.counted(async () => {
    seen = await stage.call(half, { to: [plain.address6, 7000], family: 6 });
  });
  t.match(seen.received, half.address6, 'fail-open: whatever the pod can reach');
  t.equal(open['connect_no_address'], 1);
  await agent.stop();
  await stage.enrol(half, { addresses: [half.address], failMode: 'closed' });
  const closed = await stage.counted(async () => {
    seen = await stage.call(half, { to: [plain.address6, 7000], family: 6 });
  });
  t.equal(seen.error, 'ENETUNREACH', 'fail-closed: no route, so that clients try IPv4');
  t.equal(closed['connect_no_address_refused'], 1);
  t.same(told(await stage.call(half, { to: ['192.0.2.9', 80] })).origin, { address: '192.0.2.9', port: 80 });
});

t.test('the name of an earlier connection is not on one that was not captured', async t => {
  await using _server = await stage.serve(plain, '::', 7000, '46');
  await stage.enrol(half, { addresses: [half.address6] });
  let seen: Seen = {};
  const counted = await stage.counted(async () => {
    seen = await stage.call(half, {
      to: ['2001:db8::1', 80],
      family: 6,
      again: [mapped(plain.address), 7000],
    });
  });
  t.same(seen.peername, [mapped(plain.address), 7000]);
  t.match(counted, { connect_captured: 1, connect_no_address: 1, flow_opened: 1 });
});
