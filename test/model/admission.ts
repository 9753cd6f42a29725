/** Who may connect to a workload that has a waypoint. */
import t from 'tap';
import { admit } from '../../model/admission.ts';
import type { MeshDelta } from '../../model/mesh.ts';
import type { GatewayAddress, Workload } from '../../model/workload.ts';
import { mesh, policy, port, rule, service, workload } from './objects.ts';

const gate = 'shop/gate.shop.svc.cluster.local';
const byName = (name: string): GatewayAddress => ({
  destination: { kind: 'hostname', namespace: 'shop', hostname: `${name}.shop.svc.cluster.local` },
  hboneMtlsPort: 15_008,
});
const byAddress = (address: string): GatewayAddress => ({
  destination: { kind: 'address', network: '', address },
  hboneMtlsPort: 15_008,
});
const own = workload('gate-1', { serviceAccount: 'gate', addresses: ['10.0.0.9'], services: { [gate]: [] } });
const gateway = service('gate', { addresses: [{ network: '', address: '10.96.0.9' }] });
const web = workload('web', { waypoint: byName('gate'), addresses: ['10.0.0.1'] });

function admits(
  to: Workload,
  account: string | null,
  more: Partial<MeshDelta> = {},
): ReturnType<typeof admit> {
  const { workloads = [], services = [], policies = [] } = more;
  const known = mesh({ workloads: [to, own, ...workloads], services: [gateway, ...services], policies });
  return admit(known, to, {
    sourceIdentity: account === null ? null : `spiffe://cluster.local/ns/shop/sa/${account}`,
    sourceIp: '10.0.0.7',
    destinationIp: '10.0.0.1',
    destinationPort: 80,
  });
}

t.test('a workload with a waypoint admits that and nobody else', async t => {
  t.match(admits(web, 'gate'), { allowed: true });
  t.match(admits(web, 'client'), {
    allowed: false,
    bypass: true,
    reason:
      'shop/web is reached through its waypoint shop/gate.shop.svc.cluster.local, and spiffe://cluster.local/ns/shop/sa/client is none',
  });
  t.match(admits(web, null), { allowed: false, reason: /a client without identity is none/ });
  t.match(admits({ ...web, waypoint: null }, 'client'), { allowed: true });
});

t.test('however the waypoint is named', async t => {
  for (const waypoint of [byAddress('10.0.0.9'), byAddress('10.96.0.9')]) {
    t.match(admits({ ...web, waypoint }, 'gate'), { allowed: true });
    t.match(admits({ ...web, waypoint }, 'client'), { allowed: false });
  }
  t.match(admits({ ...web, waypoint: byName('unknown') }, 'gate'), { allowed: false, bypass: true });
  t.match(admits({ ...web, waypoint: byAddress('10.0.0.77') }, 'gate'), { allowed: false });
});

t.test('the waypoints of its services are others that may', async t => {
  const key = 'shop/web.shop.svc.cluster.local';
  const to = { ...web, services: { [key]: [port(80, 80)] } };
  const other = workload('other', { services: { 'shop/other.shop.svc.cluster.local': [] } });
  const others = { workloads: [other], services: [service('other', {})] };
  const services = [...others.services, service('web', { waypoint: byName('other') })];
  t.match(admits(to, 'other', { ...others, services }), { allowed: true });
  t.match(admits(to, 'gate', { ...others, services }), { allowed: true });
  t.match(admits(to, 'other', others), { allowed: false }, 'but no other waypoint');
  const withoutOwn = { ...to, waypoint: null };
  t.match(admits(withoutOwn, 'client', { ...others, services }), { allowed: true }, 'by its own address');
});

t.test('policies hold for the waypoint as for everybody', async t => {
  const policies = [policy('DENY', [rule({ destinationPorts: [80] })], { scope: 'GLOBAL' })];
  const decision = admits(web, 'gate', { policies });
  t.match(decision, { allowed: false, policy: /./ });
  t.notOk(decision.bypass);
});
