import t from 'tap';
import { newbornWorkload } from '../../agent/newborn.ts';
import type { Pod } from '../../agent/pod.ts';
import { Mesh, emptyMesh } from '../../model/mesh.ts';
import { resolve } from '../../model/route.ts';
import { workloadIdentity } from '../../model/workload.ts';

const settings = {
  trustDomain: 'other.example',
  network: 'net',
  clusterDomain: 'cluster.local',
  clusterId: 'east',
  accessLog: true,
};
const pod = {
  workloadUid: 'east//Pod/shop/web',
  name: 'web',
  namespace: 'shop',
  identity: 'spiffe://mesh.example/ns/shop/sa/account',
  addresses: ['10.0.0.9'],
} as const satisfies Partial<Pod>;

t.test('a pod that the mesh does not know yet is who it was enrolled as, and finds its way', async t => {
  const source = newbornWorkload(pod as unknown as Pod, settings, 'n1');
  t.equal(workloadIdentity(source), pod.identity);
  const far = { ...source, uid: 'east//Pod/shop/far', name: 'far', addresses: ['10.0.1.1'], node: 'n2' };
  const mesh = new Mesh();
  mesh.apply({ ...emptyMesh, workloads: [far] });
  const route = resolve(mesh, {
    source,
    destination: { address: '10.0.1.1', port: 80 },
    localNode: 'n1',
    isLocal: () => false,
    hbonePort: 15_008,
    agentPorts: new Set([15_001]),
    exclude: new Set<string>(),
    random: () => 0,
  });
  t.match(route, { kind: 'hbone', address: '10.0.1.1', expectedIdentities: [pod.identity] });
});
