/** The MeshConfig of the mesh, where the installation says anything about it; otherwise it is the user's own to write. */
import { type Template, value, when } from '../template.ts';
import { clusterMetadata } from './metadata.ts';

export function meshConfigManifests(): readonly Template[] {
  return [
    when('mesh', {
      apiVersion: 'culvert.dev/v1',
      kind: 'MeshConfig',
      metadata: clusterMetadata('default', 'control'),
      spec: value('mesh'),
    }),
  ];
}
