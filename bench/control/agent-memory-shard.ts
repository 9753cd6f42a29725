/** The shard of an agent whose memory is measured: its own copy of the mesh, and the code that it would need. */
import { parentPort } from 'node:worker_threads';
import '../../agent/shard.ts';
import { collectGarbage } from '../../base/settle.ts';
import { Mesh, type MeshDelta } from '../../model/mesh.ts';

const mesh = new Mesh();
parentPort?.on('message', (delta: MeshDelta | null) => {
  if (delta !== null) {
    mesh.apply(delta);
    return;
  }
  collectGarbage();
  parentPort?.postMessage(mesh.version);
});
