/** The files of `kubectl apply -k daemonset/`: every object filled with the default values. */
import { stringify } from 'yaml';
import { definitions, filled, files, namespaceManifest } from './installation.ts';
import { defaultNamespace } from './names.ts';
import { generatedHeader } from './header.ts';
import { defaultValues } from './values.ts';

const withMonitoring = {
  ...defaultValues,
  monitoring: { ...defaultValues.monitoring, podMonitor: true, serviceMonitor: true, dashboards: true },
};

/** By path from the checkout. */
export function kustomizeFiles(): ReadonlyMap<string, string> {
  const result = new Map<string, string>();
  const put = (path: string, objects: readonly object[]): void => {
    if (objects.length > 0)
      result.set(`daemonset/${path}`, generatedHeader + objects.map(yaml).join('---\n'));
  };
  put('kustomize/namespace.yaml', [namespaceManifest(defaultNamespace)]);
  put('kustomize/crds.yaml', [...definitions().values()]);
  for (const file of files.keys())
    put(`kustomize/${file}.yaml`, filled(file, defaultNamespace, defaultValues));
  put('monitoring/monitoring.yaml', filled('monitoring', defaultNamespace, withMonitoring));
  const resources = [...result.keys()]
    .map(path => path.slice('daemonset/'.length))
    .filter(path => path.startsWith('kustomize/'));
  const { repository, tag } = defaultValues.image;
  put('kustomization.yaml', [
    {
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      resources,
      // Other values are overlays of this folder: docs/install.md shows some.
      images: [{ name: repository, newName: repository, newTag: tag }],
    },
  ]);
  put('monitoring/kustomization.yaml', [
    {
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      resources: ['monitoring.yaml'],
    },
  ]);
  return result;
}

function yaml(object: object): string {
  return stringify(object, { lineWidth: 0, singleQuote: true, aliasDuplicateObjects: false });
}
